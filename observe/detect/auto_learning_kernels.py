"""What `auto` takes from a point once it is judged: levels, seasons, spreads, and the tails of its channels.

No point moves anything further than a few spreads, so that learning can go on underneath while a series fires.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.detect.auto_evidence_kernels import clip, learn_tail
from observe.detect.auto_layout import (
    CHANNELS,
    POINT_MEAN,
    R_BEGAN_MS,
    R_BLOCK_MAX,
    R_BLOCK_MEAN,
    R_BLOCK_POINTS,
    R_BLOCK_SPREAD,
    R_BLOCKS,
    R_DAY_OFFSET,
    R_DOWN,
    R_ERROR,
    R_ERRORS,
    R_EXCESS,
    R_FAST,
    R_HIGH,
    R_JUMP_SPREAD,
    R_LAST,
    R_LONG,
    R_LONG_SPREAD,
    R_LOW,
    R_NEW_HIGH,
    R_NEW_LOW,
    R_POINT_MEAN,
    R_RATE,
    R_RESTLESS,
    R_SEASON_MEAN,
    R_SEASON_SPREAD,
    R_SEEN,
    R_SLOW,
    R_SPREAD,
    R_SPREAD_LONG,
    R_TAIL,
    R_UP,
    R_WEEK_OFFSET,
    RESTLESS,
    SEASON_MEAN,
    T_BLOCK_POINTS,
    T_DAY_BIN,
    T_DAY_BIN_POINTS,
    T_ERROR_POINTS,
    T_EXTREME_KEEP,
    T_FAST,
    T_HOUR_STEP,
    T_LONG,
    T_OFFSET,
    T_RANGES_PER_MS,
    T_RATE_START,
    T_SLOW,
    T_SPREAD_POINTS,
    T_TAIL_EARLY,
    T_TAIL_HELD,
    T_TAIL_LATE,
    T_WEEK_STEP,
    T_XI,
)
from observe.jit import inlined


@inlined
def begin(r, tails, day, week, hours, theta, x, time_ms):
    """A new series: everything as if x had always been so, and nothing known of spreads."""
    r[:] = 0.0
    r[R_FAST] = r[R_SLOW] = r[R_LONG] = r[R_LAST] = r[R_HIGH] = r[R_LOW] = r[R_NEW_HIGH] = r[R_NEW_LOW] = x
    r[R_BEGAN_MS] = time_ms
    r[R_RATE] = theta[T_RATE_START]
    r[R_TAIL] = 3.0
    r[R_EXCESS] = 1.0
    r[R_BLOCK_MEAN] = 3.0
    r[R_BLOCK_SPREAD] = 1.0
    r[R_BLOCKS] = 10.0
    r[R_UP] = r[R_DOWN] = 8.0
    for channel in range(CHANNELS):
        for side in range(2):
            tails[6 * channel + side] = 2.0
            tails[6 * channel + 2 + side] = theta[T_XI]
            tails[6 * channel + 4 + side] = 4.0
    day[:] = np.nan
    week[:] = 0.0
    hours[:] = 0.0


@inlined
def learn_forecasts(x, r, theta, known, week_ready, by_day, by_week, far):
    """How far off each forecast was, lately."""
    count = min(r[R_ERRORS] + 1.0, theta[T_ERROR_POINTS])
    r[R_ERRORS] = count
    r[R_ERROR] += (min(abs(x - r[R_FAST]), 2.0 * far) - r[R_ERROR]) / count
    r[R_ERROR + 1] += (min(abs(x - r[R_SLOW]), 2.0 * far) - r[R_ERROR + 1]) / count
    if known:
        r[R_ERROR + 2] += (min(abs(x - by_day), 2.0 * far) - r[R_ERROR + 2]) / count
    else:
        r[R_ERROR + 2] = max(r[R_ERROR + 2], r[R_ERROR])
    if week_ready:
        r[R_ERROR + 3] += (min(abs(x - by_week), 2.0 * far) - r[R_ERROR + 3]) / count
    else:
        r[R_ERROR + 3] = max(r[R_ERROR + 3], r[R_ERROR])


@inlined
def learn_levels(x, r, hours, theta, hour, pred, season, far, season_far):
    """Spreads first, which are about the levels as they were; then the levels."""
    size = min(abs(x - pred), far)
    points = r[R_SEEN] + 1.0
    r[R_SPREAD] += (size - r[R_SPREAD]) / min(points, theta[T_SPREAD_POINTS])
    r[R_SPREAD_LONG] += (size - r[R_SPREAD_LONG]) / min(points, 10.0 * theta[T_SPREAD_POINTS])
    leap = min(abs(x - r[R_LAST]), 4.0 * r[R_JUMP_SPREAD] + far)
    r[R_JUMP_SPREAD] += (leap - r[R_JUMP_SPREAD]) / min(points, 2.0 * theta[T_SPREAD_POINTS])
    season_error = min(abs(x - season), season_far)
    r[R_SEASON_SPREAD] += (season_error - r[R_SEASON_SPREAD]) / min(points, 3.0 * theta[T_SPREAD_POINTS])
    r[R_FAST] += theta[T_FAST] * clip(x - r[R_FAST], 2.0 * far)
    r[R_SLOW] += max(theta[T_SLOW], 1.0 / points) * clip(x - r[R_SLOW], season_far)
    long_far = 6.0 * r[R_LONG_SPREAD] + far
    long_error = x - r[R_LONG]
    r[R_LONG] += max(theta[T_LONG], 1.0 / points) * clip(long_error, long_far)
    r[R_LONG_SPREAD] += (min(abs(long_error), long_far) - r[R_LONG_SPREAD]) / min(points, 3000.0)
    if hours[hour] == 0.0:
        hours[hour] = size
    else:
        hours[hour] += (size - hours[hour]) * theta[T_HOUR_STEP]


@inlined
def learn_range(x, r, theta, before, time_ms):
    """Highest and lowest of long; what was seen in the last hours joins them when these hours are over."""
    keep = theta[T_EXTREME_KEEP]
    r[R_HIGH] = r[R_LONG] + (r[R_HIGH] - r[R_LONG]) * keep
    r[R_LOW] = r[R_LONG] + (r[R_LOW] - r[R_LONG]) * keep
    r[R_NEW_HIGH] = max(r[R_NEW_HIGH], x)
    r[R_NEW_LOW] = min(r[R_NEW_LOW], x)
    per_ms = theta[T_RANGES_PER_MS]
    if r[R_SEEN] < 30.0 or np.floor(time_ms * per_ms) != np.floor(before * per_ms):
        r[R_HIGH] = max(r[R_HIGH], r[R_NEW_HIGH])
        r[R_LOW] = min(r[R_LOW], r[R_NEW_LOW])
        r[R_NEW_HIGH] = r[R_NEW_LOW] = x


@inlined
def learn_seasons(x, r, day, week, theta, day_bin, week_bin, usual, days, far, season_far):
    """The time of day and the hour of the week, each about an offset that takes up a new level."""
    if np.isnan(usual):
        day[day_bin] = x
        return
    both = 2.0 * far + season_far
    r[R_DAY_OFFSET] += theta[T_OFFSET] * clip(x - usual - r[R_DAY_OFFSET], both)
    if days > 7.0:
        r[R_WEEK_OFFSET] += theta[T_OFFSET] * clip(x - usual - week[week_bin] - r[R_WEEK_OFFSET], both)
    weight = max(theta[T_DAY_BIN], 1.0 / (2.0 + days * theta[T_DAY_BIN_POINTS]))
    day[day_bin] = usual + weight * clip(x - usual - 0.5 * r[R_DAY_OFFSET], season_far)
    if days > 1.0:
        apart = x - usual - 0.5 * r[R_WEEK_OFFSET] - week[week_bin]
        week[week_bin] += theta[T_WEEK_STEP] * clip(apart, season_far)


@inlined
def learn_channels(z, r, tails, theta, firing):
    """The tails of all channels, and the running means among them."""
    r[R_POINT_MEAN] = z[POINT_MEAN]
    r[R_SEASON_MEAN] = z[SEASON_MEAN]
    r[R_RESTLESS] = z[RESTLESS]
    seen = r[R_SEEN]
    if seen > 20.0:
        rate = theta[T_TAIL_LATE] if seen > 1000.0 else theta[T_TAIL_EARLY] if seen > 300.0 else 0.05
        if firing:
            rate *= theta[T_TAIL_HELD]
        for channel in range(CHANNELS):
            learn_tail(z[channel], tails, 6 * channel, theta, rate)


@inlined
def learn_evidence(found, r, theta):
    """What evidence is usual here: the tail of the sum, and its maxima over blocks of points."""
    if found > r[R_TAIL]:
        r[R_EXCESS] = max(0.15, r[R_EXCESS] + (min(found - r[R_TAIL], 4.0) - r[R_EXCESS]) / 30.0)
        r[R_TAIL] += 0.0196
    else:
        r[R_TAIL] -= 0.0004
    r[R_BLOCK_MAX] = max(r[R_BLOCK_MAX], found)
    r[R_BLOCK_POINTS] += 1.0
    if r[R_BLOCK_POINTS] >= theta[T_BLOCK_POINTS]:
        blocks = min(r[R_BLOCKS] + 1.0, 60.0)
        r[R_BLOCKS] = blocks
        r[R_BLOCK_SPREAD] += (abs(r[R_BLOCK_MAX] - r[R_BLOCK_MEAN]) - r[R_BLOCK_SPREAD]) / blocks
        r[R_BLOCK_MEAN] += (min(r[R_BLOCK_MAX], 14.0) - r[R_BLOCK_MEAN]) / blocks
        r[R_BLOCK_MAX] = 0.0
        r[R_BLOCK_POINTS] = 0.0


def compile_all() -> None:
    """Nothing here is called from Python."""
