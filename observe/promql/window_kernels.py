"""Kernels of the functions over range vectors: every series, every step, monotone pointers.

Each kernel takes the samples of all series in compressed rows, the windows ``(starts[t], ends[t]]`` of every step, both
ascending, and fills `out` and `present`, [S, T], for the series ``first <= s < last``: the caller gives them in
portions, so that a query can be stopped between two.

The formulas and their special cases are those of Prometheus 3 (promql/functions.go); the order of operations too, where
it shows in the result.
"""

import math

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel

RATE, INCREASE, DELTA = 0, 1, 2
SUM, AVG = 0, 1
MIN, MAX = 0, 1
(
    COUNT, PRESENT, LAST, FIRST, IRATE, IDELTA, CHANGES, RESETS, DERIV, PREDICT, SMOOTH,
    QUANTILE, MAD, TS_FIRST, TS_LAST, TS_MIN, TS_MAX,
) = range(17)

_TRUSTED = 2.0**-40
"""A window's sum is taken from prefix sums only if it is at least this part of the largest of them."""


@inlined
def neumaier(term: float, total: float, lost: float) -> tuple[float, float]:
    """Add `term` to `total`, collecting in `lost` what rounding drops (Kahan's sum as Neumaier improved it)."""
    new = total + term
    if math.isinf(new):
        return new, 0.0
    if abs(total) >= abs(term):
        return new, lost + ((total - new) + term)
    return new, lost + ((term - new) + total)


@kernel
def extrapolated(
    op: int, timestamps: NDArray[np.int64], values: NDArray[np.float64], offsets: NDArray[np.int64],
    starts: NDArray[np.int64], ends: NDArray[np.int64], range_s: float, first: int, last: int,
    out: NDArray[np.float64], present: NDArray[np.bool_],
) -> None:
    """``rate``, ``increase``, ``delta``: the change from first to last sample, stretched to the window's edges."""
    counter = op != DELTA
    for s in range(first, last):
        begin, end = offsets[s], offsets[s + 1]
        low, high = begin, begin
        resets = 0  # between the samples low..high-1
        for t in range(len(starts)):
            while high < end and timestamps[high] <= ends[t]:
                if high > begin and high > low and values[high] < values[high - 1]:
                    resets += 1
                high += 1
            while low < high and timestamps[low] <= starts[t]:
                if low + 1 < high and values[low + 1] < values[low]:
                    resets -= 1
                low += 1
            if low == high:  # samples may have been passed over: the next window starts where this one ended
                resets = 0
            count = high - low
            if count < 2:
                present[s, t] = False
                out[s, t] = np.nan
                continue
            change = values[high - 1] - values[low]
            if counter and resets > 0:
                for i in range(low + 1, high):
                    if values[i] < values[i - 1]:
                        change += values[i - 1]
            to_start = (timestamps[low] - starts[t]) / 1000.0
            to_end = (ends[t] - timestamps[high - 1]) / 1000.0
            sampled = (timestamps[high - 1] - timestamps[low]) / 1000.0
            between = sampled / (count - 1)
            threshold = between * 1.1
            if to_start >= threshold:
                to_start = between / 2
            if counter and change > 0 and values[low] >= 0:
                to_zero = sampled * (values[low] / change)
                to_start = min(to_start, to_zero)
            if to_end >= threshold:
                to_end = between / 2
            factor = (sampled + to_start + to_end) / sampled
            if op == RATE:
                factor /= range_s
            out[s, t] = change * factor
            present[s, t] = True


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
    """``sum_over_time`` and ``avg_over_time``, in time that does not depend on the window's length.

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
            while high < end and timestamps[high] <= ends[t]:
                high += 1
            while low < high and timestamps[low] <= starts[t]:
                low += 1
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
    """``min_over_time`` and ``max_over_time``, in time that does not depend on the window's length.

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
def quantile_of(q: float, ordered: NDArray[np.float64]) -> float:
    """The φ-quantile of values that `numpy.sort` has ordered (NaN last; for PromQL it counts as the least)."""
    count = len(ordered)
    if count == 0 or math.isnan(q):
        return np.nan
    if q < 0:
        return -np.inf
    if q > 1:
        return np.inf
    missing = 0
    while missing < count and math.isnan(ordered[count - 1 - missing]):
        missing += 1
    rank = q * (count - 1)
    lower = max(0, math.floor(rank))
    upper = min(count - 1, lower + 1)
    weight = rank - math.floor(rank)
    low_value = np.nan if lower < missing else ordered[lower - missing]
    high_value = np.nan if upper < missing else ordered[upper - missing]
    return low_value * (1 - weight) + high_value * weight


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
    """All other functions over a window. `times` [T] are the evaluation times, `p0` and `p1` [T] scalar arguments."""
    least = 1
    if op in (IRATE, IDELTA, DERIV, PREDICT, SMOOTH):
        least = 2
    for s in range(first, last):
        begin, end = offsets[s], offsets[s + 1]
        low, high = begin, begin
        for t in range(len(starts)):
            while high < end and timestamps[high] <= ends[t]:
                high += 1
            while low < high and timestamps[low] <= starts[t]:
                low += 1
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
    offsets = np.array([0, 2], dtype=np.int64)
    stamps = np.array([1, 2], dtype=np.int64)
    values = np.array([1.0, 2.0])
    starts, ends = np.array([0], dtype=np.int64), np.array([2], dtype=np.int64)
    one = np.array([0.5])
    out, present = np.zeros((1, 1)), np.zeros((1, 1), dtype=np.bool_)
    extrapolated(RATE, stamps, values, offsets, starts, ends, 1.0, 0, 1, out, present)
    sums(SUM, stamps, values, offsets, starts, ends, 0, 1, out, present)
    extremes(MIN, stamps, values, offsets, starts, ends, 0, 1, out, present)
    reduced(COUNT, stamps, values, offsets, starts, ends, ends, one, one, 0, 1, out, present)
