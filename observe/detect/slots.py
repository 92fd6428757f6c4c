"""Which series lives where: labels to slots, slots reused with a generation number.

A rule's result names its series by a tuple of labels. While that tuple is the same object nothing is looked up; when it
changes, only series that are new are placed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from observe.detect.columns import BLOCK_SERIES, Block, Column
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
        self.slot_of: dict[Labels, int] = {}
        self.owner: list[Labels | None] = []
        """[slots] the series that lives there."""
        self.generation: list[int] = []
        """[slots] how often the slot was given out; a holder of an old number holds nothing."""
        self._free: list[int] = []
        self._planned: tuple[Labels, ...] | None = None
        self._plan: tuple[Part, ...] = ()
        self.placed: list[Labels] = []
        """Series that the last `plan` placed."""

    def __len__(self) -> int:
        return len(self.slot_of)

    def plan(self, labels: tuple[Labels, ...]) -> tuple[Part, ...]:
        """Where these series live, by block; unseen ones are placed."""
        if labels is self._planned:
            if self.placed:
                self.placed = []
            return self._plan
        self.placed = []
        known = self.slot_of
        slots = np.fromiter(map(known.get, labels, repeat(-1)), np.int64, len(labels))
        for place in np.flatnonzero(slots < 0).tolist():
            slots[place] = known[labels[place]] if labels[place] in known else self._place(labels[place])
        block_of = slots // BLOCK_SERIES
        order = np.argsort(block_of, kind="stable")
        edges = np.flatnonzero(np.diff(block_of[order], prepend=-1)) if len(order) else np.empty(0, np.int64)
        parts = []
        for first, last in zip(edges, np.append(edges[1:], len(order)), strict=True):
            positions = order[first:last].astype(np.uint32)
            offsets = (slots[positions] % BLOCK_SERIES).astype(np.uint32)
            parts.append(Part(int(block_of[positions[0]]), positions, offsets))
        self._planned, self._plan = labels, tuple(parts)
        return self._plan

    def _place(self, name: Labels) -> int:
        if self._free:
            slot = self._free.pop()
            self.blocks[slot // BLOCK_SERIES].clear(slot % BLOCK_SERIES)
            self.generation[slot] += 1
            self.owner[slot] = name
        else:
            if not self.blocks or self.blocks[-1].full:
                self.blocks.append(Block(self.columns))
            slot = (len(self.blocks) - 1) * BLOCK_SERIES + self.blocks[-1].add()
            self.generation.append(1)
            self.owner.append(name)
        self.slot_of[name] = slot
        self.placed.append(name)
        return slot

    def forget(self, labels: Iterable[Labels]) -> int:
        """Free these series' slots; returns how many there were."""
        count = 0
        for name in labels:
            slot = self.slot_of.pop(name, None)
            if slot is not None:
                self._free.append(slot)
                self.owner[slot] = None
                count += 1
        if count:
            self._planned = None
        return count

    def place(self, name: Labels) -> int:
        """The slot of one series, placed if unseen."""
        slot = self.slot_of.get(name)
        if slot is None:
            self._planned = None
            slot = self._place(name)
        return slot

    def at(self, slot: int) -> tuple[Block, int]:
        """The block and the place in it of a slot."""
        return self.blocks[slot // BLOCK_SERIES], slot % BLOCK_SERIES

    def clear(self) -> None:
        self.__init__(self.columns)  # type: ignore[misc]
