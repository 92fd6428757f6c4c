"""Kernels of ``stddev_over_time`` and ``stdvar_over_time``.

Sums and sums of squares of all samples so far are carried in two doubles each (about 106 bits), measured from the
series' first sample; a window's variance is a difference of them, in time that does not depend on its length. Where
that would cancel too much, or values are not finite, the window is gone through as Prometheus does.
"""

import math

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel
from observe.promql.statistics import moved_on, neumaier

STDDEV, STDVAR = 0, 1

_TRUSTED = 2.0**-40
"""A window's sum of squares is taken if it is at least this part of the largest sum so far."""
_SPLIT = 134217729.0  # 2^27 + 1


@inlined
def _product(a: float, b: float) -> tuple[float, float]:
    """``a * b`` as a sum of two doubles, exactly (Dekker)."""
    product = a * b
    c = _SPLIT * a
    a_high = c - (c - a)
    a_low = a - a_high
    d = _SPLIT * b
    b_high = d - (d - b)
    b_low = b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@inlined
def _plus(head: float, tail: float, x: float, y: float) -> tuple[float, float]:
    """``(head + tail) + (x + y)``, each pair a number of two doubles (Knuth)."""
    total = head + x
    back = total - head
    rest = (head - (total - back)) + (x - back) + (tail + y)
    new = total + rest
    return new, rest - (new - total)


@inlined
def _added_up(values: NDArray[np.float64], low: int, high: int) -> float:
    """The variance, sample by sample."""
    count = 0.0
    mean, mean_lost, total, lost = 0.0, 0.0, 0.0, 0.0
    for i in range(low, high):
        count += 1
        delta = values[i] - (mean + mean_lost)
        mean, mean_lost = neumaier(delta / count, mean, mean_lost)
        total, lost = neumaier(delta * (values[i] - (mean + mean_lost)), total, lost)
    return (total + lost) / count


@kernel
def deviations(
    op: int, timestamps: NDArray[np.int64], values: NDArray[np.float64], offsets: NDArray[np.int64],
    starts: NDArray[np.int64], ends: NDArray[np.int64], first: int, last: int,
    out: NDArray[np.float64], present: NDArray[np.bool_],
) -> None:
    """Standard deviation or variance over the windows ``(starts, ends]`` of the series ``first <= s < last``."""
    longest = 0
    for s in range(first, last):
        longest = max(longest, offsets[s + 1] - offsets[s])
    sums = np.zeros((longest + 1, 4))  # of the values, two doubles; of their squares, two doubles
    since = np.zeros(longest + 1, dtype=np.int64)  # where the run of equal values began
    for s in range(first, last):
        begin, end = offsets[s], offsets[s + 1]
        origin = values[begin] if end > begin else 0.0
        head, tail, square, square_tail, largest = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(begin, end):
            x = values[i] - origin
            head, tail = _plus(head, tail, x, 0.0)
            squared, rest = _product(x, x)
            square, square_tail = _plus(square, square_tail, squared, rest)
            n = i - begin + 1
            sums[n, 0], sums[n, 1], sums[n, 2], sums[n, 3] = head, tail, square, square_tail
            since[n - 1] = i if i == begin or values[i] != values[i - 1] else since[n - 2]
            largest = max(largest, square)
        exact = math.isfinite(square) and math.isfinite(square_tail) and largest < 1e290
        low, high = begin, begin
        for t in range(len(starts)):
            low, high = moved_on(timestamps, low, high, end, starts[t], ends[t])
            present[s, t] = high > low
            if high == low:
                out[s, t] = np.nan
                continue
            variance = -1.0
            if exact and since[high - 1 - begin] <= low:
                variance = 0.0
            elif exact:
                a, b, count = low - begin, high - begin, float(high - low)
                total, low_total = _plus(sums[b, 0], sums[b, 1], -sums[a, 0], -sums[a, 1])
                squares, low_squares = _plus(sums[b, 2], sums[b, 3], -sums[a, 2], -sums[a, 3])
                p, q = _product(total, total)
                q += 2.0 * total * low_total
                mean = p / count
                back, back_low = _product(mean, count)
                mean_low = ((p - back) - back_low + q) / count
                spread, _ = _plus(squares, low_squares, -mean, -mean_low)
                if spread > largest * _TRUSTED:
                    variance = spread / count
            if variance < 0:
                variance = _added_up(values, low, high)
            out[s, t] = math.sqrt(variance) if op == STDDEV else variance


def compile_all() -> None:
    stamps, offsets = np.array([1, 2], dtype=np.int64), np.array([0, 2], dtype=np.int64)
    starts, ends = np.array([0], dtype=np.int64), np.array([2], dtype=np.int64)
    deviations(STDDEV, stamps, np.array([1.0, 2.0]), offsets, starts, ends, 0, 1, np.zeros((1, 1)),
               np.zeros((1, 1), dtype=np.bool_))
