"""The hot loops of a part, the packed samples of one hour: sealing open rows into it, and reading ranges of it.

The values of a full row become a chunk (chunk_kernels) in the words of the part, its times a vector of times, shared
by the neighbours of the same scrape. Chunks of a series in a part are a list linked backwards in time.
"""

# mypy: disable-error-code="arg-type,assignment,no-any-return,return-value"
# Numba unifies integers; the stubs of NumPy tell its scalars and int apart.

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel
from observe.store.chunk_kernels import decode, encode

Words = NDArray[np.uint64]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Ids = NDArray[np.uint32]
Doubles = NDArray[np.float64]


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


@inlined
def range_of(
    vector: int, start_ms: int, end_ms: int, base: Longs, count: Ints, step: Ints, at: Ids, times: Ints,
) -> tuple[int, int]:
    """Indexes of the times of a vector from `start_ms` to `end_ms`: the first, and one more than the last."""
    low = first_from(vector, start_ms, base, count, step, at, times)
    return low, first_from(vector, end_ms + 1, base, count, step, at, times)


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
                low, high = range_of(
                    vector, start_ms, end_ms, vector_base, vector_count, vector_step, vector_at, times)
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
                low, high = range_of(
                    vector, start_ms, end_ms, vector_base, vector_count, vector_step, vector_at, times)
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
                low, high = range_of(
                    vector, start_ms, end_ms, vector_base, vector_count, vector_step, vector_at, times)
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


def compile_all() -> None:
    slots, ids = np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    base, count = np.zeros(1, np.int64), np.full(1, 2, np.int32)
    offsets, values = np.arange(4, dtype=np.int32).reshape(1, 4), np.zeros((1, 4))
    words, step, vector_count = np.zeros(64, np.uint64), np.zeros(2, np.int32), np.zeros(2, np.int32)
    newest, before = np.full(1, -1, np.int32), np.zeros(2, np.int32)
    longs, numbers, ints = np.zeros(2, np.int64), np.zeros(2, np.uint32), np.zeros(2, np.int32)
    chunk_at, chunk_vector, vector_at = np.zeros(2, np.uint32), np.zeros(2, np.uint32), np.zeros(2, np.uint32)
    seal(slots, slots, ids, base, count, offsets, values, words, 0, numbers, chunk_at, chunk_vector, before, 0, newest,
         longs, vector_count, step, vector_at, 0, ints, 0)
    counts = np.zeros(1, np.int64)
    count_sealed(newest, chunk_vector, before, longs, vector_count, step, vector_at, ints, 0, 10, counts)
    read_sealed(newest, words, chunk_at, chunk_vector, before, longs, vector_count, step, vector_at, ints, 0, 10,
                np.zeros(1, np.int64), np.full(1, np.iinfo(np.int64).min), np.zeros(1, np.bool_), np.zeros(2, np.int64),
                np.zeros(2), 4)
