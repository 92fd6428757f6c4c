"""The kernel of functions that go through the samples of each window: every series, every step, monotone pointers.

It takes the samples of all series in compressed rows and the windows ``(starts[t], ends[t]]`` of every step, both
ascending, and fills `out` and `present`, [S, T], for the series ``first <= s < last``: the caller gives them in
portions, so that a query can be stopped between two. The kernels of other functions over windows do the same:
`rate_kernels`, `sliding_kernels`, `deviation_kernels`.

The formulas and their special cases are those of Prometheus 3 (promql/functions.go); the order of operations too, where
it shows in the result.
"""

import math

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel
from observe.promql.statistics import moved_on, neumaier, quantile_of

(
    COUNT, PRESENT, LAST, FIRST, IRATE, IDELTA, CHANGES, RESETS, DERIV, PREDICT, SMOOTH,
    QUANTILE, MAD, TS_FIRST, TS_LAST, TS_MIN, TS_MAX,
) = range(17)


@inlined
def _line(
    timestamps: NDArray[np.int64], values: NDArray[np.float64], low: int, high: int, zero_ms: int,
) -> tuple[float, float]:
    """Slope and value at `zero_ms` of the least-squares line."""
    constant = True
    n = 0.0
    x_sum, x_lost, y_sum, y_lost = 0.0, 0.0, 0.0, 0.0
    xy_sum, xy_lost, xx_sum, xx_lost = 0.0, 0.0, 0.0, 0.0
    for i in range(low, high):
        y = values[i]
        if y != values[low]:
            constant = False
        n += 1
        x = (timestamps[i] - zero_ms) / 1e3
        x_sum, x_lost = neumaier(x, x_sum, x_lost)
        y_sum, y_lost = neumaier(y, y_sum, y_lost)
        xy_sum, xy_lost = neumaier(x * y, xy_sum, xy_lost)
        xx_sum, xx_lost = neumaier(x * x, xx_sum, xx_lost)
    if constant:
        if math.isinf(values[low]):
            return np.nan, np.nan
        return 0.0, values[low]
    x_sum += x_lost
    y_sum += y_lost
    covariance = (xy_sum + xy_lost) - x_sum * y_sum / n
    variance = (xx_sum + xx_lost) - x_sum * x_sum / n
    slope = covariance / variance
    return slope, y_sum / n - slope * x_sum / n


@inlined
def _smoothed(values: NDArray[np.float64], low: int, high: int, smoothing: float, trending: float) -> float:
    before, now = 0.0, float(values[low])
    trend = values[low + 1] - values[low]
    for i in range(low + 1, high):
        if i > low + 1:
            trend = trending * (now - before) + (1 - trending) * trend
        before, now = now, smoothing * values[i] + (1 - smoothing) * (now + trend)
    return now


@kernel
def reduced(
    op: int, timestamps: NDArray[np.int64], values: NDArray[np.float64], offsets: NDArray[np.int64],
    starts: NDArray[np.int64], ends: NDArray[np.int64], times: NDArray[np.int64],
    p0: NDArray[np.float64], p1: NDArray[np.float64], first: int, last: int,
    out: NDArray[np.float64], present: NDArray[np.bool_],
) -> None:
    """Function `op` of each window. `times` [T] are the evaluation times, `p0` and `p1` [T] scalar arguments."""
    least = 1
    if op in (IRATE, IDELTA, DERIV, PREDICT, SMOOTH):
        least = 2
    for s in range(first, last):
        begin, end = offsets[s], offsets[s + 1]
        low, high = begin, begin
        for t in range(len(starts)):
            low, high = moved_on(timestamps, low, high, end, starts[t], ends[t])
            if high - low < least:
                present[s, t] = False
                out[s, t] = np.nan
                continue
            present[s, t] = True
            if op == COUNT:
                out[s, t] = high - low
            elif op == PRESENT:
                out[s, t] = 1.0
            elif op == LAST:
                out[s, t] = values[high - 1]
            elif op == FIRST:
                out[s, t] = values[low]
            elif op == TS_MIN:
                best = low
                for i in range(low, high):
                    if values[i] <= values[best] or math.isnan(values[best]):
                        best = i
                out[s, t] = timestamps[best] / 1000.0
            elif op == TS_MAX:
                best = low
                for i in range(low, high):
                    if values[i] >= values[best] or math.isnan(values[best]):
                        best = i
                out[s, t] = timestamps[best] / 1000.0
            elif op in (IRATE, IDELTA):
                older, newer = values[high - 2], values[high - 1]
                change = newer if op == IRATE and newer < older else newer - older
                if op == IRATE:
                    change /= (timestamps[high - 1] - timestamps[high - 2]) / 1000.0
                out[s, t] = change
            elif op == CHANGES:
                count = 0
                for i in range(low + 1, high):
                    if values[i] != values[i - 1] and not (math.isnan(values[i]) and math.isnan(values[i - 1])):
                        count += 1
                out[s, t] = count
            elif op == RESETS:
                count = 0
                for i in range(low + 1, high):
                    if values[i] < values[i - 1]:
                        count += 1
                out[s, t] = count
            elif op == DERIV:
                slope, _ = _line(timestamps, values, low, high, timestamps[low])
                out[s, t] = slope
            elif op == PREDICT:
                slope, level = _line(timestamps, values, low, high, times[t])
                out[s, t] = slope * p0[t] + level
            elif op == SMOOTH:
                out[s, t] = _smoothed(values, low, high, p0[t], p1[t])
            elif op == QUANTILE:
                out[s, t] = quantile_of(p0[t], np.sort(values[low:high]))
            elif op == MAD:
                ordered = np.sort(values[low:high])
                if math.isnan(ordered[-1]):
                    out[s, t] = np.nan
                else:
                    out[s, t] = quantile_of(0.5, np.sort(np.abs(ordered - quantile_of(0.5, ordered))))
            elif op == TS_FIRST:
                out[s, t] = timestamps[low] / 1000.0
            else:  # TS_LAST
                out[s, t] = timestamps[high - 1] / 1000.0


def compile_all() -> None:
    offsets, stamps = np.array([0, 2], dtype=np.int64), np.array([1, 2], dtype=np.int64)
    starts, ends = np.array([0], dtype=np.int64), np.array([2], dtype=np.int64)
    one, out, present = np.array([0.5]), np.zeros((1, 1)), np.zeros((1, 1), dtype=np.bool_)
    reduced(COUNT, stamps, np.array([1.0, 2.0]), offsets, starts, ends, ends, one, one, 0, 1, out, present)
