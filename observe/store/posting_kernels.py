"""Set algebra over postings: ascending arrays of series ids."""

import numpy as np
from numpy.typing import NDArray

from observe.jit import kernel

Ids = NDArray[np.uint32]


@kernel
def intersect(left: Ids, right: Ids) -> Ids:
    """Ids in both. Gallops through the longer one."""
    if left.size > right.size:
        left, right = right, left
    out = np.empty(left.size, np.uint32)
    found = 0
    at = 0
    for i in range(left.size):
        wanted = left[i]
        step = 1
        while at + step < right.size and right[at + step] < wanted:
            at += step
            step *= 2
        low = at
        high = min(at + step, right.size)
        while low < high:
            middle = (low + high) >> 1
            if right[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        at = low
        if at == right.size:
            break
        if right[at] == wanted:
            out[found] = wanted
            found += 1
    return out[:found].copy()


@kernel
def difference(left: Ids, right: Ids) -> Ids:
    """Ids of `left` that are not in `right`."""
    out = np.empty(left.size, np.uint32)
    found = 0
    at = 0
    for i in range(left.size):
        while at < right.size and right[at] < left[i]:
            at += 1
        if at == right.size or right[at] != left[i]:
            out[found] = left[i]
            found += 1
    return out[:found].copy()


def compile_all() -> None:
    ids = np.array([1, 2], np.uint32)
    intersect(ids, ids)
    difference(ids, ids)
