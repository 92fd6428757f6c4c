"""A hash table from 64-bit hashes to slots: open addressing, probed place by place.

``slots[at]`` is `EMPTY`, `GONE` (it held one that was removed; others may lie behind it) or a slot, and the hash of its
series is ``keys[at]``. The table has ``2 ** (64 - shift)`` places and always some that are empty.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.jit import inlined, kernel

EMPTY, GONE = -1, -2
SPREAD = 0x9E3779B97F4A7C15
"""Fibonacci hashing: hashes that lie side by side, as addresses do, get places that do not."""


@inlined
def first_place(key, shift):
    """Where to look for a key first."""
    return np.int64((np.uint64(key) * np.uint64(SPREAD)) >> shift)


@kernel
def find(keys, slots, shift, hashes, out):
    """The first slot of each hash into `out`, `EMPTY` where there is none."""
    last = keys.shape[0] - 1
    for n in range(hashes.shape[0]):
        at = first_place(hashes[n], shift)
        while slots[at] != EMPTY and (slots[at] == GONE or keys[at] != hashes[n]):
            at = (at + 1) & last
        out[n] = slots[at]


@kernel
def insert(keys, slots, shift, hashes, given):
    """Take in series that are not there yet. Returns how many took an empty place, not one of a series gone."""
    last = keys.shape[0] - 1
    fresh = 0
    for n in range(hashes.shape[0]):
        at = first_place(hashes[n], shift)
        while slots[at] >= 0:
            at = (at + 1) & last
        fresh += slots[at] == EMPTY
        keys[at] = hashes[n]
        slots[at] = given[n]
    return fresh


@kernel
def remove(keys, slots, shift, hashes, gone):
    """Let go of series that are there."""
    last = keys.shape[0] - 1
    for n in range(hashes.shape[0]):
        at = first_place(hashes[n], shift)
        while slots[at] != gone[n]:
            at = (at + 1) & last
        slots[at] = GONE


@kernel
def move(keys, slots, to_keys, to_slots, shift):
    """All series into another table, which is empty."""
    last = to_keys.shape[0] - 1
    for place in range(keys.shape[0]):
        if slots[place] >= 0:
            at = first_place(keys[place], shift)
            while to_slots[at] >= 0:
                at = (at + 1) & last
            to_keys[at] = keys[place]
            to_slots[at] = slots[place]


def compile_all() -> None:
    """Compile for the types used in production."""
    keys, slots, shift = np.zeros(4, np.int64), np.full(4, EMPTY, np.int32), np.uint64(62)
    one = np.zeros(1, np.int64)
    find(keys, slots, shift, one, np.zeros(1, np.int64))
    insert(keys, slots, shift, one, one)
    remove(keys, slots, shift, one, one)
    move(keys, slots, np.zeros(4, np.int64), np.full(4, EMPTY, np.int32), shift)
