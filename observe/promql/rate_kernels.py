"""The kernel of ``rate``, ``increase`` and ``delta``: how much a window changed, resets mended, stretched to its edges.

Windows are given as in `window_kernels`. The formula and its order of operations are those of Prometheus 3
(promql/functions.go).
"""

import numpy as np
from numpy.typing import NDArray

from observe.jit import kernel

RATE, INCREASE, DELTA = 0, 1, 2


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


def compile_all() -> None:
    offsets, stamps = np.array([0, 2], dtype=np.int64), np.array([1, 2], dtype=np.int64)
    starts, ends = np.array([0], dtype=np.int64), np.array([2], dtype=np.int64)
    out, present = np.zeros((1, 1)), np.zeros((1, 1), dtype=np.bool_)
    extrapolated(RATE, stamps, np.array([1.0, 2.0]), offsets, starts, ends, 1.0, 0, 1, out, present)
