"""The sealed samples of one hour in memory: chunks, and the vectors of times they share.

Everything is appended only, so a reader that holds the arrays of a `View` and the newest chunk of each of its series
sees an immutable snapshot while the writer goes on.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from observe import memory
from observe.store import part_kernels
from observe.store.block import Block
from observe.store.chunk_kernels import WORDS_OVER
from observe.store.head_kernels import NEVER

Kind = TypeVar("Kind", bound=np.generic)

PART_MS = 3_600_000
"""A part, and a block made of it, is an hour."""

NO_CHUNK = np.int32(-1)
_ROWS_TOGETHER = 64
_AT_ONCE = 2048
"""Rows sealed in one call: bounds what must be free beforehand, at the worst case of a word a value."""


def grown(column: NDArray[Kind], used: int, need: int) -> NDArray[Kind]:
    """`column` with room for `need` entries, the first `used` kept. Untouched room costs no memory."""
    if need <= len(column):
        return column
    larger: NDArray[Kind] = np.empty(max(need, len(column) * 3 // 2, 256), column.dtype)
    larger[:used] = column[:used]
    return larger


@dataclass(slots=True)
class OpenRows:
    """The samples not yet sealed: one row a slot."""

    rows: int
    base: NDArray[np.int64]
    """[slots] ms of the first sample."""
    last: NDArray[np.int64]
    """[slots] ms of the newest sample ever taken."""
    count: NDArray[np.int32]
    offsets: NDArray[np.int32]
    """[slots, rows] ms after the base."""
    values: NDArray[np.float64]
    """[slots, rows]."""

    @classmethod
    def make(cls, slots: int, rows: int) -> "OpenRows":
        return cls(rows, np.zeros(slots, np.int64), np.full(slots, NEVER), np.zeros(slots, np.int32),
                   np.empty((slots, rows), np.int32), np.empty((slots, rows), np.float64))

    def grow(self, slots: int) -> None:
        have = len(self.base)
        if slots <= have:
            return
        larger = OpenRows.make(max(slots, have * 3 // 2), self.rows)
        larger.base[:have], larger.last[:have], larger.count[:have] = self.base, self.last, self.count
        larger.offsets[:have], larger.values[:have] = self.offsets, self.values
        self.base, self.last, self.count = larger.base, larger.last, larger.count
        self.offsets, self.values = larger.offsets, larger.values

    def give_back(self, free: NDArray[np.bool_]) -> None:
        """Let the system have the memory of rows that no series has, where many lie together."""
        edges = np.flatnonzero(np.diff(free, prepend=False, append=False)).reshape(-1, 2)
        for low, high in edges[edges[:, 1] - edges[:, 0] >= _ROWS_TOGETHER].tolist():
            memory.give_back(self.offsets, low, high)
            memory.give_back(self.values, low, high)


@dataclass(frozen=True, slots=True)
class View:
    """What a reader needs of a part: its arrays as they are now."""

    newest: NDArray[np.int32]
    """[series asked for] the newest chunk of each."""
    words: NDArray[np.uint64]
    chunk_at: NDArray[np.uint32]
    chunk_vector: NDArray[np.uint32]
    chunk_before: NDArray[np.int32]
    vector_base: NDArray[np.int64]
    vector_count: NDArray[np.int32]
    vector_step: NDArray[np.int32]
    vector_at: NDArray[np.uint32]
    times: NDArray[np.int32]

    def count(self, start_ms: int, end_ms: int, counts: NDArray[np.int64]) -> None:
        part_kernels.count_sealed(
            self.newest, self.chunk_vector, self.chunk_before, self.vector_base, self.vector_count, self.vector_step,
            self.vector_at, self.times, start_ms, end_ms, counts,
        )

    def read(
        self, start_ms: int, end_ms: int, filled: NDArray[np.int64], until: NDArray[np.int64],
        disorder: NDArray[np.bool_], times: NDArray[np.int64], values: NDArray[np.float64], longest: int,
    ) -> None:
        part_kernels.read_sealed(
            self.newest, self.words, self.chunk_at, self.chunk_vector, self.chunk_before, self.vector_base,
            self.vector_count, self.vector_step, self.vector_at, self.times, start_ms, end_ms, filled, until, disorder,
            times, values, longest,
        )


class Part:
    """One hour. Written by the data thread."""

    def __init__(self, start_ms: int, slots: int) -> None:
        self.start_ms = start_ms
        self.words = np.empty(1024, np.uint64)
        self.used = 0
        self.chunk_id = np.empty(256, np.uint32)
        self.chunk_at = np.empty(256, np.uint32)
        self.chunk_vector = np.empty(256, np.uint32)
        self.chunk_before = np.empty(256, np.int32)
        self.chunks = 0
        self.newest = np.full(max(slots, 1), NO_CHUNK, np.int32)
        self.vector_base = np.empty(64, np.int64)
        self.vector_count = np.empty(64, np.int32)
        self.vector_step = np.empty(64, np.int32)
        self.vector_at = np.empty(64, np.uint32)
        self.vectors = 0
        self.times = np.empty(256, np.int32)
        self.times_used = 0
        self.samples = 0
        self.closed_at: int | None = None
        """The last segment of the log that may hold samples of this part; None while it still takes some."""
        self.block: Block | None = None
        """Where it is on the disk too: then it is kept only to answer faster."""

    @property
    def nbytes(self) -> int:
        """Bytes in use (room that was never touched is none)."""
        return 8 * self.used + 16 * self.chunks + 20 * self.vectors + 4 * self.times_used + 4 * len(self.newest)

    def seal(
        self, slots: NDArray[np.uint32], ids: NDArray[np.uint32], rows: OpenRows,
        places: NDArray[np.uint32] | None = None,
    ) -> None:
        """Take over the open rows at `places` (the slots, where not given), all of which belong to this hour."""
        places = slots if places is None else places
        for begin in range(0, len(slots), _AT_ONCE):
            end = begin + _AT_ONCE
            self._seal(places[begin:end], slots[begin:end], ids[begin:end], rows)

    def _seal(
        self, places: NDArray[np.uint32], slots: NDArray[np.uint32], ids: NDArray[np.uint32], rows: OpenRows,
    ) -> None:
        many = len(slots)
        highest = int(slots.max())
        if highest >= len(self.newest):
            larger = np.full(max(len(self.newest) * 3 // 2, highest + 1), NO_CHUNK, np.int32)
            larger[: len(self.newest)] = self.newest
            self.newest = larger
        self.words = grown(self.words, self.used, self.used + many * (rows.rows + WORDS_OVER))
        need = self.chunks + many
        self.chunk_id = grown(self.chunk_id, self.chunks, need)
        self.chunk_at = grown(self.chunk_at, self.chunks, need)
        self.chunk_vector = grown(self.chunk_vector, self.chunks, need)
        self.chunk_before = grown(self.chunk_before, self.chunks, need)
        need = self.vectors + many
        self.vector_base = grown(self.vector_base, self.vectors, need)
        self.vector_count = grown(self.vector_count, self.vectors, need)
        self.vector_step = grown(self.vector_step, self.vectors, need)
        self.vector_at = grown(self.vector_at, self.vectors, need)
        self.times = grown(self.times, self.times_used, self.times_used + many * rows.rows)
        self.samples += int(rows.count[places].sum())
        self.used, self.chunks, self.vectors, self.times_used = part_kernels.seal(
            places, slots, ids, rows.base, rows.count, rows.offsets, rows.values, self.words, self.used, self.chunk_id,
            self.chunk_at, self.chunk_vector, self.chunk_before, self.chunks, self.newest, self.vector_base,
            self.vector_count, self.vector_step, self.vector_at, self.vectors, self.times, self.times_used,
        )

    def view(self, slots: NDArray[np.uint32]) -> View:
        """A snapshot for the series in these slots. The caller holds the head's lock."""
        inside = slots < len(self.newest)
        newest = np.where(inside, self.newest[np.where(inside, slots, 0)], NO_CHUNK)
        return View(
            newest, self.words, self.chunk_at, self.chunk_vector, self.chunk_before, self.vector_base,
            self.vector_count, self.vector_step, self.vector_at, self.times,
        )
