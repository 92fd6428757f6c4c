"""What windows and aggregations share: which samples are in a window, a sum that rounding does not spoil, a quantile.

As Prometheus 3 computes them, special cases included.
"""

import math

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined


@inlined
def moved_on(
    timestamps: NDArray[np.int64], low: int, high: int, end: int, start_ms: int, end_ms: int,
) -> tuple[int, int]:
    """The samples ``low:high`` in ``(start_ms, end_ms]``, from those of an earlier window of the same series."""
    while high < end and timestamps[high] <= end_ms:
        high += 1
    while low < high and timestamps[low] <= start_ms:
        low += 1
    return low, high


@inlined
def neumaier(term: float, total: float, lost: float) -> tuple[float, float]:
    """Add `term` to `total`, collecting in `lost` what rounding drops (Kahan's sum as Neumaier improved it)."""
    new = total + term
    if math.isinf(new):
        return new, 0.0
    if abs(total) >= abs(term):
        return new, lost + ((total - new) + term)
    return new, lost + ((term - new) + total)


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
