"""Kernels over classic histograms: quantile and fraction from cumulative buckets, as Prometheus 3 computes them."""

import math

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel

_SMALL = 1e-12
"""Relative differences between buckets up to this are rounding, not data."""
_LEAST_NORMAL = 2.2250738585072014e-308


@inlined
def _almost_equal(a: float, b: float) -> bool:
    if math.isnan(a) and math.isnan(b):
        return True
    if a == b:
        return True
    total = abs(a) + abs(b)
    difference = abs(a - b)
    if a == 0 or b == 0 or total < _LEAST_NORMAL:
        return difference < _SMALL * _LEAST_NORMAL
    return difference / min(total, 1.7976931348623157e308) < _SMALL


@inlined
def _gathered(
    uppers: NDArray[np.float64], values: NDArray[np.float64], present: NDArray[np.bool_], rows: NDArray[np.int64],
    begin: int, end: int, t: int, bounds: NDArray[np.float64], counts: NDArray[np.float64],
) -> int:
    """Copy the buckets of one histogram at one step, ascending; those with the same bound added up."""
    n = 0
    for i in range(begin, end):
        row = rows[i]
        if not present[row, t]:
            continue
        if n > 0 and bounds[n - 1] == uppers[i]:
            counts[n - 1] += values[row, t]
        else:
            bounds[n] = uppers[i]
            counts[n] = values[row, t]
            n += 1
    return n


@inlined
def _made_monotonic(counts: NDArray[np.float64], n: int) -> bool:
    """Remove decreases; True if one was more than rounding."""
    forced = False
    before = counts[0]
    for i in range(1, n):
        now = counts[i]
        if now == before:
            continue
        if _almost_equal(before, now):
            counts[i] = before
        elif now < before:
            counts[i] = before
            forced = True
        else:
            before = now
    return forced


@inlined
def _quantile(q: float, bounds: NDArray[np.float64], counts: NDArray[np.float64], n: int) -> float:
    if n < 2 or counts[n - 1] == 0:
        return np.nan
    rank = q * counts[n - 1]
    low, high = 0, n - 1  # the first of the buckets but the last whose count reaches the rank
    while low < high:
        middle = (low + high) // 2
        if counts[middle] >= rank:
            high = middle
        else:
            low = middle + 1
    if low == n - 1:
        return float(bounds[n - 2])
    if low == 0 and bounds[0] <= 0:
        return float(bounds[0])
    start, count = 0.0, counts[low]
    if low > 0:
        start = bounds[low - 1]
        count -= counts[low - 1]
        rank -= counts[low - 1]
    return float(start + (bounds[low] - start) * (rank / count))


@kernel
def bucket_quantiles(
    q: NDArray[np.float64], uppers: NDArray[np.float64], rows: NDArray[np.int64], offsets: NDArray[np.int64],
    values: NDArray[np.float64], present: NDArray[np.bool_], out: NDArray[np.float64], seen: NDArray[np.bool_],
) -> int:
    """``histogram_quantile``. The buckets of histogram h, ascending by bound, are ``rows[offsets[h]:offsets[h + 1]]``.

    Returns how many results needed counts that decrease to be repaired.
    """
    bounds, counts = np.empty(len(rows) + 1), np.empty(len(rows) + 1)
    repaired = 0
    for h in range(len(offsets) - 1):
        for t in range(values.shape[1]):
            n = _gathered(uppers, values, present, rows, offsets[h], offsets[h + 1], t, bounds, counts)
            seen[h, t] = n > 0
            if n == 0 or math.isnan(q[t]):
                out[h, t] = np.nan
            elif q[t] < 0:
                out[h, t] = -np.inf
            elif q[t] > 1:
                out[h, t] = np.inf
            elif bounds[n - 1] != np.inf:
                out[h, t] = np.nan
            else:
                if _made_monotonic(counts, n):
                    repaired += 1
                out[h, t] = _quantile(q[t], bounds, counts, n)
    return repaired


@inlined
def _rank_of(x: float, bounds: NDArray[np.float64], counts: NDArray[np.float64], n: int) -> float:
    """How many observations are at or below `x`, interpolated inside its bucket."""
    rank = 0.0
    lower = 0.0 if bounds[0] > 0 else -np.inf
    for i in range(n):
        if i > 0:
            lower = bounds[i - 1]
        if lower >= x:
            return rank
        if bounds[i] > x:  # lower < x here
            if lower == -np.inf:
                return float(counts[i])
            return float(rank + (counts[i] - rank) * (x - lower) / (bounds[i] - lower))
        rank = counts[i]
    return float(counts[n - 1])


@kernel
def bucket_fractions(
    low: NDArray[np.float64], high: NDArray[np.float64], uppers: NDArray[np.float64], rows: NDArray[np.int64],
    offsets: NDArray[np.int64], values: NDArray[np.float64], present: NDArray[np.bool_], out: NDArray[np.float64],
    seen: NDArray[np.bool_],
) -> None:
    """``histogram_fraction``: the part of the observations between `low` and `high`, both [T]."""
    bounds, counts = np.empty(len(rows) + 1), np.empty(len(rows) + 1)
    for h in range(len(offsets) - 1):
        for t in range(values.shape[1]):
            n = _gathered(uppers, values, present, rows, offsets[h], offsets[h + 1], t, bounds, counts)
            seen[h, t] = n > 0
            if n == 0 or bounds[n - 1] != np.inf:
                out[h, t] = np.nan
                continue
            total = counts[n - 1]
            if total == 0 or math.isnan(low[t]) or math.isnan(high[t]):
                out[h, t] = np.nan
            elif low[t] >= high[t]:
                out[h, t] = 0.0
            else:
                above = min(_rank_of(high[t], bounds, counts, n), total)
                out[h, t] = (above - min(_rank_of(low[t], bounds, counts, n), total)) / total


def compile_all() -> None:
    one = np.ones(1)
    rows, offsets = np.zeros(1, dtype=np.int64), np.array([0, 1], dtype=np.int64)
    values, present = np.zeros((1, 1)), np.ones((1, 1), dtype=np.bool_)
    bucket_quantiles(one, one, rows, offsets, values, present, values.copy(), present.copy())
    bucket_fractions(one, one, one, rows, offsets, values, present, values.copy(), present.copy())
