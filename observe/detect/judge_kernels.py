"""What every detector does with a point and its band: score it, and say whether it lies outside."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.jit import inlined, kernel

SCORE_LIMIT = 1e6
"""A flat series' first deviation is not infinitely many half-widths: JSON and charts need a number."""

VALUE_LIMIT = 1e151
"""Beyond it squares, and sums of them, leave the range of a double: one such point would spoil a series' sums for ever.
Nothing measured is so large, but "no value" often is written as the greatest double there is."""

# Places in `widths`, float64: the settings that make a spread a half-width.
K, MIN_ABS, MIN_REL = range(3)
WIDTHS = 3


@inlined
def counted(deviation, direction):
    """How far a deviation goes in the direction that counts (1 above, -1 below, 0 both); never negative."""
    if direction == 0:
        return abs(deviation)
    return max(deviation * direction, 0.0)


@inlined
def half_width(spread, baseline, widths):
    """max(k·spread, min_abs, min_rel·|baseline|): what a point must exceed, all three."""
    return max(widths[K] * spread, widths[MIN_ABS], widths[MIN_REL] * abs(baseline))


@inlined
def score_of(x, baseline, half, direction):
    """Distance in half-widths: over 1 is outside. NaN where there is no point."""
    if np.isnan(x):
        return np.nan
    far = counted(x - baseline, direction)
    if far <= 1e-12 * abs(baseline):  # a mean of equal numbers may be one rounding off: that is no deviation
        return 0.0 if half == 0.0 else min(far / half, 1.0)
    return min(far / half, SCORE_LIMIT) if half > 0.0 else SCORE_LIMIT


@kernel
def any_beyond(table):
    """Whether a value of [T, S] is beyond `VALUE_LIMIT`, ±Inf left aside. One pass that writes nothing."""
    for t in range(table.shape[0]):
        for n in range(table.shape[1]):
            if abs(table[t, n]) > VALUE_LIMIT and not np.isinf(table[t, n]):
                return True
    return False


def compile_all() -> None:
    any_beyond(np.zeros((1, 1)))
