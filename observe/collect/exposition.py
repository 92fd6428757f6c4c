"""Parse a page of metrics: Prometheus' text format 0.0.4 or OpenMetrics.

A target says the same lines at every scrape, only the numbers differ. So a `PageParser` keeps the layout of the last
page (every byte before a value, in order, and the id of its series) and lets a kernel compare and read numbers. Lines
that are new, moved or gone are read one by one, the rest of the page goes on through the kernel.
One malformed line fails its page, as in Prometheus: half a page would look like series that ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.collect import exposition_kernels as kernels
from observe.collect.exposition_lines import (
    LineExemplar,
    LineProblem,
    Pairs,
    read_family,
    read_head,
    read_number,
    read_rest,
    token_end,
    value_start,
)
from observe.errors import LimitExceeded, MalformedData
from observe.model import Exemplar, Labels
from observe.protocols import NO_SERIES

NO_STAMP: Final = int(kernels.NO_STAMP)
_MAX_FAMILIES = 20_000
_NO_IDS: Final = np.empty(0, np.uint32)
_NO_STAMPS: Final = np.empty(0, np.int64)
_NO_BYTES: Final = np.frombuffer(b"", np.uint8)  # read-only, as the keys of every layout: one kind of kernel

NameSeries = Callable[[Pairs], Labels | None]
"""From the pairs of a line (``__name__`` first) to the name of the stored series; None: not wanted."""
InternSeries = Callable[[Sequence[Labels]], NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Family:
    """What the comment lines say of a metric family."""

    type: str = "unknown"
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as columns. `ids` and `values` end with room for the parser's trailer, left for the caller to fill."""

    ids: NDArray[np.uint32]
    """[N + R]. The same array object as long as the target's series stay the same."""
    values: NDArray[np.float64]
    """[N + R]."""
    stamps: NDArray[np.int64] | None
    """[N] ms, or `NO_STAMP`; None where no line has its own timestamp."""
    scraped: int
    """Sample lines on the page."""
    kept: int
    """Samples that are stored: without those dropped by name, twice on the page, or refused by the store."""
    duplicates: int
    refused: int
    added: NDArray[np.uint32]
    """Ids that the page before did not have."""
    gone: NDArray[np.uint32]
    """Ids that the page before had and this one lacks: they get a staleness marker."""
    exemplars: tuple[Exemplar, ...] = ()


@dataclass(frozen=True, slots=True)
class _Layout:
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
    stamped: bool
    duplicates: int
    refused: int


@dataclass(slots=True)
class _Walk:
    """A page being read: where we are, and the columns so far."""

    values: NDArray[np.float64]
    stamps: NDArray[np.int64]
    odd: NDArray[np.int64]
    pos: int = 0
    slot: int = 0
    k: int = 0
    odd_count: int = 0
    rests: list[tuple[int, LineExemplar, bytes]] = field(default_factory=list)
    """Exemplars: (k, exemplar, its text)."""


class PageParser:
    """The parser of one target; keeps the layout of its last page. Used by one thread at a time."""

    def __init__(
        self, name: NameSeries, intern: InternSeries, trailer: NDArray[np.uint32] = _NO_IDS,
        tracked: NDArray[np.uint32] = _NO_IDS,
    ) -> None:
        self._name = name
        self._intern = intern
        self._trailer = trailer
        self._layout: _Layout | None = None
        self._tracked = tracked
        self._exemplars: dict[int, tuple[Labels, bytes]] = {}
        self.families: dict[str, Family] = {}

    @property
    def tracked(self) -> NDArray[np.uint32]:
        """Ids of the series of the last page, which end if the target ends; sorted."""
        return self._tracked

    def forget(self) -> NDArray[np.uint32]:
        """The target failed or went: drop the layout, and return the ids that now need a staleness marker."""
        ended, self._tracked, self._layout = self._tracked, _NO_IDS, None
        self._exemplars.clear()
        return ended

    def relearn(self) -> None:
        """Ask for every id again at the next page (after the store refused some)."""
        self._layout = None

    def parse(
        self, body: bytes | bytearray | memoryview, now_ms: int, *, openmetrics: bool = False,
        honor_stamps: bool = True, sample_limit: int = 0, line_limit: int = 0,
    ) -> Page:
        """Read one page; limits of 0 are none. The layout stays as it was if this raises.

        Raises `MalformedData` with line and reason, or `LimitExceeded` before any new series is made.
        """
        layout = self._layout
        if layout is None or layout.openmetrics != openmetrics:
            layout = _Layout(openmetrics, _NO_BYTES, np.zeros(1, np.int64), _NO_IDS, None, self._trailer,
                             b"", stamped=False, duplicates=0, refused=0)
        size = len(layout.ids)
        walk = _Walk(
            np.empty(size + len(self._trailer)), np.full(size, NO_STAMP) if layout.stamped else _NO_STAMPS,
            np.empty((64, 4), np.int64),
        )
        bytes_in = np.frombuffer(body, np.uint8)
        status = _follow(bytes_in, layout, walk)
        if status == kernels.DONE and self._layout is layout and memoryview(body)[walk.pos :] == layout.tail:
            if walk.odd_count:
                self._finish_odd(bytes(body), layout, walk)
            if len(walk.stamps) and not layout.stamped:
                layout = replace(layout, stamped=True)
        else:
            text = bytes(body)
            if line_limit and text.count(b"\n") > line_limit:
                raise LimitExceeded(f"the page has more than {line_limit} lines; raise line_limit if that is right",
                                    "line_limit")
            layout = self._relearn(text, np.frombuffer(text, np.uint8), layout, walk, sample_limit)
        added = gone = _NO_IDS
        if layout is not self._layout or layout.stamped:
            added, gone = self._track(layout, walk, honor_stamps=honor_stamps)
        return self._page(layout, walk, added, gone, now_ms, honor_stamps=honor_stamps)

    def _track(
        self, layout: _Layout, walk: _Walk, *, honor_stamps: bool,
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Take over a layout; which ids came and went. Series with timestamps of their own never end by absence."""
        tracked = layout.frame_ids[: len(layout.frame_ids) - len(self._trailer)]
        if honor_stamps and layout.stamped:
            stamps = walk.stamps[: walk.k] if layout.keep is None else walk.stamps[layout.keep]
            tracked = tracked[stamps == NO_STAMP]
        tracked = np.sort(tracked)
        if self._exemplars and layout is not self._layout:
            there = set(layout.frame_ids.tolist())
            self._exemplars = {number: seen for number, seen in self._exemplars.items() if number in there}
        before, self._layout, self._tracked = self._tracked, layout, tracked
        return np.setdiff1d(tracked, before, assume_unique=True), np.setdiff1d(before, tracked, assume_unique=True)

    def _page(
        self, layout: _Layout, walk: _Walk, added: NDArray[np.uint32], gone: NDArray[np.uint32], now_ms: int, *,
        honor_stamps: bool,
    ) -> Page:
        values = walk.values
        stamps = walk.stamps[: walk.k] if layout.stamped and honor_stamps else None
        if layout.keep is not None:
            values = np.empty(len(layout.frame_ids))
            np.take(walk.values, layout.keep, out=values[: len(layout.keep)])
            stamps = None if stamps is None else stamps[layout.keep]
        elif len(values) != len(layout.frame_ids):
            values = values[: len(layout.frame_ids)]
        exemplars = self._new_exemplars(layout, walk, now_ms) if walk.rests else ()
        kept = len(layout.frame_ids) - len(self._trailer)
        return Page(layout.frame_ids, values, stamps, walk.k, kept, layout.duplicates, layout.refused, added, gone,
                    exemplars)

    def _finish_odd(self, body: bytes, layout: _Layout, walk: _Walk) -> None:
        """Read in Python what the kernel handed back."""
        for k, kind, start, end in walk.odd[: walk.odd_count].tolist():
            try:
                if kind == kernels.ODD_VALUE:
                    walk.values[k] = read_number(body[start:end])
                else:
                    self._take_rest(body[start:end], layout, walk, k)
            except LineProblem as problem:
                raise _malformed(body, start, problem) from problem
        walk.odd_count = 0

    @staticmethod
    def _take_rest(rest: bytes, layout: _Layout, walk: _Walk, k: int) -> None:
        stamp, exemplar = read_rest(rest, openmetrics=layout.openmetrics)
        if stamp is not None:
            walk.stamps[k] = stamp
        if exemplar is not None:
            walk.rests.append((k, exemplar, rest.strip(b" \t")))

    def _relearn(
        self, body: bytes, bytes_in: NDArray[np.uint8], old: _Layout, walk: _Walk, sample_limit: int,
    ) -> _Layout:
        """Read on from a line that is not the expected one, and make the new layout."""
        room = walk.k + body.count(b"\n", walk.pos) + 1 + len(self._trailer)
        walk.values = np.concatenate([walk.values[: walk.k], np.empty(room - walk.k)])
        stamps = np.full(room, NO_STAMP)
        stamps[: len(walk.stamps)] = walk.stamps[:room]
        stamps[walk.k :] = NO_STAMP
        walk.stamps = stamps
        known = _slots_by_line(old)
        learned = _Learned(old)
        learned.run(0, walk.slot)
        while True:
            begin = walk.pos
            at = self._skip_comments(body, walk.pos, openmetrics=old.openmetrics)
            if at >= len(body):
                tail = body[begin:]
                break
            try:
                self._read_line(body, begin, at, known, learned, old, walk)
            except LineProblem as problem:
                raise _malformed(body, at, problem) from problem
            if walk.slot < len(old.ids):
                first = walk.slot
                _follow(bytes_in, old, walk)
                learned.run(first, walk.slot)
        if old.openmetrics and tail.rstrip(b"\n").rpartition(b"\n")[2] != b"# EOF":
            raise MalformedData("the page ends without `# EOF`: it is cut short, or not OpenMetrics", "no_eof")
        self._finish_odd(body, old, walk)
        learned.check_limit(sample_limit)
        return learned.layout(self._intern, tail, self._trailer, stamped=bool((walk.stamps[: walk.k] != NO_STAMP).any())
                              or bool(walk.rests))

    def _read_line(
        self, body: bytes, begin: int, at: int, known: dict[bytes, int], learned: "_Learned", old: _Layout, walk: _Walk,
    ) -> None:
        """One sample line at `at`, whose key (with the comments above it) begins at `begin`."""
        start = value_start(body, at)
        end = token_end(body, start)
        line_end = body.find(b"\n", end)
        line_end = len(body) if line_end < 0 else line_end
        head = body[at:start]
        slot = known.get(head, -1)
        if slot < 0:
            pairs = read_head(head if body[start : start + 1] != b"{" else body[at:line_end])
        walk.values[walk.k] = read_number(body[start:end])
        if end < line_end:
            self._take_rest(body[end:line_end], old, walk, walk.k)
        if slot >= 0:
            learned.known(body[begin:start], slot)
            walk.slot = slot + 1
        else:
            learned.new(body[begin:start], self._name(pairs))
        walk.k += 1
        walk.pos = line_end + 1

    def _skip_comments(self, body: bytes, pos: int, *, openmetrics: bool) -> int:
        """Where the next sample line begins; families are noted on the way."""
        size = len(body)
        while pos < size:
            at = pos
            while at < size and body[at] in b" \t":
                at += 1
            if at < size and body[at] not in b"#\n":
                return pos
            end = body.find(b"\n", at)
            end = size if end < 0 else end
            if at < size and body[at] == 0x23:
                line = body[at:end]
                if openmetrics and line == b"# EOF":
                    if body[end:].strip(b"\n"):
                        line_number = body.count(b"\n", 0, end) + 2
                        raise MalformedData(f"line {line_number}: there is text after `# EOF`", "after_eof")
                    return size
                self._note_family(line)
            pos = end + 1
        return size

    def _note_family(self, line: bytes) -> None:
        said = read_family(line)
        if said is None or (said[1] not in self.families and len(self.families) >= _MAX_FAMILIES):
            return
        kind, name, text = said
        was = self.families.get(name, Family())
        self.families[name] = Family(
            text.strip() if kind == "TYPE" else was.type, text if kind == "HELP" else was.help,
            text.strip() if kind == "UNIT" else was.unit,
        )

    def _new_exemplars(self, layout: _Layout, walk: _Walk, now_ms: int) -> tuple[Exemplar, ...]:
        """Exemplars that the series did not have at the page before."""
        found = []
        for k, exemplar, text in walk.rests:
            series_id = int(layout.ids[k])
            if series_id == NO_SERIES:
                continue
            labels, before = self._exemplars.get(series_id, (None, b""))
            if text == before:
                continue
            if labels is None:
                key = layout.keys[layout.offsets[k] : layout.offsets[k + 1]].tobytes()
                labels = self._name(read_head(key.rpartition(b"\n")[2]))
            if labels is not None:
                self._exemplars[series_id] = labels, text
                at_ms = now_ms if exemplar.timestamp_ms is None else exemplar.timestamp_ms
                found.append(Exemplar(labels, Labels(exemplar.labels), exemplar.value, at_ms))
        return tuple(found)


class _Learned:
    """The layout that a changed page makes: runs of old slots, moved lines and new lines, in the order of the page."""

    def __init__(self, old: _Layout) -> None:
        self._old = old
        self._old_keys = old.keys.tobytes()
        self._keys: list[bytes] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._ids: list[NDArray[np.uint32]] = []
        self._new: list[tuple[int, Labels]] = []
        self._count = 0

    def run(self, first: int, end: int) -> None:
        if end > first:
            offsets = self._old.offsets[first : end + 1]
            self._add(self._old_keys[offsets[0] : offsets[-1]], np.diff(offsets), self._old.ids[first:end])

    def known(self, key: bytes, slot: int) -> None:
        self._add(key, np.array([len(key)]), self._old.ids[slot : slot + 1])

    def new(self, key: bytes, labels: Labels | None) -> None:
        if labels is not None:
            self._new.append((self._count, labels))
        self._add(key, np.array([len(key)]), np.array([NO_SERIES], np.uint32))

    def _add(self, key: bytes, lengths: NDArray[np.int64], ids: NDArray[np.uint32]) -> None:
        self._keys.append(key)
        self._lengths.append(lengths)
        self._ids.append(ids)
        self._count += len(ids)

    def check_limit(self, sample_limit: int) -> None:
        samples = len(self._new) + sum(int(np.count_nonzero(ids != NO_SERIES)) for ids in self._ids)
        if sample_limit and samples > sample_limit:
            raise LimitExceeded(
                f"the page has {samples} samples, {sample_limit} are allowed; raise sample_limit if that is right",
                "sample_limit")

    def layout(self, intern: InternSeries, tail: bytes, trailer: NDArray[np.uint32], *, stamped: bool) -> _Layout:
        ids = np.concatenate([*self._ids, _NO_IDS])
        refused = 0
        if self._new:
            given = intern([labels for _, labels in self._new])
            ids[[at for at, _ in self._new]] = given
            refused = int(np.count_nonzero(given == NO_SERIES))
        wanted = np.flatnonzero(ids != NO_SERIES)
        _, first = np.unique(ids[wanted], return_index=True)
        keep = wanted[np.sort(first)]
        offsets = np.zeros(len(ids) + 1, np.int64)
        if self._lengths:
            np.cumsum(np.concatenate(self._lengths), out=offsets[1:])
        frame_ids = np.concatenate([ids[keep], trailer])
        frame_ids.flags.writeable = False  # the same at every scrape: the store finds their places once
        return _Layout(
            self._old.openmetrics, np.frombuffer(b"".join(self._keys), np.uint8), offsets, ids,
            None if len(keep) == len(ids) else keep, frame_ids, tail, stamped,
            duplicates=len(wanted) - len(keep), refused=refused,
        )


def _follow(body: NDArray[np.uint8], layout: _Layout, walk: _Walk) -> int:
    """Let the kernel go on from where `walk` is; returns how it ended."""
    while True:
        status, walk.pos, walk.slot, walk.k, walk.odd_count = kernels.walk(
            body, walk.pos, layout.keys, layout.offsets, walk.slot, walk.values, walk.values.view(np.uint64),
            walk.stamps, walk.k, walk.odd, walk.odd_count, layout.openmetrics,
        )
        if status == kernels.NEED_STAMPS:
            walk.stamps = np.full(len(walk.values), NO_STAMP)
        elif status == kernels.ODD_FULL:
            walk.odd = np.concatenate([walk.odd, np.empty_like(walk.odd)])
        else:
            return status


def _slots_by_line(layout: _Layout) -> dict[bytes, int]:
    keys = layout.keys.tobytes()
    bounds = layout.offsets.tolist()
    slots: dict[bytes, int] = {}
    for slot in range(len(bounds) - 1):
        slots.setdefault(keys[bounds[slot] : bounds[slot + 1]].rpartition(b"\n")[2], slot)
    return slots


def _malformed(body: bytes, pos: int, problem: LineProblem) -> MalformedData:
    line = body.count(b"\n", 0, pos) + 1
    begin = body.rfind(b"\n", 0, pos) + 1
    shown = body[begin : begin + 120].partition(b"\n")[0].decode(errors="backslashreplace")
    return MalformedData(f"line {line}: {problem} (in `{shown}`)")
