"""Which series of one result were in the result before, and where: by identity, so that a million cost milliseconds.

Names are objects that live as long as their series: whoever names a series again hands out the same object. A
dictionary of a million names asks each for its hash, in Python; comparing addresses asks nobody.
"""

import ctypes
import sys

import numpy as np
from numpy.typing import NDArray

from observe.detect.matching_kernels import join, walk
from observe.model import Labels

_ITEMS = tuple.__basicsize__
"""Where CPython keeps the items of a tuple, as bytes from its begin."""
_FEW = 256
"""So many that are out of step are left to a dictionary."""


def _copied(names: tuple[Labels, ...]) -> NDArray[np.uint64]:
    out = np.empty(len(names), np.uint64)
    ctypes.memmove(out.ctypes.data, id(names) + _ITEMS, out.nbytes)
    return out


def _asked(names: tuple[Labels, ...]) -> NDArray[np.uint64]:
    return np.fromiter(map(id, names), np.uint64, len(names))


def _addresses_of(names: tuple[Labels, ...]) -> NDArray[np.uint64]:
    return _copied(names) if _LAID_OUT else _asked(names)


def _is_laid_out() -> bool:
    """Whether a tuple is what it is in every CPython so far: a head, then one pointer an item."""
    probe = tuple(Labels({"n": str(n)}) for n in range(3))
    if sys.implementation.name != "cpython" or sys.getsizeof(probe) < _ITEMS + 8 * len(probe):
        return False
    return np.array_equal(_copied(probe), _asked(probe))


_LAID_OUT = _is_laid_out()


class Row:
    """Names in the order of a result. It holds them: an address says who it is for no longer than its object lives."""

    __slots__ = ("addresses", "names")

    def __init__(self, names: tuple[Labels, ...] = ()) -> None:
        self.names = names
        self.addresses = _addresses_of(names)

    def __len__(self) -> int:
        return len(self.names)

    def places_of(self, after: "Row") -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where each object of `after` stands here, -1 where it does not; and which of ours [S] were found.

        One that is equal but not the same object is not found, nor one that is named twice for the second time: these
        few are left to be asked for by name.
        """
        source, taken = np.empty(len(after), np.int64), np.zeros(len(self), np.bool_)
        mine, theirs = self.addresses, after.addresses
        missing = walk(mine, theirs, source, taken)
        if missing > _FEW and not taken.all():
            bits = max(1, (2 * int(len(taken) - taken.sum()) - 1).bit_length())
            join(mine, theirs, source, taken, np.full(1 << bits, -1, np.int32), np.uint64(64 - bits))
        return source, taken
