"""What `auto` expects of a point: four forecasts that compete, and the unit in which errors are counted.

The local level, the level of some days, the time of day and the hour of the week are blended by the inverse fourth
power of their recent mean absolute errors.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.detect.auto_layout import (
    DAY_BINS,
    DAY_MS,
    HOUR_MS,
    R_BEGAN_MS,
    R_DAY_OFFSET,
    R_ERROR,
    R_FAST,
    R_LONG_SPREAD,
    R_SLOW,
    R_SPREAD,
    R_SPREAD_LONG,
    R_WEEK_OFFSET,
    T_HOURLY_SHARE,
    T_LEAST_SPREAD,
    T_SPREAD_LONG,
    WEEK_BINS,
    Y_DAY,
    Y_LOCAL,
    Y_SLOW,
    Y_WEEK,
)
from observe.jit import inlined

_TO_MONDAY_MS = 259_200_000
"""1970-01-01 was a Thursday: three days later in the week than Monday."""


@inlined
def places(local_ms):
    """Where a civil time is in a series' day, week and hours."""
    in_day = local_ms % DAY_MS
    return in_day * DAY_BINS // DAY_MS, ((local_ms + _TO_MONDAY_MS) // HOUR_MS) % WEEK_BINS, in_day // HOUR_MS


@inlined
def by_season(r, day, week, day_bin, week_bin):
    """What is usual at this time of day (NaN where never visited), and the forecasts by day and by week."""
    usual = np.float64(day[day_bin])
    if np.isnan(usual):
        return usual, r[R_FAST], r[R_FAST]
    return usual, usual + r[R_DAY_OFFSET], usual + week[week_bin] + r[R_WEEK_OFFSET]


@inlined
def trust(r, forecast):
    """Weight of a forecast beside the local level's, which is 1."""
    q = (r[R_ERROR] + 1e-300) / (r[R_ERROR + forecast] + 1e-300)
    q *= q
    return q * q


@inlined
def blend(r, known, by_day, by_week, time_ms, why):
    """The baseline, and what the season alone says (the slow level where no season helps)."""
    days = (time_ms - r[R_BEGAN_MS]) / DAY_MS
    week_ready = known and days > 8.0
    slow = r[R_SLOW]
    by_slow = trust(r, 1)
    by_day_share = trust(r, 2) if known and days >= 1.0 else 0.0
    by_week_share = trust(r, 3) if week_ready else 0.0
    weight = 1.0 + by_slow + by_day_share + by_week_share
    pred = r[R_FAST] + by_slow * slow
    if by_day_share > 0.0:
        pred += by_day_share * by_day
    if by_week_share > 0.0:
        pred += by_week_share * by_week
    pred /= weight
    if not np.isfinite(pred):
        pred = r[R_FAST]
    why[Y_LOCAL], why[Y_SLOW] = 1.0 / weight, by_slow / weight
    why[Y_DAY], why[Y_WEEK] = by_day_share / weight, by_week_share / weight
    season = slow
    if known and days >= 2.0 and r[R_ERROR + 2] < r[R_ERROR + 1]:
        season = by_week if week_ready and r[R_ERROR + 3] <= r[R_ERROR + 2] else by_day
    return pred, season


@inlined
def unit_of(r, theta, at_hour, time_ms, tiny):
    """The unit of errors: recent and long, this hour's own, never a tiny part of the series' whole range."""
    spread = r[R_SPREAD]
    if time_ms - r[R_BEGAN_MS] <= 2.0 * DAY_MS or at_hour <= 0.0:
        at_hour = spread
    share = theta[T_HOURLY_SHARE]
    scale = max(spread, theta[T_SPREAD_LONG] * r[R_SPREAD_LONG]) * (1.0 - share) + share * max(at_hour, 0.3 * spread)
    return max(scale, theta[T_LEAST_SPREAD] * r[R_LONG_SPREAD]) + tiny


def compile_all() -> None:
    """Nothing here is called from Python."""
