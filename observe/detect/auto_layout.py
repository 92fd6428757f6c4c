"""The auto detector's state: where its kernels and `auto.py` find what in a series' arrays."""

import numpy as np

from observe.detect.columns import Column

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
DAY_BINS, WEEK_BINS = 288, 168
CHANNELS = 7
POINT, POINT_MEAN, SEASON, LONG, SEASON_MEAN, JUMP, RESTLESS = range(CHANNELS)

# Places in a series' record `r`, float64.
(
    R_FAST, R_SLOW, R_LONG, R_DAY_OFFSET, R_WEEK_OFFSET, R_ERROR, R_ERRORS, R_SPREAD, R_SPREAD_LONG, R_SEASON_SPREAD,
    R_LONG_SPREAD, R_JUMP_SPREAD, R_POINT_MEAN, R_SEASON_MEAN, R_RESTLESS, R_LAST, R_HIGH, R_LOW, R_SEEN, R_BEGAN_MS,
    R_PEAK, R_PEAK_SLOW, R_RATE, R_TAIL, R_EXCESS, R_BLOCK_MAX, R_BLOCK_POINTS, R_BLOCK_MEAN, R_BLOCK_SPREAD, R_BLOCKS,
    R_UP, R_DOWN, R_HELD_LOWER, R_HELD_UPPER, R_HELD_BASELINE, R_SAID, R_PROFILE_SPREAD, R_GROSS, R_GROSS_RATE,
    R_ACCEPTED, R_BACK_MS, R_FARTHEST, R_GROSS_LOWER, R_GROSS_UPPER, R_NEW_HIGH, R_NEW_LOW,
    R_UNTOLD, R_STRENGTH,
) = (0, 1, 2, 3, 4, 5, 9, *range(10, 39), *range(43, 55))
RECORD = 55
"""From `R_SAID`: the last point and its lower, upper, baseline, score. From `R_PROFILE_SPREAD`: `auto_gross_kernels`;
`R_GROSS` has a bit for each of the last points, `R_BACK_MS` is when a point was last near the accepted level (0: none).
`R_HIGH` and `R_LOW` are the range seen until some hours ago, `R_NEW_HIGH` and `R_NEW_LOW` since then; `R_UNTOLD` is the
highest evidence of an excursion that goes on and has not spoken; `R_STRENGTH` is that of the alert that is on, or of
the last one, in units of what was needed.
"""

# Places in `why`, float32: what stood behind the last judgement. Evidence: of the stronger side, by channel, weighted.
(
    Y_SCALE, Y_SEASON, Y_LOCAL, Y_SLOW, Y_DAY, Y_WEEK, Y_NEED, Y_RATE, Y_BLOCKS, Y_DAMPING, Y_EVIDENCE, Y_SIDE,
    Y_GROSS, Y_CHANNEL,
) = range(14)
WHY = Y_CHANNEL + CHANNELS + 1

# A series' tails, float32, [channel, 6]: quantile above, below, mean excess above, below,
# how many of each (negative where the last point went beyond).
TAILS = 6 * CHANNELS

# Places in `theta`, float64: what auto.py computes from its settings and the interval.
(
    W_POINT, W_POINT_MEAN, W_SEASON, W_LONG, W_SEASON_MEAN, W_JUMP, W_RESTLESS, W_BEYOND, W_BELOW,
    T_FAST, T_ERROR_POINTS, T_DAY_BIN, T_DAY_BIN_POINTS, T_OFFSET, T_SLOW, T_LONG, T_SPREAD_POINTS, T_SPREAD_LONG,
    T_HOURLY_SHARE, T_HOUR_STEP, T_WEEK_STEP, T_LEAST_SPREAD, T_TAIL, T_TAIL_EARLY, T_TAIL_LATE, T_XI, T_XI_POINTS,
    T_XI_LEAST, T_EXCESS_MOST, T_EVIDENCE_MOST, T_MEAN_STEP, T_MEAN_CLIP, T_SEASON_STEP, T_SEASON_CLIP, T_RESTLESS_STEP,
    T_CLIP, T_EXTREME_KEEP, T_NEED, T_RATE_WEIGHT, T_RATE_STEP, T_RATE_START, T_POINTS_PER_DAY, T_BLOCK_WEIGHT,
    T_BLOCK_FREE, T_BLOCK_POINTS, T_CALIBRATE, T_PEAK, T_PEAK_KEEP, T_PEAK_SLOW, T_PEAK_SLOW_KEEP, T_WARM,
    T_TAIL_HELD, T_EXCESS_REPEAT, T_SETTLED, T_SETTLED_MS, T_RESUME_MS,
    T_GROSS, T_GROSS_AWAY, T_GROSS_TOWARDS, T_GROSS_M, T_GROSS_MASK, T_GROSS_DAYS, T_GROSS_RATE, T_GROSS_HELD,
    T_PROFILE, T_GROSS_FARTHEST, T_RANGES_PER_MS, T_OVER, T_CLEAR, T_SETTLED_CLEAR, T_SETTLED_FAINT,
) = range(71)
THETA = 71


def columns() -> tuple[Column, ...]:
    """Columns, [series, ...]: record, tails, day (NaN where never visited), week, hours (spread by hour
    of day), why (for people).
    """
    return (
        Column("record", "f8", RECORD, by_series=True),
        Column("tails", "f4", TAILS, by_series=True),
        Column("day", "f4", DAY_BINS, np.nan, by_series=True),
        Column("week", "f4", WEEK_BINS, by_series=True),
        Column("hours", "f4", 24, by_series=True),
        Column("why", "f4", WHY, by_series=True),
    )
