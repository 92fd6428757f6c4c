"""The seasonal detector's arithmetic: a level, the civil hours of the week about it, and an offset for the time being.

    baseline(t) = level + offset + profile(t)

The level is the mean of about a week; the offset takes up what is not yet explained (a new level, growth) within half
a day. A series' record (float32) holds, for 168 hours of the week and 24 hours of the day, a mean deviation, a mean
squared error of what was expected, and a weight in visits; between two full hours the profile is interpolated. An hour
is learned when it is over and judged no more, so no point widens its own band. Hours of the week learn always and as
things were (a first weekend may be news, and is then known); hours of the day only what was quiet, without the offset.

An hour of the week is believed as far as it stands out: trust = w·d² / (w·d² + variance), where w are its visits and d
its distance from the hour of the day (the positive-part shrinkage of James and Stein). Weights stop growing at a number
of visits, so older weeks fade.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.detect.columns import Column
from observe.detect.gate_kernels import (
    DIRECTION,
    EXPIRE_MS,
    FIRING,
    HOLD,
    QUIET,
    RELEARNED,
    RULES,
    advance_gate,
    hold_back,
    say,
)
from observe.detect.judge_kernels import WIDTHS, half_width, score_of
from observe.jit import inlined, kernel

HOUR_MS = 3_600_000
_TO_MONDAY = 72.0
"""1970-01-01 was a Thursday: hours added so that hour 0 of the week is Monday 0 o'clock."""
WEEK, DAY = 168, 24
BINS = WEEK + DAY

# Places in the level column, float64. An open hour: its number, sums over its points, and how many they were.
LEVEL, OFFSET, VARIANCE, POINTS, BEGAN_MS, NOW, LAST = 0, 1, 2, 3, 4, 5, 12
HOUR, AS_WAS, ERRORS_AS_WERE, QUIET_SUM, QUIET_ERRORS, ALL_POINTS, QUIET_POINTS = range(7)
LEVELS = 19
# Places in `speeds`, float64: visits a point is, weights' bounds in visits, points of the level's memory, ready after,
# points of the memory of errors and of the offset.
VISIT, WEEK_MEMORY, DAY_MEMORY, LEVEL_POINTS, READY_MS, READY_POINTS, ERROR_POINTS, OFFSET_POINTS = range(8)
SPEEDS = 8


def columns() -> tuple[Column, ...]:
    """Columns: profile [series, 3·192] deviation, squared error, weight, of week then day; level [19, series]."""
    return (Column("profile", "f4", 3 * BINS, by_series=True), Column("level", "f8", LEVELS))


@inlined
def bin_mix(row, week_bin, day_bin, variance):
    """Mean of one hour shrunk to its parents, its squared error so far, and how much of one that is (0 to 1)."""
    week_weight = np.float64(row[2 * BINS + week_bin])
    day_weight = np.float64(row[2 * BINS + WEEK + day_bin])
    day_mean = row[WEEK + day_bin] * day_weight / (day_weight + 0.1)
    apart = row[week_bin] - day_mean
    known = week_weight * apart * apart
    mean = day_mean + (known / (known + variance) * apart if known > 0.0 else 0.0)
    week = max(week_weight - 1.0, 0.0)  # the first visit met no profile: its error says nothing
    week /= week + 1.0
    day = max(day_weight - 1.0, 0.0)
    day = (1.0 - week) * day / (day + 1.0)
    return mean, week * row[BINS + week_bin] + day * row[BINS + WEEK + day_bin], week + day


@inlined
def expected(row, level, i, local_ms):
    """Baseline and spread of series i at a civil time."""
    at = local_ms / HOUR_MS + _TO_MONDAY
    first = np.int64(np.floor(at))
    share = at - first
    left = first % WEEK
    right = (first + 1) % WEEK
    all_over = level[VARIANCE, i]
    mean_l, variance_l, trust_l = bin_mix(row, left, left % DAY, all_over)
    mean_r, variance_r, trust_r = bin_mix(row, right, right % DAY, all_over)
    trust = (1.0 - share) * trust_l + share * trust_r
    variance = (1.0 - share) * variance_l + share * variance_r + (1.0 - trust) * all_over
    baseline = level[LEVEL, i] + level[OFFSET, i] + (1.0 - share) * mean_l + share * mean_r
    return baseline, np.sqrt(max(variance, 0.0))


@inlined
def learn_bin(row, bin_, deviation, quiet_error, error, visits, memory):
    """Weighted running means; the weight stops growing at `memory`. `quiet_error` is -1 where no point was quiet.

    How far an hour scatters is what its quiet points say, and of the others what has come before: at the second visit
    what both had, later up to twice what is known. So a steep edge is learned, which comes at every visit, and one
    incident does not hide the next at that hour.
    """
    before = row[2 * BINS + bin_]
    weight = before + visits
    row[bin_] += visits / weight * (deviation - row[bin_])
    known = row[BINS + bin_]
    if weight <= 1.0:
        row[BINS + bin_] = error
    elif before <= 1.0:
        row[BINS + bin_] = max(quiet_error, min(error, known))
    else:
        row[BINS + bin_] += visits / (weight - 1.0) * (max(quiet_error, min(error, 2.0 * known)) - known)
    row[2 * BINS + bin_] = min(weight, memory)


@inlined
def close_hour(row, level, i, speeds):
    """Learn the hour before the open one; the open one takes its place."""
    points = level[LAST + ALL_POINTS, i]
    if points > 0.0:
        hour = np.int64(level[LAST + HOUR, i])
        quiet = level[LAST + QUIET_POINTS, i]
        mean, error = level[LAST + AS_WAS, i] / points, level[LAST + ERRORS_AS_WERE, i] / points
        quiet_error = level[LAST + QUIET_ERRORS, i] / quiet if quiet > 0.0 else -1.0
        learn_bin(row, hour % WEEK, mean, quiet_error, error, points * speeds[VISIT], speeds[WEEK_MEMORY])
        if quiet > 0.0:
            mean = level[LAST + QUIET_SUM, i] / quiet
            visits = quiet * speeds[VISIT]
            learn_bin(row, WEEK + hour % DAY, mean, quiet_error, quiet_error, visits, speeds[DAY_MEMORY])
    for n in range(LAST - NOW):
        level[LAST + n, i] = level[NOW + n, i]
        level[NOW + n, i] = 0.0


@inlined
def open_hour(row, level, i, x, expect, local_ms, speeds):
    """Note a point as it was in the hour nearest to it; hours that are over are learned."""
    hour = np.floor(local_ms / HOUR_MS + _TO_MONDAY + 0.5)
    if hour != level[NOW + HOUR, i]:
        close_hour(row, level, i, speeds)
        if level[LAST + HOUR, i] < hour - 1.0:  # a gap: the one before is long over too
            close_hour(row, level, i, speeds)
        level[NOW + HOUR, i] = hour
    level[NOW + AS_WAS, i] += x - level[LEVEL, i]
    level[NOW + ERRORS_AS_WERE, i] += (x - expect) * (x - expect)
    level[NOW + ALL_POINTS, i] += 1.0


@inlined
def learn_point(level, i, x, error, speeds):
    """Move level, offset and the hour's quiet sums towards a point that is not held back."""
    level[POINTS, i] += 1.0
    points = level[POINTS, i]
    level[NOW + QUIET_SUM, i] += x - level[LEVEL, i] - level[OFFSET, i]
    level[NOW + QUIET_ERRORS, i] += error * error
    level[NOW + QUIET_POINTS, i] += 1.0
    level[LEVEL, i] += (x - level[LEVEL, i]) / min(points, speeds[LEVEL_POINTS])
    level[VARIANCE, i] += (error * error - level[VARIANCE, i]) / min(points, speeds[ERROR_POINTS])
    if points >= speeds[READY_POINTS]:
        level[OFFSET, i] += error / speeds[OFFSET_POINTS]


@kernel
def advance(
    time_ms, local_ms, values, positions, offsets, speeds, widths, rules, profile, level, bits, clock, on, held, bands,
    flags,
):
    """One tick, as `rolling_kernels.advance`; `local_ms` is the civil time of `time_ms`."""
    direction = rules[DIRECTION]
    hold = rules[HOLD] == 1
    for n in range(offsets.shape[0]):
        i = offsets[n]
        at = positions[n]
        x = values[at]
        before = clock[0, i]
        row = profile[i]
        if before >= 0 and time_ms - before > rules[EXPIRE_MS]:
            row[:] = 0.0
            level[POINTS, i] = 0.0
            bits[0, i] = np.uint64(0)
            on[0, i] = 0
        if level[POINTS, i] == 0.0:
            level[:, i] = 0.0
            level[BEGAN_MS, i] = time_ms
        ready = level[POINTS, i] >= speeds[READY_POINTS] and time_ms - level[BEGAN_MS, i] >= speeds[READY_MS]
        baseline = np.nan
        half = np.nan
        score = np.nan
        expect, spread = expected(row, level, i, local_ms)
        if ready:
            baseline = expect
            half = half_width(spread, baseline, widths)
            score = score_of(x, baseline, half, direction)
        outside = ready and score > 1.0
        status = QUIET if on[0, i] == 0 else FIRING
        if not np.isnan(x) and time_ms > before:
            clock[0, i] = time_ms
            if ready:
                status = advance_gate(i, outside, time_ms, rules, bits, clock, on, held)
            if not np.isinf(x):
                if level[POINTS, i] == 0.0:  # its first point is its level, and no error
                    level[LEVEL, i] = x
                    expect = x
                open_hour(row, level, i, x, expect, local_ms, speeds)
                if hold and status == FIRING:
                    hold_back(i, x - baseline, 64.0, held)
                else:
                    error = x - expect
                    if status == RELEARNED and hold and held[0, i] >= 2.0:
                        level[OFFSET, i] += held[1, i]
                        error -= held[1, i]
                    elif hold and outside:
                        error = min(max(error, -half), half)
                    learn_point(level, i, expect + error if outside and hold else x, error, speeds)
        say(at, baseline, half, score, ready, outside, status, bands, flags)


@kernel
def fold(
    times_ms, locals_ms, table, positions, offsets, speeds, widths, rules, profile, level, bits, clock, on, held, bands,
    flags,
):
    """`advance` over many ticks: `table` is [T, S], `bands` [T, 4, S], `flags` [T, 4, S]."""
    for t in range(times_ms.shape[0]):
        advance(
            times_ms[t], locals_ms[t], table[t], positions, offsets, speeds, widths, rules, profile, level, bits, clock,
            on, held, bands[t], flags[t],
        )


@kernel
def expected_of(profile, level, i, local_ms):
    """`expected` of one series, for `explain` and charts of what is to come."""
    return expected(profile[i], level, i, local_ms)


def compile_all() -> None:
    """Compile for the types used in production."""
    one = np.zeros(1, np.int64)
    profile, level = np.zeros((1, 3 * BINS), np.float32), np.zeros((LEVELS, 1))
    places = np.zeros(1, np.uint32)
    state = (
        places, places, np.ones(SPEEDS), np.zeros(WIDTHS), np.ones(RULES, np.int64), profile, level,
        np.zeros((2, 1), np.uint64), np.zeros((2, 1), np.int64), np.zeros((1, 1), np.uint8), np.zeros((3, 1)),
    )
    advance(1, 1, np.zeros(1), *state, np.zeros((4, 1)), np.zeros((4, 1), np.bool_))
    fold(one, one, np.zeros((1, 1)), *state, np.zeros((1, 4, 1)), np.zeros((1, 4, 1), np.bool_))
    expected_of(profile, level, 0, 1)
