"""Which series lives where: labels to slots, slots reused with a generation number.

A rule's result names its series by a tuple of labels. While that tuple is the same object nothing is looked up; when it
changes, only series that are new are placed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from observe.detect.columns import BLOCK_SERIES, Block, Column
from observe.detect.index import Index, hashes_of
from observe.detect.matching import Row
from observe.detect.matching_kernels import carry, share_out
from observe.distinct import distinct
from observe.model import Labels


@dataclass(frozen=True, slots=True)
class Part:
    """Points of a vector whose series share a block: ``positions[i]`` of the vector is slot ``offsets[i]``.

    Unsigned, for a kernel need not ask then whether an index counts from the end: a third less time a point.
    """

    block: int
    positions: NDArray[np.uint32]
    offsets: NDArray[np.uint32]


class SlotTable:
    """Places series in blocks. One thread."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.blocks: list[Block] = []
        self.owner: list[Labels | None] = []
        """[slots] the series that lives there."""
        self.slot_of = Index(self.owner)
        self.generation = np.empty(0, np.uint32)
        """[slots] the how-manieth owner of the slot this is; a holder of an old number holds nothing."""
        self._free: list[int] = []
        self._row = Row()
        self._slots = np.empty(0, np.int64)
        self._generations = np.empty(0, np.uint32)
        self._plan: tuple[Part, ...] = ()
        self._freed = False
        """A slot was freed since the last plan: one of its slots may be somebody else's."""
        self.placed: list[Labels] = []
        """Series that the last `plan` placed."""

    def __len__(self) -> int:
        return len(self.slot_of)

    def plan(self, labels: tuple[Labels, ...]) -> tuple[Part, ...]:
        """Where these series live, by block; unseen ones are placed."""
        if labels is self._row.names and not self._freed:
            if self.placed:
                self.placed = []
            return self._plan
        row = Row(labels)
        slots = self._still_there(row)
        moved = np.flatnonzero(slots < 0)
        names = [labels[place] for place in moved.tolist()]
        slots[moved], self.placed = self._slots_of(names)
        if len(self.placed) < len(names):
            for slot, name in zip(slots[moved].tolist(), names, strict=True):
                self.owner[slot] = name  # the object that comes, not an equal one of a snapshot: one of them is enough
        self._row, self._slots, self._generations, self._freed = row, slots, self.generation[slots], False
        self._plan = tuple(_parts(slots, len(self.blocks)))
        return self._plan

    @property
    def planned(self) -> NDArray[np.int64]:
        """[S] the slots of the vector last planned. Not to be written to."""
        return self._slots

    def _still_there(self, row: Row) -> NDArray[np.int64]:
        """[S] the slots of series that were in the vector before; -1 for all others."""
        source, _ = self._row.places_of(row)
        slots = np.empty(len(row), np.int64)
        carry(source, self._slots, self._generations, self.generation, slots)
        return slots

    def _slots_of(self, names: Sequence[Labels]) -> tuple[NDArray[np.int64], list[Labels]]:
        """The slots of these series, and which of them were placed because they are unseen."""
        hashes = hashes_of(names)
        slots = self.slot_of.find(names, hashes)
        unseen = np.flatnonzero(slots < 0)
        placed = [names[place] for place in unseen.tolist()]
        if len(distinct(hashes[unseen])) == len(unseen):
            slots[unseen] = self._place(placed, hashes[unseen])
        else:  # named twice, most likely
            asked, placed = placed, list(dict.fromkeys(placed))
            self._place(placed, hashes_of(placed))
            slots[unseen] = self.slot_of.find(asked)
        return slots, placed

    def _place(self, names: Sequence[Labels], hashes: NDArray[np.int64]) -> list[int]:
        """Give each of these unseen series, each named once, a slot of its own, with state as new."""
        kept = max(0, len(self._free) - len(names))
        slots = sorted(self._free[kept:])
        del self._free[kept:]
        for number, offsets in _by_block(slots):
            self.blocks[number].clear(offsets)
        while len(slots) < len(names):
            slots.extend(self._more(len(names) - len(slots)))
        for slot, name in zip(slots, names, strict=True):
            self.owner[slot] = name
        self.slot_of.put(hashes, slots)
        return slots

    def _more(self, wanted: int) -> range:
        """Some slots never used before."""
        if not self.blocks or self.blocks[-1].full:
            self.blocks.append(Block(self.columns, small=not self.blocks))
            self.generation = np.concatenate([self.generation, np.ones(BLOCK_SERIES, np.uint32)])
        begin = (len(self.blocks) - 1) * BLOCK_SERIES
        fresh = self.blocks[-1].add(wanted)
        self.owner.extend([None] * len(fresh))
        return range(begin + fresh.start, begin + fresh.stop)

    def forget(self, labels: Iterable[Labels]) -> int:
        """Free these series' slots; returns how many there were."""
        freed = self.slot_of.pop(labels)
        if not len(freed):
            return 0
        for slot in (given := freed.tolist()):
            self.owner[slot] = None
        self._free.extend(given)
        self.generation[freed] += 1
        self._freed = True
        return len(freed)

    def place(self, names: Sequence[Labels]) -> NDArray[np.int64]:
        """The slots of these series, placed if unseen."""
        return self._slots_of(names)[0]

    def values(self, column: str, row: int, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """[slots] one row of a column, of series wherever they live."""
        out = np.empty(len(slots))
        for number in distinct(slots // BLOCK_SERIES).tolist():
            mine = slots // BLOCK_SERIES == number
            out[mine] = self.blocks[number].values(column, row, slots[mine] % BLOCK_SERIES)
        return out

    def at(self, slot: int) -> tuple[Block, int]:
        """The block and the place in it of a slot."""
        return self.blocks[slot // BLOCK_SERIES], slot % BLOCK_SERIES


def _by_block(slots: Sequence[int]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Ascending slots as places in their blocks."""
    numbers, offsets = np.divmod(np.array(slots, np.int64), BLOCK_SERIES)
    edges = [*np.flatnonzero(np.diff(numbers, prepend=-1)).tolist(), len(numbers)]
    for first, last in pairwise(edges):
        yield int(numbers[first]), offsets[first:last]


def _parts(slots: NDArray[np.int64], blocks: int) -> Iterator[Part]:
    positions, offsets = np.empty(len(slots), np.uint32), np.empty(len(slots), np.uint32)
    edges = np.zeros(blocks + 1, np.int64)
    share_out(slots, edges, np.empty_like(edges), positions, offsets)
    for block, (first, last) in enumerate(pairwise(edges.tolist())):
        if last > first:
            yield Part(block, positions[first:last], offsets[first:last])
