"""Slots by the names of their series. A dictionary of a million names stops for a quarter of a second to make room.

It does so again and again where series come and go, for it never fills the places of those that went. This table does,
and moving it takes a kernel, without a look at any name.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from observe.detect.index_kernels import EMPTY, GONE, SPREAD, find, insert, move, remove
from observe.model import Labels
from observe.model.labels import kept_hash

_FIRST_BITS = 5
_FULL = 0.75


class Index:
    """Which slot a series has. `owners` [slots] is the other direction, kept by the caller. One thread writes."""

    def __init__(self, owners: Sequence[Labels | None]) -> None:
        self._owners = owners
        self._count = 0
        self._taken = 0
        """Places that are not empty."""
        self._table = _table(_FIRST_BITS)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Labels]:
        return (name for name in self._owners if name is not None)

    def __contains__(self, name: Labels) -> bool:
        return self.get(name) is not None

    def __getitem__(self, name: Labels) -> int:
        slot = self.get(name)
        if slot is None:
            raise KeyError(name)
        return slot

    def get(self, name: Labels) -> int | None:
        """The slot of one series. Safe from any thread."""
        keys, slots, shift = self._table
        key, last = hash(name), len(keys) - 1
        at = (key * SPREAD & (1 << 64) - 1) >> int(shift)
        while (slot := int(slots[at])) != EMPTY:
            if slot != GONE and keys[at] == key and self._owners[slot] == name:
                return slot
            at = (at + 1) & last
        return None

    def find(self, names: Sequence[Labels], hashes: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The slots of these series, -1 where they have none. `hashes` are theirs, where they are known."""
        if hashes is None:
            hashes = hashes_of(names)
        out = np.empty(len(names), np.int64)
        find(*self._table, hashes, out)
        for place in np.flatnonzero(out >= 0).tolist():
            owner, name = self._owners[out[place]], names[place]
            if owner is not name and owner != name:  # two names of one hash
                slot = self.get(name)
                out[place] = -1 if slot is None else slot
        return out

    def put(self, hashes: NDArray[np.int64], slots: Sequence[int]) -> None:
        """Take in series that are not there, whose names the owners of these slots are."""
        self._make_room(len(hashes))
        self._taken += insert(*self._table, hashes, np.array(slots, np.int64))
        self._count += len(hashes)

    def pop(self, names: Iterable[Labels]) -> NDArray[np.int64]:
        """Let go of these series, as far as they are there: their slots."""
        asked = list(names)
        hashes = hashes_of(asked)
        found = self.find(asked, hashes)
        order = np.argsort(found, kind="stable")
        once = order[np.diff(found[order], prepend=-1) > 0]  # nobody has a slot below 0
        slots = found[once]
        remove(*self._table, hashes[once], slots)
        self._count -= len(slots)
        return slots

    def _make_room(self, more: int) -> None:
        keys, slots, _ = self._table
        if self._taken + more <= _FULL * len(keys):
            return
        table = _table(max(_FIRST_BITS, int(1.5 * (self._count + more) / _FULL).bit_length()))
        move(keys, slots, *table)
        self._table, self._taken = table, self._count


def _table(bits: int) -> tuple[NDArray[np.int64], NDArray[np.int32], np.uint64]:
    return np.zeros(1 << bits, np.int64), np.full(1 << bits, EMPTY, np.int32), np.uint64(64 - bits)


def hashes_of(names: Sequence[Labels]) -> NDArray[np.int64]:
    """What `hash` says of each, without a call of Python code for each."""
    return np.fromiter(map(kept_hash, names), np.int64, len(names))
