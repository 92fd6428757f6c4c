"""The auto detector's arithmetic: what a point is worth as evidence, in -log10 of how rare such a point is.

For every series, in one pass over its record:

1. Four forecasts compete: the local level, the level of some days, the time of day, the hour of the week. The baseline
   blends them by the inverse fourth power of their recent mean absolute errors.
2. Seven channels look at the point: its error against the baseline, a short average of that, its distance from the
   seasonal (or slow) level and a short average of that, its distance from the long level, its jump, and how restless
   the errors are lately. Each is a number z of its own spreads.
3. Each channel and sign has a tail model of its own past (Hill 1975): q, the value exceeded by 2 % of the points, and
   xi, the mean of log10(z / q) beyond it. Evidence = -log10 0.02 + log10(z / q) / xi, and 1.7·(z / q)² below q. So thin
   and heavy tails, spikes every hour and flat lines are each judged by what that series is used to.
4. The weighted evidence of all channels and of going beyond all that was seen is summed for each side.
5. What must be exceeded: a constant in -log10 p, more for denser points, more while the series alerts often, more where
   block maxima of its evidence are usually high; and part of the decaying peak of recent evidence, so that an incident
   speaks once.
6. The edges of the band are the values at which the evidence would just be enough, by secant steps from the last ones.

While a series fires, its band is the one it began with. The models go on learning, but no point moves them further than
a few spreads.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import math

import numpy as np

from observe.detect.columns import Column
from observe.detect.gate_kernels import DIRECTION, EXPIRE_MS, FIRING, HOLD, QUIET, RELEARNED, RULES, advance_gate
from observe.detect.judge_kernels import MIN_ABS, MIN_REL, SCORE_LIMIT, WIDTHS
from observe.jit import inlined, kernel

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
DAY_BINS, WEEK_BINS = 288, 168
CHANNELS = 7
POINT, POINT_MEAN, SEASON, LONG, SEASON_MEAN, JUMP, RESTLESS = range(CHANNELS)
_LOG10_E = 0.4342944819032518
_TO_MONDAY_MS = 259_200_000
"""1970-01-01 was a Thursday: three days later in the week than Monday."""

# Places in a series' record `r`, float64.
(
    R_FAST, R_SLOW, R_LONG, R_DAY_OFFSET, R_WEEK_OFFSET, R_ERROR, R_ERRORS, R_SPREAD, R_SPREAD_LONG, R_SEASON_SPREAD,
    R_LONG_SPREAD, R_JUMP_SPREAD, R_POINT_MEAN, R_SEASON_MEAN, R_RESTLESS, R_LAST, R_HIGH, R_LOW, R_SEEN, R_BEGAN_MS,
    R_PEAK, R_PEAK_SLOW, R_RATE, R_TAIL, R_EXCESS, R_BLOCK_MAX, R_BLOCK_POINTS, R_BLOCK_MEAN, R_BLOCK_SPREAD, R_BLOCKS,
    R_UP, R_DOWN, R_HELD_LOWER, R_HELD_UPPER, R_HELD_BASELINE, R_SAID,
) = (0, 1, 2, 3, 4, 5, 9, *range(10, 39))
RECORD = 43
"""From `R_SAID`: the last point and its lower, upper, baseline, score."""

# Places in `why`, float32: what stood behind the last judgement. Evidence: of the stronger side, by channel, weighted.
(
    Y_SCALE, Y_SEASON, Y_LOCAL, Y_SLOW, Y_DAY, Y_WEEK, Y_NEED, Y_RATE, Y_BLOCKS, Y_DAMPING, Y_EVIDENCE, Y_SIDE,
    Y_CHANNEL,
) = range(13)
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
    T_TAIL_HELD, T_EXCESS_REPEAT,
) = range(53)
THETA = 53


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


@inlined
def clip(x, bound):
    return min(max(x, -bound), bound)


@inlined
def evidence(z, q, xi, base, most):
    """-log10 of how rare z is on its side of one channel."""
    if z <= 0.0:
        return 0.0
    u = z / q
    if u <= 1.0:
        return base * u * u
    return min(most, base + math.log10(u) / xi)


@inlined
def learn_tail(z, tails, at, theta, rate):
    """Move quantile and mean excess of one channel, both sides (stochastic approximation; Hill's estimator)."""
    share = theta[T_TAIL]
    for side in range(2):
        a = z if side == 0 else -z
        q = np.float64(tails[at + side])
        if a > q:
            count = np.float64(tails[at + 4 + side])
            weight = 1.0
            if count < 0.0:  # the point before went beyond q too: points of one excursion are not independent
                weight = theta[T_EXCESS_REPEAT]
                count = -count
            count = min(count + weight, theta[T_XI_POINTS])
            tails[at + 4 + side] = -count
            excess = min(math.log10(a / q), theta[T_EXCESS_MOST])
            xi = np.float64(tails[at + 2 + side])
            tails[at + 2 + side] = max(theta[T_XI_LEAST], xi + weight * (excess - xi) / count)
            q *= 1.0 + rate * (1.0 - share)
        else:
            q *= 1.0 - rate * share
            tails[at + 4 + side] = abs(tails[at + 4 + side])
        tails[at + side] = max(q, 0.3)


@inlined
def begin(r, tails, day, week, hours, theta, x, time_ms):
    """A new series: everything as if x had always been so, and nothing known of spreads."""
    r[:] = 0.0
    r[R_FAST] = r[R_SLOW] = r[R_LONG] = r[R_LAST] = r[R_HIGH] = r[R_LOW] = x
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
def channel_values(v, r, theta, pred, scale, season, tiny, z):
    """The seven z of a value v at this moment (RESTLESS takes |z| of the point)."""
    point = clip((v - pred) / scale, 100.0)
    z[POINT] = point
    step = theta[T_MEAN_STEP]
    z[POINT_MEAN] = r[R_POINT_MEAN] * (1.0 - step) + clip(point, theta[T_MEAN_CLIP]) * step
    z[SEASON] = clip((v - season) / (r[R_SEASON_SPREAD] + tiny), 100.0)
    z[LONG] = clip((v - r[R_LONG]) / (r[R_LONG_SPREAD] + tiny), 100.0)
    step = theta[T_SEASON_STEP]
    z[SEASON_MEAN] = r[R_SEASON_MEAN] * (1.0 - step) + clip(z[SEASON], theta[T_SEASON_CLIP]) * step
    z[JUMP] = clip((v - r[R_LAST]) / (max(r[R_JUMP_SPREAD], 0.1 * r[R_SPREAD]) + tiny), 100.0)
    step = theta[T_RESTLESS_STEP]
    z[RESTLESS] = r[R_RESTLESS] * (1.0 - step) + min(abs(point), 6.0) * step


@inlined
def total(v, side, r, tails, theta, tiny, z):
    """Summed evidence on one side (0 above, 1 below) of a value whose channels are z."""
    base = -math.log10(theta[T_TAIL])
    most = theta[T_EVIDENCE_MOST]
    sign = 1.0 - 2.0 * side
    found = 0.0
    for channel in range(CHANNELS - 1):
        at = 6 * channel + side
        found += theta[W_POINT + channel] * evidence(sign * z[channel], tails[at], tails[at + 2], base, most)
    at = 6 * RESTLESS
    found += theta[W_RESTLESS] * evidence(z[RESTLESS], tails[at], tails[at + 2], base, most)
    beyond = v - r[R_HIGH] if side == 0 else r[R_LOW] - v
    if beyond > 0.0:
        found += theta[W_BEYOND] * min(8.0, 10.0 * beyond / (r[R_HIGH] - r[R_LOW] + 4.0 * r[R_LONG_SPREAD] + tiny))
    return found * theta[W_BELOW] if side == 1 else found


@inlined
def parts_of(v, side, r, tails, theta, tiny, z, why):
    """The summands of `total`, for people."""
    base = -math.log10(theta[T_TAIL])
    rest = total(v, side, r, tails, theta, tiny, z)
    for channel in range(CHANNELS):
        at = 6 * channel + (side if channel != RESTLESS else 0)
        sign = 1.0 - 2.0 * side if channel != RESTLESS else 1.0
        part = evidence(sign * z[channel], tails[at], tails[at + 2], base, theta[T_EVIDENCE_MOST])
        part *= theta[W_POINT + channel] * (theta[W_BELOW] if side == 1 else 1.0)
        why[Y_CHANNEL + channel] = part
        rest -= part
    why[Y_CHANNEL + CHANNELS] = max(rest, 0.0)


@inlined
def calibrated(found, r, theta):
    """Part of the evidence is told again by the tail of the sum itself (exponential beyond its 2 % quantile)."""
    share = theta[T_CALIBRATE]
    if found <= r[R_TAIL]:
        return found
    return (1.0 - share) * found + share * (1.7 + (found - r[R_TAIL]) / r[R_EXCESS] * _LOG10_E)


@inlined
def edge(width, side, need, r, tails, theta, pred, scale, season, tiny, z):
    """How many scales from the baseline the evidence on this side is `need`: secant steps in the logarithm.

    The slope is that to a point 10 % further out: channels have kinks, a secant does not mind.
    """
    sign = 1.0 - 2.0 * side
    for _ in range(4):
        v = pred + sign * width * scale
        channel_values(v, r, theta, pred, scale, season, tiny, z)
        here = calibrated(total(v, side, r, tails, theta, tiny, z), r, theta)
        if abs(need - here) < 0.1:
            break
        v = pred + sign * width * 1.1 * scale
        channel_values(v, r, theta, pred, scale, season, tiny, z)
        there = calibrated(total(v, side, r, tails, theta, tiny, z), r, theta)
        slope = max((there - here) / 0.09531, 0.5)
        width *= math.exp(clip((need - here) / slope, 0.7))
        width = min(max(width, 1e-3), 1e4)
    return width


@inlined
def advance_one(
    i, time_ms, local_ms, x, theta, widths, rules, record, all_tails, day_profile, week_profile, hour_spreads, reasons,
    bits, clock, on, held, z, said,
):
    """Judge x by what came before, pass the gate, learn. `said` gets lower, upper, baseline, score; returns flags."""
    r = record[i]
    tails = all_tails[i]
    day = day_profile[i]
    week = week_profile[i]
    hours = hour_spreads[i]
    before = clock[0, i]
    nothing = np.isnan(x)
    if before < 0 or time_ms - before > rules[EXPIRE_MS]:
        bits[0, i] = np.uint64(0)
        on[0, i] = 0
        if nothing or np.isinf(x):
            said[:] = np.nan
            return 0
        begin(r, tails, day, week, hours, theta, x, time_ms)
    seen = r[R_SEEN]
    ready = seen >= theta[T_WARM]
    firing = on[0, i] != 0
    day_bin = (local_ms % DAY_MS) * DAY_BINS // DAY_MS
    week_bin = ((local_ms + _TO_MONDAY_MS) // HOUR_MS) % WEEK_BINS
    hour = (local_ms % DAY_MS) // HOUR_MS
    days = (time_ms - r[R_BEGAN_MS]) / DAY_MS

    # 1. forecasts
    fast = r[R_FAST]
    slow = r[R_SLOW]
    usual = np.float64(day[day_bin])
    known = not np.isnan(usual)
    by_day = usual + r[R_DAY_OFFSET] if known else fast
    by_week = usual + week[week_bin] + r[R_WEEK_OFFSET] if known else fast
    week_ready = known and days > 8.0
    own = r[R_ERROR] + 1e-300
    why = reasons[i]
    weight = 1.0
    pred = fast
    why[Y_DAY] = why[Y_WEEK] = 0.0
    q = own / (r[R_ERROR + 1] + 1e-300)
    q *= q
    q *= q
    weight += q
    why[Y_SLOW] = q
    pred += q * slow
    if known and days >= 1.0:
        q = own / (r[R_ERROR + 2] + 1e-300)
        q *= q
        q *= q
        weight += q
        why[Y_DAY] = q
        pred += q * by_day
    if week_ready:
        q = own / (r[R_ERROR + 3] + 1e-300)
        q *= q
        q *= q
        weight += q
        why[Y_WEEK] = q
        pred += q * by_week
    pred = pred / weight
    why[Y_LOCAL] = 1.0 / weight
    why[Y_SLOW] /= weight
    why[Y_DAY] /= weight
    why[Y_WEEK] /= weight
    if not np.isfinite(pred):
        pred = fast
    season = slow
    if known and days >= 2.0 and r[R_ERROR + 2] < r[R_ERROR + 1]:
        season = by_week if week_ready and r[R_ERROR + 3] <= r[R_ERROR + 2] else by_day

    # the unit of errors: recent and long, this hour's own, never a tiny part of the series' whole range
    tiny = 1e-9 * abs(slow) + 1e-12 * abs(r[R_LONG_SPREAD]) + 1e-300
    spread = r[R_SPREAD]
    at_hour = np.float64(hours[hour]) if days > 2.0 and hours[hour] > 0.0 else spread
    share = theta[T_HOURLY_SHARE]
    scale = max(spread, theta[T_SPREAD_LONG] * r[R_SPREAD_LONG]) * (1.0 - share) + share * max(at_hour, 0.3 * spread)
    scale = max(scale, theta[T_LEAST_SPREAD] * r[R_LONG_SPREAD]) + tiny

    # 5. what must be exceeded, before this point is looked at
    often = theta[T_RATE_WEIGHT] * math.log2(1.0 + r[R_RATE])
    blocks = theta[T_BLOCK_WEIGHT] * max(0.0, r[R_BLOCK_MEAN] + r[R_BLOCK_SPREAD] - theta[T_BLOCK_FREE])
    threshold = theta[T_NEED] + often + blocks
    damping = theta[T_PEAK] * r[R_PEAK] + theta[T_PEAK_SLOW] * r[R_PEAK_SLOW]
    need = threshold + damping

    # 2.-4. evidence
    lower = np.nan
    upper = np.nan
    score = np.nan
    outside = False
    strong = 0.0
    found = 0.0
    least = max(widths[MIN_ABS], widths[MIN_REL] * abs(pred))
    direction = rules[DIRECTION]
    if not nothing:
        channel_values(x, r, theta, pred, scale, season, tiny, z)
        above = total(x, 0, r, tails, theta, tiny, z) if direction >= 0 else 0.0
        below = total(x, 1, r, tails, theta, tiny, z) if direction <= 0 else 0.0
        found = max(above, below)
        strong = calibrated(found, r, theta)
        if ready:
            score = min(max(0.0, (strong - damping) / threshold), SCORE_LIMIT)
            outside = score > 1.0
            if outside and abs(x - pred) <= least:
                outside = False
                score = 1.0
            elif outside and np.isinf(x):
                score = SCORE_LIMIT
        why[Y_SCALE], why[Y_SEASON], why[Y_NEED], why[Y_RATE], why[Y_BLOCKS] = scale, season, threshold, often, blocks
        why[Y_DAMPING], why[Y_EVIDENCE] = damping, strong
        side = 1 if below > above else 0
        why[Y_SIDE] = side
        if strong > 0.3 * need:  # on a quiet point there is nothing to tell
            parts_of(x, side, r, tails, theta, tiny, z, why)
        else:
            why[Y_CHANNEL:] = 0.0
        point, point_mean, season_z, long_z = z[POINT], z[POINT_MEAN], z[SEASON], z[LONG]
        season_mean, jump, restless = z[SEASON_MEAN], z[JUMP], z[RESTLESS]

    # 6. the edges
    if ready:
        r[R_UP] = edge(r[R_UP], 0, need, r, tails, theta, pred, scale, season, tiny, z)
        r[R_DOWN] = edge(r[R_DOWN], 1, need, r, tails, theta, pred, scale, season, tiny, z)
        upper = pred + max(r[R_UP] * scale, least)
        lower = pred - max(r[R_DOWN] * scale, least)
        if outside and not np.isinf(x):  # the last step of the search may leave x on the wrong side by a hair
            if x >= pred and upper >= x and direction >= 0:
                upper = pred + 0.999 * (x - pred)
            elif x < pred and lower <= x and direction <= 0:
                lower = pred + 0.999 * (x - pred)

    status = FIRING if firing else QUIET
    if firing and rules[HOLD] == 1:  # the band it began with
        lower = r[R_HELD_LOWER]
        upper = r[R_HELD_UPPER]
        pred_said = r[R_HELD_BASELINE]
        outside = (x > upper and direction >= 0) or (x < lower and direction <= 0)
    else:
        pred_said = pred
    if not nothing and time_ms > before:
        clock[0, i] = time_ms
        if ready:
            status = advance_gate(i, outside, time_ms, rules, bits, clock, on, held)
            if status == FIRING and not firing:
                r[R_HELD_LOWER] = lower
                r[R_HELD_UPPER] = upper
                r[R_HELD_BASELINE] = pred
                r[R_RATE] += theta[T_POINTS_PER_DAY] * theta[T_RATE_STEP]
            r[R_RATE] -= r[R_RATE] * theta[T_RATE_STEP]
            r[R_PEAK] = max(r[R_PEAK] * theta[T_PEAK_KEEP], strong)
            r[R_PEAK_SLOW] = max(r[R_PEAK_SLOW] * theta[T_PEAK_SLOW_KEEP], strong)
        if not np.isinf(x):
            # learn, no further than a few spreads at once
            tail = max(np.float64(tails[0]), np.float64(tails[1]))
            far = theta[T_CLIP] * tail * scale if seen > 30.0 else 1e300
            season_far = 4.0 * r[R_SEASON_SPREAD] + far
            count = min(r[R_ERRORS] + 1.0, theta[T_ERROR_POINTS])
            r[R_ERRORS] = count
            r[R_ERROR] += (min(abs(x - fast), 2.0 * far) - r[R_ERROR]) / count
            r[R_ERROR + 1] += (min(abs(x - slow), 2.0 * far) - r[R_ERROR + 1]) / count
            if known:
                r[R_ERROR + 2] += (min(abs(x - by_day), 2.0 * far) - r[R_ERROR + 2]) / count
            else:
                r[R_ERROR + 2] = max(r[R_ERROR + 2], r[R_ERROR])
            if week_ready:
                r[R_ERROR + 3] += (min(abs(x - by_week), 2.0 * far) - r[R_ERROR + 3]) / count
            else:
                r[R_ERROR + 3] = max(r[R_ERROR + 3], r[R_ERROR])
            size = min(abs(x - pred), far)
            points = seen + 1.0
            r[R_SPREAD] += (size - r[R_SPREAD]) / min(points, theta[T_SPREAD_POINTS])
            r[R_SPREAD_LONG] += (size - r[R_SPREAD_LONG]) / min(points, 10.0 * theta[T_SPREAD_POINTS])
            leap = min(abs(x - r[R_LAST]), 4.0 * r[R_JUMP_SPREAD] + far)
            r[R_JUMP_SPREAD] += (leap - r[R_JUMP_SPREAD]) / min(points, 2.0 * theta[T_SPREAD_POINTS])
            season_error = min(abs(x - season), season_far)
            r[R_SEASON_SPREAD] += (season_error - r[R_SEASON_SPREAD]) / min(points, 3.0 * theta[T_SPREAD_POINTS])
            r[R_FAST] = fast + theta[T_FAST] * clip(x - fast, 2.0 * far)
            r[R_SLOW] = slow + max(theta[T_SLOW], 1.0 / points) * clip(x - slow, season_far)
            long_far = 6.0 * r[R_LONG_SPREAD] + far
            long_error = x - r[R_LONG]
            r[R_LONG] += max(theta[T_LONG], 1.0 / points) * clip(long_error, long_far)
            r[R_LONG_SPREAD] += (min(abs(long_error), long_far) - r[R_LONG_SPREAD]) / min(points, 3000.0)
            if hours[hour] == 0.0:
                hours[hour] = size
            else:
                hours[hour] += (size - hours[hour]) * theta[T_HOUR_STEP]
            keep = theta[T_EXTREME_KEEP]
            r[R_HIGH] = max(r[R_LONG] + (r[R_HIGH] - r[R_LONG]) * keep, x)
            r[R_LOW] = min(r[R_LONG] + (r[R_LOW] - r[R_LONG]) * keep, x)
            if known:
                both = 2.0 * far + season_far
                r[R_DAY_OFFSET] += theta[T_OFFSET] * clip(x - by_day, both)
                if days > 7.0:
                    r[R_WEEK_OFFSET] += theta[T_OFFSET] * clip(x - usual - week[week_bin] - r[R_WEEK_OFFSET], both)
                weight = max(theta[T_DAY_BIN], 1.0 / (2.0 + days * theta[T_DAY_BIN_POINTS]))
                learned = usual + weight * clip(x - usual - 0.5 * r[R_DAY_OFFSET], season_far)
                day[day_bin] = learned
                if days > 1.0:
                    apart = x - usual - 0.5 * r[R_WEEK_OFFSET] - week[week_bin]
                    week[week_bin] += theta[T_WEEK_STEP] * clip(apart, season_far)
            else:
                day[day_bin] = x
            r[R_POINT_MEAN] = point_mean
            r[R_SEASON_MEAN] = season_mean
            r[R_RESTLESS] = restless
            r[R_LAST] = x
            if seen > 20.0:
                rate = theta[T_TAIL_LATE] if seen > 1000.0 else theta[T_TAIL_EARLY] if seen > 300.0 else 0.05
                if on[0, i] != 0:
                    rate *= theta[T_TAIL_HELD]
                learn_tail(point, tails, 6 * POINT, theta, rate)
                learn_tail(point_mean, tails, 6 * POINT_MEAN, theta, rate)
                learn_tail(season_z, tails, 6 * SEASON, theta, rate)
                learn_tail(long_z, tails, 6 * LONG, theta, rate)
                learn_tail(season_mean, tails, 6 * SEASON_MEAN, theta, rate)
                learn_tail(jump, tails, 6 * JUMP, theta, rate)
                learn_tail(restless, tails, 6 * RESTLESS, theta, rate)
            if on[0, i] == 0:
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
            r[R_SEEN] = points
    said[0] = lower
    said[1] = upper
    said[2] = pred_said if ready else np.nan
    said[3] = score
    if not nothing:
        r[R_SAID] = x
        r[R_SAID + 1] = lower
        r[R_SAID + 2] = upper
        r[R_SAID + 3] = said[2]
        r[R_SAID + 4] = score
    return int(ready) + 2 * int(outside) + 4 * int(status == FIRING) + 8 * int(status == RELEARNED)


@kernel
def advance(
    time_ms, local_ms, values, positions, offsets, theta, widths, rules, record, tails, day, week, hours, why, bits,
    clock, on, held, bands, flags,
):
    """One tick, as `rolling_kernels.advance`; `local_ms` is the civil time of `time_ms`."""
    z = np.zeros(CHANNELS)
    said = np.zeros(4)
    for n in range(offsets.shape[0]):
        at = positions[n]
        code = advance_one(
            offsets[n], time_ms, local_ms, values[at], theta, widths, rules, record, tails, day, week, hours, why,
            bits, clock, on, held, z, said,
        )
        bands[0, at] = said[0]
        bands[1, at] = said[1]
        bands[2, at] = said[2]
        bands[3, at] = said[3]
        flags[0, at] = code & 1 != 0
        flags[1, at] = code & 2 != 0
        flags[2, at] = code & 4 != 0
        flags[3, at] = code & 8 != 0


@kernel
def fold(
    times_ms, locals_ms, table, positions, offsets, theta, widths, rules, record, tails, day, week, hours, why, bits,
    clock, on, held, bands, flags,
):
    """`advance` over many ticks: `table` is [T, S], `bands` [T, 4, S], `flags` [T, 4, S]."""
    for t in range(times_ms.shape[0]):
        advance(
            times_ms[t], locals_ms[t], table[t], positions, offsets, theta, widths, rules, record, tails, day, week,
            hours, why, bits, clock, on, held, bands[t], flags[t],
        )


def compile_all() -> None:
    """Compile for the types used in production."""
    one = np.zeros(1, np.int64)
    places = np.zeros(1, np.uint32)
    state = (
        places, places, np.ones(THETA), np.zeros(WIDTHS), np.ones(RULES, np.int64), np.zeros((1, RECORD)),
        np.zeros((1, TAILS), np.float32), np.zeros((1, DAY_BINS), np.float32), np.zeros((1, WEEK_BINS), np.float32),
        np.zeros((1, 24), np.float32), np.zeros((1, WHY), np.float32), np.zeros((2, 1), np.uint64),
        np.full((2, 1), -1), np.zeros((1, 1), np.uint8), np.zeros((3, 1)),
    )
    advance(1, 1, np.zeros(1), *state, np.zeros((4, 1)), np.zeros((4, 1), np.bool_))
    fold(one, one, np.zeros((1, 1)), *state, np.zeros((1, 4, 1)), np.zeros((1, 4, 1), np.bool_))
