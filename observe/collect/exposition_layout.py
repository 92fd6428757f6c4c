"""What stays the same from one page of a target to the next, and how a page is walked against it.

A target says the same lines at every scrape, only the numbers differ. A `Layout` is every byte before a value, in
order, and the id of its series; a kernel compares a page with it and reads the numbers, as far as both agree.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.collect import exposition_kernels as kernels
from observe.collect.exposition_lines import LineExemplar, LineProblem, read_number, read_rest
from observe.errors import MalformedData

NO_STAMP: Final = int(kernels.NO_STAMP)
NO_IDS: Final = np.empty(0, np.uint32)
_NO_STAMPS: Final = np.empty(0, np.int64)
_NO_BYTES: Final = np.frombuffer(b"", np.uint8)  # read-only, as the keys of every layout: one kind of kernel


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines of a page: S slots, of which N are stored, and the R series of the parser's trailer."""

    openmetrics: bool
    keys: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    """[S + 1] where each key begins in `keys`."""
    ids: NDArray[np.uint32]
    """[S], `NO_SERIES` where the line is not stored."""
    keep: NDArray[np.intp] | None
    """[N] slots that are stored, or None: all."""
    frame_ids: NDArray[np.uint32]
    """[N + R]."""
    tail: bytes
    """What follows the last value."""
    stamped: bool
    duplicates: int
    refused: int

    @classmethod
    def empty(cls, trailer: NDArray[np.uint32], *, openmetrics: bool) -> "Layout":
        """Before the first page: every line is new."""
        return cls(openmetrics, _NO_BYTES, np.zeros(1, np.int64), NO_IDS, None, trailer, b"", stamped=False,
                   duplicates=0, refused=0)

    def key(self, slot: int) -> bytes:
        """The bytes before a value: comment lines, name, labels and blanks."""
        return self.keys[self.offsets[slot] : self.offsets[slot + 1]].tobytes()

    def slots_by_line(self) -> dict[bytes, int]:
        """The slot of each line, by its name and labels as they are written."""
        keys = self.keys.tobytes()
        bounds = self.offsets.tolist()
        slots: dict[bytes, int] = {}
        for slot in range(len(bounds) - 1):
            slots.setdefault(keys[bounds[slot] : bounds[slot + 1]].rpartition(b"\n")[2], slot)
        return slots


@dataclass(slots=True)
class Walk:
    """A page being read: where we are, and the columns so far."""

    values: NDArray[np.float64]
    stamps: NDArray[np.int64]
    odd: NDArray[np.int64] = field(default_factory=lambda: np.empty((64, 4), np.int64))
    """What the kernel handed back: rows of k, kind, first byte, end."""
    pos: int = 0
    slot: int = 0
    k: int = 0
    odd_count: int = 0
    exemplars: list[tuple[int, LineExemplar, bytes]] = field(default_factory=list)
    """(k, exemplar, its text)."""

    @classmethod
    def begin(cls, layout: Layout) -> "Walk":
        """With room for the layout's values and trailer."""
        size = len(layout.ids)
        room = size + len(layout.frame_ids) - (size if layout.keep is None else len(layout.keep))
        return cls(np.empty(room), np.full(size, NO_STAMP) if layout.stamped else _NO_STAMPS)

    def follow(self, body: NDArray[np.uint8], layout: Layout) -> int:
        """Let the kernel go on from here; returns how it ended: `DONE` or `MISS` of the kernels."""
        while True:
            status, self.pos, self.slot, self.k, self.odd_count = kernels.walk(
                body, self.pos, layout.keys, layout.offsets, self.slot, self.values, self.values.view(np.uint64),
                self.stamps, self.k, self.odd, self.odd_count, layout.openmetrics,
            )
            if status == kernels.NEED_STAMPS:
                self.stamps = np.full(len(self.values), NO_STAMP)
            elif status == kernels.ODD_FULL:
                self.odd = np.concatenate([self.odd, np.empty_like(self.odd)])
            else:
                return status

    def finish_odd(self, body: bytes, *, openmetrics: bool) -> None:
        """Read in Python what the kernel handed back. Raises `MalformedData`."""
        for k, kind, start, end in self.odd[: self.odd_count].tolist():
            try:
                if kind == kernels.ODD_VALUE:
                    self.values[k] = read_number(body[start:end])
                else:
                    self.take_rest(body[start:end], k, openmetrics=openmetrics)
            except LineProblem as problem:
                raise malformed(body, start, problem) from problem
        self.odd_count = 0

    def take_rest(self, rest: bytes, k: int, *, openmetrics: bool) -> None:
        """What follows the value `k` on its line. Raises `LineProblem`."""
        stamp, exemplar = read_rest(rest, openmetrics=openmetrics)
        if stamp is not None:
            self.stamps[k] = stamp
        if exemplar is not None:
            self.exemplars.append((k, exemplar, rest.strip(b" \t")))

    def make_room(self, values: int) -> None:
        """Space for so many values, and a timestamp for each."""
        self.values = np.concatenate([self.values[: self.k], np.empty(values - self.k)])
        stamps = np.full(values, NO_STAMP)
        known = min(self.k, len(self.stamps))
        stamps[:known] = self.stamps[:known]
        self.stamps = stamps


def malformed(body: bytes, pos: int, problem: LineProblem) -> MalformedData:
    """The problem of the line at `pos`, with its number and its beginning."""
    line = body.count(b"\n", 0, pos) + 1
    begin = body.rfind(b"\n", 0, pos) + 1
    shown = body[begin : begin + 120].partition(b"\n")[0].decode(errors="backslashreplace")
    return MalformedData(f"line {line}: {problem} (in `{shown}`)")
