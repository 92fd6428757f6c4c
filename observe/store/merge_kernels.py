"""The hot loops of an answer: columns of several sources, one behind the other in each series, put into order."""

# mypy: disable-error-code="arg-type,assignment,no-any-return,return-value"
# Numba unifies integers; the stubs of NumPy tell its scalars and int apart.

import numpy as np
from numpy.typing import NDArray

from observe.jit import kernel

Words = NDArray[np.uint64]
Longs = NDArray[np.int64]


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


def compile_all() -> None:
    filled, until, disorder = np.zeros(1, np.int64), np.full(1, np.iinfo(np.int64).min), np.zeros(1, np.bool_)
    times, raw = np.zeros(2, np.int64), np.zeros(2, np.uint64)
    place(np.zeros(1, np.int64), times, raw, filled, until, disorder, times, raw)
    columns = np.array([0, 2], np.int64)
    place_at(np.zeros(1, np.int64), columns, times.copy(), raw.copy(), filled, until, disorder, times, raw)
    mend(columns, disorder, times, raw)
