"""The hot loops of the open rows: taking samples in, and reading what is not packed yet.

Every series of the head owns a row (its slot) of the open arrays: `base[slot]` ms, `count[slot]`, ``offsets[slot, :]``
(ms after the base, ascending) and ``values[slot, :]``. A full row is sealed into a part (part_kernels).
"""

# mypy: disable-error-code="arg-type,assignment,no-any-return,return-value"
# Numba unifies integers; the stubs of NumPy tell its scalars and int apart.

import numpy as np
from numpy.typing import NDArray

from observe.jit import kernel
from observe.model.nans import ABSENT_NAN_BITS

Words = NDArray[np.uint64]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Ids = NDArray[np.uint32]

NEVER = np.iinfo(np.int64).min

STORED, DUPLICATE, LATE, TOO_OLD, UNKNOWN = range(5)
_NO_SLOT = 0xFFFF_FFFF


@kernel
def take(
    slots: Ids, times: Longs, raw: Words, begin: Ints, last: Longs, base: Longs, count: Ints, offsets: Ints,
    open_raw: Words, window_ms: int, part_ms: int, tally: Longs, full: Ints, late: Longs,
) -> tuple[int, int]:
    """Put ``raw[t, n]`` (values as bits) at ``times[t]`` into the open row of ``slots[n]``, from row ``begin[n]`` on.

    A series whose row must be sealed first stops there: its n goes to `full` and `begin[n]` says where to go on.
    Samples older than the open row but inside the window go to `late` as ``t * N + n``. Returns how many of each.
    """
    capacity = offsets.shape[1]
    rows, width = raw.shape
    stopped = 0
    kept = 0
    absent = np.uint64(ABSENT_NAN_BITS)
    for n in range(width):
        slot = slots[n]
        if slot == np.uint32(_NO_SLOT):
            for t in range(begin[n], rows):
                if raw[t, n] != absent:
                    tally[UNKNOWN] += 1
            begin[n] = rows
            continue
        t = begin[n]
        while t < rows:
            bits = raw[t, n]
            if bits == absent:
                t += 1
                continue
            time = times[t]
            have = count[slot]
            if time > last[slot]:
                if have > 0:
                    start = base[slot]
                    if have == capacity or time // part_ms != start // part_ms:
                        full[stopped] = n
                        stopped += 1
                        break
                    offsets[slot, have] = time - start
                else:
                    base[slot] = time
                    offsets[slot, 0] = 0
                open_raw[slot, have] = bits
                count[slot] = have + 1
                last[slot] = time
                tally[STORED] += 1
            elif time == last[slot]:
                tally[DUPLICATE] += 1
            elif time < last[slot] - window_ms:
                tally[TOO_OLD] += 1
            elif have > 0 and time > base[slot]:
                offset = time - base[slot]
                place = have - 1
                while offsets[slot, place] > offset:
                    place -= 1
                if offsets[slot, place] == offset:
                    tally[DUPLICATE] += 1
                elif have == capacity:
                    full[stopped] = n
                    stopped += 1
                    break
                else:
                    for i in range(have, place + 1, -1):
                        offsets[slot, i] = offsets[slot, i - 1]
                        open_raw[slot, i] = open_raw[slot, i - 1]
                    offsets[slot, place + 1] = offset
                    open_raw[slot, place + 1] = bits
                    count[slot] = have + 1
                    tally[LATE] += 1
            elif have > 0 and time == base[slot]:
                tally[DUPLICATE] += 1
            else:
                late[kept] = t * width + n
                kept += 1
            t += 1
        begin[n] = t
    return stopped, kept


@kernel
def note_last(slots: Ids, times: Longs, raw: Words, last: Longs) -> None:
    """Remember the newest time of each series without keeping its samples."""
    absent = np.uint64(ABSENT_NAN_BITS)
    rows, width = raw.shape
    for n in range(width):
        slot = slots[n]
        if slot != np.uint32(_NO_SLOT):
            for t in range(rows):
                if raw[t, n] != absent and times[t] > last[slot]:
                    last[slot] = times[t]


@kernel
def count_open(slots: Ids, base: Longs, count: Ints, offsets: Ints, start_ms: int, end_ms: int, counts: Longs) -> int:
    """How many samples in the range the open rows hold: into `counts`; returns the sum."""
    total = 0
    for s in range(slots.size):
        slot = slots[s]
        found = 0
        have = count[slot]
        if have > 0 and base[slot] <= end_ms and base[slot] + offsets[slot, have - 1] >= start_ms:
            for i in range(have):
                time = base[slot] + offsets[slot, i]
                if start_ms <= time <= end_ms:
                    found += 1
        counts[s] = found
        total += found
    return total


@kernel
def read_open(
    slots: Ids, base: Longs, count: Ints, offsets: Ints, open_raw: Words, start_ms: int, end_ms: int, out_times: Longs,
    out_raw: Words,
) -> None:
    """Copy the samples that `count_open` counted, series after series."""
    at = 0
    for s in range(slots.size):
        slot = slots[s]
        have = count[slot]
        if have == 0 or base[slot] > end_ms or base[slot] + offsets[slot, have - 1] < start_ms:
            continue
        for i in range(have):
            time = base[slot] + offsets[slot, i]
            if start_ms <= time <= end_ms:
                out_times[at] = time
                out_raw[at] = open_raw[slot, i]
                at += 1


def compile_all() -> None:
    slots = np.zeros(1, np.uint32)
    base, last = np.zeros(1, np.int64), np.full(1, NEVER)
    count, offsets, values = np.zeros(1, np.int32), np.zeros((1, 4), np.int32), np.zeros((1, 4), np.uint64)
    times, raw = np.array([1, 2], np.int64), np.zeros((2, 1), np.uint64)
    take(slots, times, raw, np.zeros(1, np.int32), last, base, count, offsets, values, 1, 10,
         np.zeros(5, np.int64), np.zeros(1, np.int32), np.zeros(2, np.int64))
    note_last(slots, times, raw, last)
    count_open(slots, base, count, offsets, 0, 10, np.zeros(1, np.int64))
    read_open(slots, base, count, offsets, values, 0, 10, np.zeros(2, np.int64), np.zeros(2, np.uint64))
