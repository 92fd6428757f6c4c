"""The floor under `auto`: a deviation far outside all of a series' long-run profile is news, whatever came before.

Evidence asks how rare a point is by what was seen lately: one incident makes the next of its kind less rare, a recent
peak damps it, a slow rise is followed by the baseline. None of that counts here. The profile is the level of a week,
the usual value at this time of the day and of the week, and a level at which an alert ended as the new one, until
points have been away from it for half an hour. Its spread is the mean distance from the usual value over some days, or
a small part of the farthest point seen if that is more: most points of a sparse series are all the same. What is
learned while firing counts a quarter. A point is gross where it lies outside all of the profile by many spreads and by
a large part of the level itself; an alert needs most of the last few points to be.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.detect.auto_layout import (
    DAY_MS,
    R_ACCEPTED,
    R_BACK_MS,
    R_BEGAN_MS,
    R_FARTHEST,
    R_GROSS,
    R_GROSS_RATE,
    R_LONG,
    R_PROFILE_SPREAD,
    R_SEEN,
    T_EXTREME_KEEP,
    T_GROSS,
    T_GROSS_AWAY,
    T_GROSS_DAYS,
    T_GROSS_FARTHEST,
    T_GROSS_HELD,
    T_GROSS_M,
    T_GROSS_MASK,
    T_GROSS_RATE,
    T_GROSS_TOWARDS,
    T_POINTS_PER_DAY,
    T_PROFILE,
    T_RATE_STEP,
    T_SETTLED_MS,
)
from observe.detect.gate_kernels import FIRING, RELEARNED, popcount
from observe.detect.judge_kernels import MIN_ABS, MIN_REL
from observe.jit import inlined


@inlined
def profile(r, usual, of_week, time_ms):
    """Lowest and highest of what is known to be normal now, without an accepted level."""
    low = r[R_LONG]
    high = low
    days = (time_ms - r[R_BEGAN_MS]) / DAY_MS
    if days >= 1.0 and not np.isnan(usual):
        low, high = min(low, usual), max(high, usual)
        if days > 8.0:
            low, high = min(low, usual + of_week), max(high, usual + of_week)
    return low, high


@inlined
def reach(level, side, r, theta, widths, tiny):
    """How far beyond `level` a point is gross: many spreads, a large part of the level, and what the rule asks."""
    spread = max(r[R_PROFILE_SPREAD], theta[T_GROSS_FARTHEST] * r[R_FARTHEST]) + tiny
    spreads = theta[T_GROSS] * (1.0 + theta[T_GROSS_RATE] * r[R_GROSS_RATE])
    size = abs(level)
    away = (level >= 0.0) == (side == 0)
    part = theta[T_GROSS_AWAY] if away else theta[T_GROSS_TOWARDS]
    return max(spreads * spread, part * size, widths[MIN_ABS], widths[MIN_REL] * size)


@inlined
def edges(low, high, r, theta, widths, tiny):
    """The values beyond which a point is gross."""
    if r[R_BACK_MS] > 0.0:
        low, high = min(low, r[R_ACCEPTED]), max(high, r[R_ACCEPTED])
    return low - reach(low, 1, r, theta, widths, tiny), high + reach(high, 0, r, theta, widths, tiny)


@inlined
def enough(r, theta, time_ms, is_gross):
    """Whether, with this point, enough of the last ones are gross; a profile of less than a day is none."""
    seen = (np.uint64(r[R_GROSS]) << np.uint64(1)) | np.uint64(is_gross)
    seen &= np.uint64(theta[T_GROSS_MASK])
    r[R_GROSS] = np.float64(seen)
    if not is_gross or time_ms - r[R_BEGAN_MS] < theta[T_GROSS_DAYS] * DAY_MS:
        return False
    return popcount(seen) >= theta[T_GROSS_M]


@inlined
def learn_profile(x, r, theta, low, high, usual, far, status, began, time_ms):
    """The spread; how often there was something gross; and whether an accepted level is still there."""
    counts = theta[T_GROSS_HELD] if status == FIRING else 1.0
    centre = usual if time_ms - r[R_BEGAN_MS] >= DAY_MS and not np.isnan(usual) else r[R_LONG]
    off = min(abs(x - centre), 6.0 * r[R_PROFILE_SPREAD] + far)
    step = counts * max(theta[T_PROFILE], 1.0 / (r[R_SEEN] + 1.0))
    r[R_PROFILE_SPREAD] += step * (off - r[R_PROFILE_SPREAD])
    r[R_FARTHEST] = max(r[R_FARTHEST] * theta[T_EXTREME_KEEP], counts * max(x - high, low - x))
    if began:
        r[R_GROSS_RATE] += theta[T_POINTS_PER_DAY] * theta[T_RATE_STEP]
    r[R_GROSS_RATE] -= r[R_GROSS_RATE] * theta[T_RATE_STEP]
    if status == RELEARNED:
        r[R_ACCEPTED] = x
        r[R_BACK_MS] = time_ms
        r[R_GROSS] = 0.0
    elif r[R_BACK_MS] > 0.0:
        if abs(x - r[R_ACCEPTED]) < abs(x - min(max(x, low), high)):
            r[R_BACK_MS] = time_ms
        elif time_ms - r[R_BACK_MS] >= theta[T_SETTLED_MS]:
            r[R_BACK_MS] = 0.0


def compile_all() -> None:
    """Nothing here is called from Python."""
