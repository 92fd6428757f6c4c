"""The state of many series: columns in blocks of bounded size, so that growing, saving and sharing out never stop all.

A detector says which columns it keeps (`Column`); a `Block` holds them for up to `BLOCK_SERIES` series. Columns are
``[rows, series]`` where all series touch the same row at a tick (rings, sums: one stream each), or ``[series, rows]``
where each series touches its own (profiles, records).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_SERIES = 32_768
"""Series of one block: the unit of growth, of a snapshot's chunk and of a thread's shard; 11 MB of rolling state."""
_FIRST_SERIES = 16

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One array of state: `rows` values of `dtype` for every series, `fill` where a series is new."""

    name: str
    dtype: str
    rows: int = 1
    fill: float = 0.0
    by_series: bool = False
    """``[series, rows]`` rather than ``[rows, series]``."""
    counted: bool = False
    """Read only as far as another column counts: what a slot's former series left there needs no clearing."""

    @property
    def bytes_per_series(self) -> int:
        return int(np.dtype(self.dtype).itemsize * self.rows)


class Block:
    """The columns of up to `BLOCK_SERIES` series. A `small` one begins small and grows by doubling until full.

    A series' memory is first touched when it comes, all of it: so a new block costs next to nothing, and no later tick
    waits for the pages of a million series at once.
    """

    def __init__(self, columns: Sequence[Column], *, small: bool = True) -> None:
        self.columns = tuple(columns)
        self.capacity = _FIRST_SERIES if small else BLOCK_SERIES
        self.used = 0
        """Slots ever given out; freed ones among them are in the engine's free list."""
        self.arrays: dict[str, Array] = {column.name: self._fresh(column, self.capacity) for column in self.columns}

    @staticmethod
    def _fresh(column: Column, capacity: int) -> Array:
        return np.empty((capacity, column.rows) if column.by_series else (column.rows, capacity), dtype=column.dtype)

    def add(self, wanted: int) -> range:
        """Slots never used before, as many as are wanted or as the block has left."""
        first, self.used = self.used, min(BLOCK_SERIES, self.used + wanted)
        if self.used > self.capacity:
            self._grow(min(BLOCK_SERIES, max(2 * self.capacity, 1 << (self.used - 1).bit_length())))
        for column in self.columns:
            self._fill(column, slice(first, self.used))
        return range(first, self.used)

    @property
    def full(self) -> bool:
        return self.used >= BLOCK_SERIES

    def _grow(self, capacity: int) -> None:
        for column in self.columns:
            wider = self._fresh(column, capacity)
            old = self.arrays[column.name]
            if column.by_series:
                wider[: self.capacity] = old
            else:
                wider[:, : self.capacity] = old
            self.arrays[column.name] = wider
        self.capacity = capacity

    def clear(self, slots: NDArray[np.int64]) -> None:
        """Make these slots as new: what the series before left is gone, or counted out."""
        for column in self.columns:
            if not column.counted:
                self._fill(column, slots)

    def _fill(self, column: Column, slots: NDArray[np.int64] | slice) -> None:
        array = self.arrays[column.name]
        if column.by_series:
            array[slots] = column.fill
        else:
            array[:, slots] = column.fill

    def take(self, slots: NDArray[np.int64]) -> dict[str, Array]:
        """Copies of these slots' columns, compact."""
        return {
            column.name: np.ascontiguousarray(
                self.arrays[column.name][slots] if column.by_series else self.arrays[column.name][:, slots],
            )
            for column in self.columns
        }

    def values(self, name: str, row: int, slots: NDArray[np.int64]) -> Array:
        """One row of one column at these slots."""
        array = self.arrays[name]
        by_series = next(column.by_series for column in self.columns if column.name == name)
        found: Array = array[slots, row] if by_series else array[row, slots]
        return found

    def copy(self, slots: NDArray[np.int64], into: dict[str, Array]) -> None:
        """These slots' columns into arrays that are there."""
        where = _together(slots)
        for column in self.columns:
            array = self.arrays[column.name]
            into[column.name][...] = array[where] if column.by_series else array[:, where]

    def put(self, slots: NDArray[np.int64], values: dict[str, Array]) -> None:
        """The inverse of `take`."""
        where = _together(slots)
        for column in self.columns:
            if column.by_series:
                self.arrays[column.name][where] = values[column.name]
            else:
                self.arrays[column.name][:, where] = values[column.name]


def _together(slots: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Neighbours as a slice, which copies nothing in between."""
    if len(slots) and np.array_equal(slots, np.arange(slots[0], slots[0] + len(slots))):
        return slice(int(slots[0]), int(slots[0]) + len(slots))
    return slots
