"""Which identities are already stored: sorted arrays of 64-bit keys, merged as they grow.

Eight bytes a line and a few microseconds a batch, where a set of Python integers takes about eighty bytes. Two
different lines share a key once in 10^19 pairs; with 100 million lines kept, one new line in 10^11 is wrongly taken for
a repeat.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from observe.distinct import distinct


def key_of(identity: str) -> int:
    """The key of an identity, never 0: 0 stands for "has none, never a repeat"."""
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def contains(ordered: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `keys` are in the ascending array `ordered`; [len(keys)]."""
    if not len(ordered):
        return np.zeros(len(keys), np.bool_)
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return np.asarray(ordered[places] == keys)


class Seen:
    """A growing set of keys. One thread at a time."""

    def __init__(self) -> None:
        self._tiers: list[NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return sum(len(tier) for tier in self._tiers)

    def add(self, keys: NDArray[np.uint64]) -> None:
        keys = distinct(keys[keys != 0])
        if not len(keys):
            return
        self._tiers.append(keys)
        # Each tier is at least twice the next: log2(n) tiers, and every key is copied log2(n) times in all.
        while len(self._tiers) > 1 and len(self._tiers[-2]) < 2 * len(self._tiers[-1]):
            last, before = self._tiers.pop(), self._tiers.pop()
            self._tiers.append(np.sort(np.concatenate((before, last)), kind="stable"))

    def contains(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        found = np.zeros(len(keys), np.bool_)
        for tier in self._tiers:
            found |= contains(tier, keys)
        return found

    def ordered(self) -> NDArray[np.uint64]:
        """All keys, ascending."""
        return np.sort(np.concatenate(self._tiers)) if self._tiers else np.empty(0, np.uint64)
