"""Finding the objects of one long row again in another: which name stood where before, told by addresses alone."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.detect.columns import BLOCK_SERIES
from observe.detect.index_kernels import first_place
from observe.jit import kernel

AHEAD = 64
"""Places looked at before a name counts as not in step: so many neighbours may leave at once at no further cost."""


@kernel
def walk(before, after, source, taken):
    """``source[n]``: where in `before` the object ``after[n]`` stands, -1 if not within reach of its neighbour's place.

    Both rows are mostly in the same order. `taken` [before] is set where one was found. Returns how many were not.
    """
    at = 0
    missing = 0
    for n in range(after.shape[0]):
        found = -1
        for place in range(at, min(at + AHEAD, before.shape[0])):
            if before[place] == after[n]:
                found = place
                break
        source[n] = found
        if found < 0:
            missing += 1
        else:
            taken[found] = True
            at = found + 1
    return missing


@kernel
def join(before, after, source, taken, table, shift):
    """The same for what `walk` left over, in any order. `table` [2 ** (64 - shift)] comes filled with -1."""
    last = table.shape[0] - 1
    for place in range(before.shape[0]):
        if not taken[place]:
            at = first_place(before[place], shift)
            while table[at] >= 0:
                at = (at + 1) & last
            table[at] = place
    for n in range(after.shape[0]):
        if source[n] < 0:
            at = first_place(after[n], shift)
            while table[at] >= 0:
                if before[table[at]] == after[n]:
                    source[n] = table[at]
                    taken[table[at]] = True
                    break
                at = (at + 1) & last


@kernel
def carry(source, slots, generations, generation, out):
    """``out[n]``: the slot of the series at place ``source[n]`` before; -1 where it was not there, or is forgotten.

    `slots` and `generations` [before] are what those places held, `generation` [all slots] is how it stands now.
    """
    for n in range(source.shape[0]):
        out[n] = -1
        if source[n] >= 0:
            slot = slots[source[n]]
            if generation[slot] == generations[source[n]]:
                out[n] = slot


@kernel
def share_out(slots, edges, at, positions, offsets):
    """Sort slots by their block, in the order they come: block b has ``positions[edges[b]:edges[b + 1]]``.

    `edges` [blocks + 1] comes zeroed; `at` [blocks + 1] is overwritten.
    """
    for n in range(slots.shape[0]):
        edges[slots[n] // BLOCK_SERIES + 1] += 1
    at[0] = 0
    for block in range(1, edges.shape[0]):
        edges[block] += edges[block - 1]
        at[block] = edges[block]
    for n in range(slots.shape[0]):
        block = slots[n] // BLOCK_SERIES
        positions[at[block]] = n
        offsets[at[block]] = slots[n] - block * BLOCK_SERIES
        at[block] += 1


def compile_all() -> None:
    """Compile for the types used in production."""
    names, places, taken = np.ones(1, np.uint64), np.zeros(1, np.int64), np.zeros(1, np.bool_)
    walk(names, names, places, taken)
    join(names, names, places, taken, np.full(2, -1, np.int32), np.uint64(63))
    carry(places, places, np.ones(1, np.uint32), np.ones(1, np.uint32), places)
    share_out(places, np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(1, np.uint32), np.zeros(1, np.uint32))
