"""The auto detector, one point of one series after the other: forecast, weigh, pass the gate, learn.

1. Four forecasts compete for the baseline (`auto_forecast_kernels`).
2. Seven channels look at the point: its error against the baseline, a short average of that, its distance from the
   seasonal (or slow) level and a short average of that, its distance from the long level, its jump, and how restless
   the errors are lately. Each is a number z of its own spreads.
3. Each channel and sign has a tail model of its own past (`auto_evidence_kernels`), which makes z a number of
   evidence, -log10 of how rare it is. The weighted evidence of all channels and of going beyond all that was seen is
   summed for each side. "Seen" is what was seen until some hours ago, or a slow fall would go beyond its own last point
   only.
4. What must be exceeded: a constant in -log10 p, more for denser points, more while the series alerts often, more where
   block maxima of its evidence are usually high; and part of the decaying peak of recent evidence, so that an incident
   speaks once; an excursion that has not spoken joins that peak when it is over.
5. The edges of the band are the values at which the evidence would just be enough, by secant steps from the last ones.
6. Whatever all that says, a deviation that is gross against the long-run profile is outside (`auto_gross_kernels`).
7. While a series fires, its band is the one it began with (`auto_alert_kernels`), and the models go on learning
   underneath (`auto_learning_kernels`).
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import math

import numpy as np

from observe.detect.auto_alert_kernels import ENDED_MS, beyond, pass_gate
from observe.detect.auto_evidence_kernels import calibrated, channel_values, edge, parts_of, total
from observe.detect.auto_forecast_kernels import blend, by_season, places, unit_of
from observe.detect.auto_gross_kernels import edges, enough, learn_profile, profile
from observe.detect.auto_layout import (
    CHANNELS,
    DAY_BINS,
    DAY_MS,
    R_BEGAN_MS,
    R_BLOCK_MEAN,
    R_BLOCK_SPREAD,
    R_DOWN,
    R_GROSS_LOWER,
    R_GROSS_UPPER,
    R_HELD_BASELINE,
    R_HELD_LOWER,
    R_HELD_UPPER,
    R_LAST,
    R_LONG_SPREAD,
    R_PEAK,
    R_PEAK_SLOW,
    R_RATE,
    R_SAID,
    R_SEASON_SPREAD,
    R_SEEN,
    R_SLOW,
    R_UP,
    RECORD,
    T_BLOCK_FREE,
    T_BLOCK_WEIGHT,
    T_CLIP,
    T_NEED,
    T_PEAK,
    T_PEAK_SLOW,
    T_RATE_WEIGHT,
    T_RESUME_MS,
    T_WARM,
    TAILS,
    THETA,
    WEEK_BINS,
    WHY,
    Y_BLOCKS,
    Y_CHANNEL,
    Y_DAMPING,
    Y_EVIDENCE,
    Y_GROSS,
    Y_NEED,
    Y_RATE,
    Y_SCALE,
    Y_SEASON,
    Y_SIDE,
)
from observe.detect.auto_learning_kernels import (
    begin,
    learn_channels,
    learn_evidence,
    learn_forecasts,
    learn_levels,
    learn_range,
    learn_seasons,
)
from observe.detect.gate_kernels import (
    DIRECTION,
    EXPIRE_MS,
    FIRING,
    HOLD,
    QUIET,
    RELEARNED,
    RULES,
)
from observe.detect.judge_kernels import MIN_ABS, MIN_REL, SCORE_LIMIT, WIDTHS
from observe.jit import inlined, kernel


@inlined
def advance_one(
    i, time_ms, local_ms, x, theta, widths, rules, record, all_tails, day_profile, week_profile, hour_spreads, reasons,
    bits, clock, on, held, z, trial, said,
):
    """Judge x by what came before, pass the gate, learn. `said` gets lower, upper, baseline, score; returns flags."""
    r = record[i]
    tails = all_tails[i]
    day = day_profile[i]
    week = week_profile[i]
    hours = hour_spreads[i]
    why = reasons[i]
    before = clock[0, i]
    nothing = np.isnan(x)
    if before < 0 or time_ms - before > rules[EXPIRE_MS]:
        bits[0, i] = np.uint64(0)
        on[0, i] = 0
        held[:, i] = 0.0
        if nothing or np.isinf(x):
            said[:] = np.nan
            return 0
        begin(r, tails, day, week, hours, theta, x, time_ms)
    ready = r[R_SEEN] >= theta[T_WARM]
    firing = on[0, i] != 0
    direction = rules[DIRECTION]

    day_bin, week_bin, hour = places(local_ms)
    usual, by_day, by_week = by_season(r, day, week, day_bin, week_bin)
    known = not np.isnan(usual)
    pred, season = blend(r, known, by_day, by_week, time_ms, why)
    tiny = 1e-9 * abs(r[R_SLOW]) + 1e-12 * abs(r[R_LONG_SPREAD]) + 1e-300
    scale = unit_of(r, theta, np.float64(hours[hour]), time_ms, tiny)

    # what must be exceeded, before this point is looked at
    often = theta[T_RATE_WEIGHT] * math.log2(1.0 + r[R_RATE])
    blocks = theta[T_BLOCK_WEIGHT] * max(0.0, r[R_BLOCK_MEAN] + r[R_BLOCK_SPREAD] - theta[T_BLOCK_FREE])
    threshold = theta[T_NEED] + often + blocks
    damping = theta[T_PEAK] * r[R_PEAK] + theta[T_PEAK_SLOW] * r[R_PEAK_SLOW]
    need = threshold + damping

    lower = np.nan
    upper = np.nan
    score = np.nan
    outside = False
    strong = 0.0
    found = 0.0
    least = max(widths[MIN_ABS], widths[MIN_REL] * abs(pred))
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

    low, high = profile(r, usual, np.float64(week[week_bin]), time_ms)
    if not firing:  # while it fires, gross is what was gross when it began
        r[R_GROSS_LOWER], r[R_GROSS_UPPER] = edges(low, high, r, theta, widths, tiny)
    gross_lower, gross_upper = r[R_GROSS_LOWER], r[R_GROSS_UPPER]
    is_gross = ready and not nothing and beyond(x, gross_lower, gross_upper, direction)
    new = not nothing and time_ms > before
    floor = new and enough(r, theta, time_ms, is_gross)
    only_floor = floor and not outside
    if only_floor:
        outside = True
        if not firing:  # later, the score goes on weighing what is new
            middle = 0.5 * (gross_lower + gross_upper)
            edge_there = gross_upper if x > middle else gross_lower
            score = min(max(score, (x - middle) / (edge_there - middle)), SCORE_LIMIT)
    if not nothing:
        why[Y_GROSS] = floor

    if ready:
        r[R_UP] = edge(r[R_UP], 0, need, r, tails, theta, pred, scale, season, tiny, trial)
        r[R_DOWN] = edge(r[R_DOWN], 1, need, r, tails, theta, pred, scale, season, tiny, trial)
        upper = pred + max(r[R_UP] * scale, least)
        lower = pred - max(r[R_DOWN] * scale, least)
        if outside and not np.isinf(x):  # the last step of the search may leave x on the wrong side by a hair
            if x >= pred and upper >= x and direction >= 0:
                upper = pred + 0.999 * (x - pred)
            elif x < pred and lower <= x and direction <= 0:
                lower = pred + 0.999 * (x - pred)

    pred_said = pred
    if only_floor:
        lower, upper = gross_lower, gross_upper
        pred_said = min(max(pred, lower), upper)

    again = False
    hold = rules[HOLD] == 1
    if hold and not firing and ready and not nothing and held[ENDED_MS, i] > 0.0:
        again = time_ms - held[ENDED_MS, i] <= theta[T_RESUME_MS]
        if again:
            again = beyond(x, r[R_HELD_LOWER], r[R_HELD_UPPER], direction)
        else:
            held[ENDED_MS, i] = 0.0
    if hold and (firing or again):  # the band it began with
        lower = r[R_HELD_LOWER]
        upper = r[R_HELD_UPPER]
        pred_said = r[R_HELD_BASELINE]
        outside = beyond(x, lower, upper, direction)
        if again:  # later, the score goes on weighing what is new
            edge_there = upper if x > pred_said else lower
            score = min(max(score, (x - pred_said) / (edge_there - pred_said)), SCORE_LIMIT)

    status = FIRING if firing else QUIET
    if new:
        clock[0, i] = time_ms
        if ready:
            status = pass_gate(
                i, outside, again, is_gross, strong, threshold, time_ms, r, theta, rules, bits, clock, on, held,
            )
            if status == FIRING and not firing and not again:
                r[R_HELD_LOWER] = lower
                r[R_HELD_UPPER] = upper
                r[R_HELD_BASELINE] = pred_said
        if not np.isinf(x):
            tail = max(np.float64(tails[0]), np.float64(tails[1]))
            far = theta[T_CLIP] * tail * scale if r[R_SEEN] > 30.0 else 1e300
            season_far = 4.0 * r[R_SEASON_SPREAD] + far
            days = (time_ms - r[R_BEGAN_MS]) / DAY_MS
            learn_forecasts(x, r, theta, known, known and days > 8.0, by_day, by_week, far)
            learn_levels(x, r, hours, theta, hour, pred, season, far, season_far)
            learn_range(x, r, theta, before, time_ms)
            learn_seasons(x, r, day, week, theta, day_bin, week_bin, usual, days, far, season_far)
            began = only_floor and status == FIRING and not firing and not again
            learn_profile(x, r, theta, low, high, usual, far, status, began, time_ms)
            learn_channels(z, r, tails, theta, on[0, i] != 0)
            r[R_LAST] = x
            if on[0, i] == 0:
                learn_evidence(found, r, theta)
            r[R_SEEN] += 1.0
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
    trial = np.zeros(CHANNELS)
    said = np.zeros(4)
    for n in range(offsets.shape[0]):
        at = positions[n]
        code = advance_one(
            offsets[n], time_ms, local_ms, values[at], theta, widths, rules, record, tails, day, week, hours, why,
            bits, clock, on, held, z, trial, said,
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
