"""The hot loops of the head: taking samples in, sealing full chunks, reading ranges.

Every series of the head owns a row (its slot) of the open arrays: `base[slot]` ms, `count[slot]`, ``offsets[slot, :]``
(ms after the base, ascending) and ``values[slot, :]``. A full row is sealed: its values become a chunk (chunk_kernels)
in the words of a part (the samples of one hour), its times a vector of times, shared by the neighbours of the same
scrape. Chunks of a series in a part are a list linked backwards in time.
"""

# mypy: disable-error-code="arg-type,assignment,no-any-return,return-value"
# Numba unifies integers; the stubs of NumPy tell its scalars and int apart.

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel
from observe.model import ABSENT_NAN_BITS
from observe.store.chunk_kernels import decode, encode

Words = NDArray[np.uint64]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Ids = NDArray[np.uint32]
Doubles = NDArray[np.float64]

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
def seal(
    places: Ids, slots: Ids, ids: Ids, base: Longs, count: Ints, offsets: Ints, values: Doubles,
    words: Words, used: int, chunk_id: Ids, chunk_at: Ids, chunk_vector: Ids, chunk_before: Ints, chunks: int,
    newest: Ints,
    vector_base: Longs, vector_count: Ints, vector_step: Ints, vector_at: Ids, vectors: int,
    times: Ints, times_used: int,
) -> tuple[int, int, int, int]:
    """Move the open rows at `places`, of the series in `slots`, into a part whose arrays have room.

    Returns what the part then uses of each.
    """
    raw = values.view(np.uint64)
    capacity = offsets.shape[1]
    whole = np.empty(capacity, np.int64)
    steps = np.empty(capacity, np.int64)
    like = np.int64(-1)
    for i in range(places.size):
        row = places[i]
        have = count[row]
        if have == 0:
            continue
        shared = like >= 0 and base[like] == base[row] and vector_count[vectors - 1] == have
        if shared:
            for j in range(have):
                if offsets[like, j] != offsets[row, j]:
                    shared = False
                    break
        if not shared:
            vector_base[vectors] = base[row]
            vector_count[vectors] = have
            step = offsets[row, 1] if have > 1 else np.int32(1)
            for j in range(have):
                if offsets[row, j] != j * step:
                    step = np.int32(0)
                    break
            vector_step[vectors] = step
            vector_at[vectors] = times_used
            if step == 0:
                for j in range(have):
                    times[times_used + j] = offsets[row, j]
                times_used += have
            vectors += 1
            like = np.int64(row)
        chunk_id[chunks] = ids[i]
        chunk_at[chunks] = used
        chunk_vector[chunks] = vectors - 1
        chunk_before[chunks] = newest[slots[i]]
        newest[slots[i]] = chunks
        used = encode(values[row], raw[row], have, words, used, whole, steps)
        chunks += 1
    for i in range(places.size):
        count[places[i]] = 0
    return used, chunks, vectors, times_used


@inlined
def vector_time(vector: int, index: int, base: Longs, step: Ints, at: Ids, times: Ints) -> int:
    if step[vector] > 0:
        return base[vector] + np.int64(step[vector]) * index
    return base[vector] + np.int64(times[at[vector] + index])


@inlined
def first_from(vector: int, moment: int, base: Longs, count: Ints, step: Ints, at: Ids, times: Ints) -> int:
    """Index of the first time of a vector that is not before `moment`."""
    low = 0
    high = np.int64(count[vector])
    if base[vector] >= moment:
        return 0
    if vector_time(vector, high - 1, base, step, at, times) < moment:
        return high
    while low < high:
        middle = (low + high) >> 1
        if vector_time(vector, middle, base, step, at, times) < moment:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def count_sealed(
    newest: Ints, chunk_vector: Ids, chunk_before: Ints, vector_base: Longs, vector_count: Ints, vector_step: Ints,
    vector_at: Ids, times: Ints, start_ms: int, end_ms: int, counts: Longs,
) -> None:
    """Add to ``counts[s]`` what a part holds in the range of the series whose newest chunk is ``newest[s]``."""
    lately = np.int64(-1)
    lately_count = np.int64(0)
    for s in range(newest.size):
        chunk = newest[s]
        total = 0
        while chunk >= 0:
            vector = np.int64(chunk_vector[chunk])
            if vector != lately:
                lately = vector
                low = first_from(vector, start_ms, vector_base, vector_count, vector_step, vector_at, times)
                high = first_from(vector, end_ms + 1, vector_base, vector_count, vector_step, vector_at, times)
                lately_count = high - low
            total += lately_count
            chunk = chunk_before[chunk]
        counts[s] += total


@kernel
def read_sealed(
    newest: Ints, words: Words, chunk_at: Ids, chunk_vector: Ids, chunk_before: Ints, vector_base: Longs,
    vector_count: Ints, vector_step: Ints, vector_at: Ids, times: Ints, start_ms: int, end_ms: int, filled: Longs,
    until: Longs, disorder: NDArray[np.bool_], out_times: Longs, out_values: Doubles, longest: int,
) -> None:
    """Read the samples in the range of one part: series s goes to ``filled[s]:`` of the columns, and `filled` moves on.

    ``until[s]`` is the last time read so far; where times do not ascend from chunk to chunk, ``disorder[s]`` is set.
    """
    out_raw = out_values.view(np.uint64)
    scratch = np.empty(longest, np.float64)
    scratch_raw = scratch.view(np.uint64)
    lately = np.int64(-1)
    low = np.int64(0)
    high = np.int64(0)
    for s in range(newest.size):
        # Chunks are linked backwards: first find how much there is, then fill from the end.
        total = 0
        chunk = newest[s]
        while chunk >= 0:
            vector = np.int64(chunk_vector[chunk])
            if vector != lately:
                lately = vector
                low = first_from(vector, start_ms, vector_base, vector_count, vector_step, vector_at, times)
                high = first_from(vector, end_ms + 1, vector_base, vector_count, vector_step, vector_at, times)
            total += high - low
            chunk = chunk_before[chunk]
        if total == 0:
            continue
        at = filled[s] + total
        end = at
        chunk = newest[s]
        first_later = np.int64(9223372036854775807)
        while chunk >= 0:
            vector = np.int64(chunk_vector[chunk])
            if vector != lately:
                lately = vector
                low = first_from(vector, start_ms, vector_base, vector_count, vector_step, vector_at, times)
                high = first_from(vector, end_ms + 1, vector_base, vector_count, vector_step, vector_at, times)
            length = high - low
            if length > 0:
                at -= length
                # By way of a small scratch that stays in the first cache.
                decode(words, np.int64(chunk_at[chunk]), np.int64(vector_count[vector]), scratch, scratch_raw, 0)
                for j in range(np.uint64(length)):
                    out_raw[np.uint64(at) + j] = scratch_raw[np.uint64(low) + j]
                # Unsigned places: signed ones would be checked for counting from the end at every sample.
                to = np.uint64(at)
                if vector_step[vector] > 0:
                    step = np.int64(vector_step[vector])
                    time = vector_base[vector] + step * low
                    for j in range(np.uint64(length)):
                        out_times[to + j] = time
                        time += step
                else:
                    begin = vector_base[vector]
                    place = np.uint64(vector_at[vector]) + np.uint64(low)
                    for j in range(np.uint64(length)):
                        out_times[to + j] = begin + np.int64(times[place + j])
                if out_times[at + length - 1] >= first_later:
                    disorder[s] = True
                first_later = out_times[at]
            chunk = chunk_before[chunk]
        if first_later <= until[s]:
            disorder[s] = True
        until[s] = max(until[s], out_times[end - 1])
        filled[s] = end


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


@kernel
def place(
    counts: Longs, times: Longs, raw: Words, filled: Longs, until: Longs, disorder: NDArray[np.bool_], out_times: Longs,
    out_raw: Words,
) -> None:
    """Put columns ordered by series (``counts[s]`` each) behind what `filled` says is there, and move it on."""
    at = 0
    for s in range(counts.size):
        to = filled[s]
        for i in range(counts[s]):
            out_times[to + i] = times[at]
            out_raw[to + i] = raw[at]
            if times[at] <= until[s]:
                disorder[s] = True
            until[s] = max(until[s], times[at])
            at += 1
        filled[s] = to + counts[s]


@kernel
def mend(offsets: Longs, disorder: NDArray[np.bool_], times: Longs, raw: Words) -> Longs:
    """Sort the series that are in disorder, keep the first of two samples at one time, and close the gaps.

    Returns the new offsets; the columns are changed in place and end at the last of them.
    """
    series = offsets.size - 1
    new = np.zeros(series + 1, np.int64)
    at = 0
    for s in range(series):
        low = offsets[s]
        high = offsets[s + 1]
        if disorder[s]:
            order = np.argsort(times[low:high], kind="mergesort")
            sorted_times = times[low:high][order]
            sorted_raw = raw[low:high][order]
            for i in range(high - low):
                if i == 0 or sorted_times[i] != sorted_times[i - 1]:
                    times[at] = sorted_times[i]
                    raw[at] = sorted_raw[i]
                    at += 1
        elif at == low:
            at = high
        else:
            for i in range(low, high):
                times[at] = times[i]
                raw[at] = raw[i]
                at += 1
        new[s + 1] = at
    return new


@kernel
def place_at(
    target: Longs, offsets: Longs, times: Longs, raw: Words, filled: Longs, until: Longs, disorder: NDArray[np.bool_],
    out_times: Longs, out_raw: Words,
) -> None:
    """Like `place`, for columns whose series s (``offsets[s]:offsets[s + 1]``) is ``target[s]`` of the result."""
    for s in range(target.size):
        series = target[s]
        to = filled[series] - offsets[s]
        low = offsets[s]
        high = offsets[s + 1]
        if low == high:
            continue
        if times[low] <= until[series]:
            disorder[series] = True
        for i in range(low, high):
            out_times[to + i] = times[i]
            out_raw[to + i] = raw[i]
        until[series] = max(until[series], times[high - 1])
        filled[series] = to + high


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


def compile_all() -> None:
    slots = np.zeros(1, np.uint32)
    base, last = np.zeros(1, np.int64), np.full(1, NEVER)
    count, offsets, values = np.zeros(1, np.int32), np.zeros((1, 4), np.int32), np.zeros((1, 4))
    times, raw = np.array([1, 2], np.int64), np.zeros((2, 1), np.uint64)
    take(slots, times, raw, np.zeros(1, np.int32), last, base, count, offsets, values.view(np.uint64), 1, 10,
         np.zeros(5, np.int64), np.zeros(1, np.int32), np.zeros(2, np.int64))
    longs, ids, ints = np.zeros(2, np.int64), np.zeros(2, np.uint32), np.zeros(2, np.int32)
    words, step, vector_count = np.zeros(64, np.uint64), np.zeros(2, np.int32), np.zeros(2, np.int32)
    newest, before = np.full(1, -1, np.int32), np.zeros(2, np.int32)
    chunk_at, chunk_vector, vector_at = np.zeros(2, np.uint32), np.zeros(2, np.uint32), np.zeros(2, np.uint32)
    counts, total = np.zeros(1, np.int64), 2
    count_open(slots, base, count, offsets, 0, 10, counts)
    read_open(slots, base, count, offsets, values.view(np.uint64), 0, 10, np.zeros(total, np.int64),
              np.zeros(total, np.uint64))
    seal(slots, slots, ids[:1], base, count, offsets, values, words, 0, ids, chunk_at, chunk_vector, before, 0, newest,
         longs, vector_count, step, vector_at, 0, ints, 0)
    counts[:] = 0
    count_sealed(newest, chunk_vector, before, longs, vector_count, step, vector_at, ints, 0, 10, counts)
    filled, until, disorder = np.zeros(1, np.int64), np.full(1, NEVER), np.zeros(1, np.bool_)
    out_times, out_values = np.zeros(total, np.int64), np.zeros(total)
    read_sealed(newest, words, chunk_at, chunk_vector, before, longs, vector_count, step, vector_at, ints, 0, 10,
                filled, until, disorder, out_times, out_values, 4)
    place(np.zeros(1, np.int64), out_times, out_values.view(np.uint64), filled, until, disorder, out_times,
          out_values.view(np.uint64))
    mend(np.array([0, total], np.int64), disorder, out_times, out_values.view(np.uint64))
    columns = np.array([0, total], np.int64)
    filled[:] = 0
    place_at(np.zeros(1, np.int64), columns, out_times.copy(), out_values.copy().view(np.uint64), filled, until,
             disorder, out_times, out_values.view(np.uint64))
    note_last(slots, times, raw, last)
