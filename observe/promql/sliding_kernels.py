"""Kernels of ``sum``, ``avg``, ``min`` and ``max_over_time``: what they know of a window moves on with it.

So their time does not depend on the window's length (``stddev`` and ``stdvar`` do the same in `deviation_kernels`).
Windows are given as in `window_kernels`; special cases are those of Prometheus 3 (promql/functions.go).
"""

import math

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel
from observe.promql.statistics import moved_on, neumaier

SUM, AVG = 0, 1
MIN, MAX = 0, 1

_TRUSTED = 2.0**-40
"""A window's sum is taken from prefix sums only if it is at least this part of the largest of them."""


@inlined
def _summed(values: NDArray[np.float64], low: int, high: int) -> float:
    total, lost = 0.0, 0.0
    for i in range(low, high):
        total, lost = neumaier(values[i], total, lost)
    if math.isinf(total):
        return total
    return total + lost


@inlined
def _averaged(values: NDArray[np.float64], low: int, high: int) -> float:
    total, lost, mean = values[low], 0.0, 0.0
    incremental = False
    for i in range(low + 1, high):
        count = float(i - low + 1)
        if not incremental:
            new, new_lost = neumaier(values[i], total, lost)
            if not math.isinf(new):
                total, lost = new, new_lost
                continue
            incremental = True  # the sum would overflow: from here on the mean itself is carried
            mean = total / (count - 1)
            lost /= count - 1
        part = (count - 1) / count
        mean, lost = neumaier(values[i] / count, part * mean, part * lost)
    average: float = mean + lost if incremental else total / (high - low) + lost / (high - low)
    return average


@kernel
def sums(
    op: int, timestamps: NDArray[np.int64], values: NDArray[np.float64], offsets: NDArray[np.int64],
    starts: NDArray[np.int64], ends: NDArray[np.int64], first: int, last: int,
    out: NDArray[np.float64], present: NDArray[np.bool_],
) -> None:
    """``sum_over_time`` and ``avg_over_time``.

    Prefix sums are carried in two doubles (about 106 bits), so their differences are as good as a compensated sum of
    the window. Where they could not be (values that are not finite, or sums that nearly cancel) it is added up.
    """
    longest = 0
    for s in range(first, last):
        longest = max(longest, offsets[s + 1] - offsets[s])
    heads = np.empty(longest + 1)
    tails = np.empty(longest + 1)
    for s in range(first, last):
        begin, end = offsets[s], offsets[s + 1]
        heads[0] = 0.0
        tails[0] = 0.0
        largest = 0.0
        head, tail = 0.0, 0.0
        for i in range(begin, end):
            # Exact sum of two doubles (Knuth), then the pair made canonical again.
            x = values[i]
            new = head + x
            back = new - head
            tail += (head - (new - back)) + (x - back)
            head = new + tail
            tail -= head - new
            heads[i - begin + 1] = head
            tails[i - begin + 1] = tail
            largest = max(largest, abs(head))
        finite = math.isfinite(head) and math.isfinite(tail) and largest < 1e300
        low, high = begin, begin
        for t in range(len(starts)):
            low, high = moved_on(timestamps, low, high, end, starts[t], ends[t])
            if low == high:
                present[s, t] = False
                out[s, t] = np.nan
                continue
            present[s, t] = True
            if finite:
                a, b = low - begin, high - begin
                total = (heads[b] - heads[a]) + (tails[b] - tails[a])
                if abs(total) >= largest * _TRUSTED:
                    # Once more with what the subtraction of the heads lost.
                    gone = heads[b] - heads[a]
                    back = gone - heads[b]
                    rest = (heads[b] - (gone - back)) + (-heads[a] - back)
                    total = gone + (rest + (tails[b] - tails[a]))
                    out[s, t] = total if op == SUM else total / (high - low)
                    continue
            out[s, t] = _summed(values, low, high) if op == SUM else _averaged(values, low, high)


@kernel
def extremes(
    op: int, timestamps: NDArray[np.int64], values: NDArray[np.float64], offsets: NDArray[np.int64],
    starts: NDArray[np.int64], ends: NDArray[np.int64], first: int, last: int,
    out: NDArray[np.float64], present: NDArray[np.bool_],
) -> None:
    """``min_over_time`` and ``max_over_time``.

    A queue holds the samples of the window that could still become its extreme, best first. NaN counts only where there
    is nothing else.
    """
    longest = 0
    for s in range(first, last):
        longest = max(longest, offsets[s + 1] - offsets[s])
    queue = np.empty(longest + 1, dtype=np.int64)
    sign = 1.0 if op == MAX else -1.0
    for s in range(first, last):
        begin, end = offsets[s], offsets[s + 1]
        low, high = begin, begin
        head, tail = 0, 0
        for t in range(len(starts)):
            while high < end and timestamps[high] <= ends[t]:
                x = sign * values[high]
                if not math.isnan(x):
                    while tail > head and sign * values[queue[tail - 1]] < x:
                        tail -= 1
                    queue[tail] = high
                    tail += 1
                high += 1
            while low < high and timestamps[low] <= starts[t]:
                low += 1
            while head < tail and queue[head] < low:
                head += 1
            present[s, t] = high > low
            out[s, t] = values[queue[head]] if tail > head else np.nan


def compile_all() -> None:
    offsets, stamps = np.array([0, 2], dtype=np.int64), np.array([1, 2], dtype=np.int64)
    starts, ends = np.array([0], dtype=np.int64), np.array([2], dtype=np.int64)
    values, out, present = np.array([1.0, 2.0]), np.zeros((1, 1)), np.zeros((1, 1), dtype=np.bool_)
    sums(SUM, stamps, values, offsets, starts, ends, 0, 1, out, present)
    extremes(MIN, stamps, values, offsets, starts, ends, 0, 1, out, present)
