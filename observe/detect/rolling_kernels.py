"""The rolling detector's arithmetic: mean ± k·std of the last `window` points, O(1) a point, exact to 1e-9.

Sums are kept of ``x - shift``, and with them a bound on the rounding error that they have gathered. When that bound
stops being small beside the variance (an outlier has left the window, the level has moved far from the shift), the sums
are taken again in two passes over the ring around the window's own mean. An outlier pays for one such pass, so the cost
a point stays constant on average. (Bound: every add or subtract of a term d² rounds by at most eps·(S2 + d²).)
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
    RECOVERED,
    RELEARNED,
    RULES,
    advance_gate,
    hold_back,
    say,
)
from observe.detect.judge_kernels import MIN_ABS, MIN_REL, WIDTHS, K, score_of
from observe.jit import inlined, kernel

EPS = 2.220446049250313e-16
TOLERANCE = 2e-11
"""Refresh when the error bound exceeds this part of the variance: half of it is the half-width's relative error."""


def columns(window: int) -> tuple[Column, ...]:
    """Columns: ring [window, series]; sums shift, S1, S2 [3, series]; error bound of S2; place: head and count."""
    ring = Column("ring", "f8", window, counted=True)
    return (ring, Column("sums", "f8", 3), Column("error", "f8"), Column("place", "i4", 2))


@inlined
def spread_of(count, s1, s2):
    """Standard deviation (n - 1) from sums about a shift."""
    inner = s2 - s1 * s1 / count
    return np.sqrt(inner / (count - 1.0)) if inner > 0.0 else 0.0


@inlined
def refresh(i, ring, sums, error, place):
    """Take the sums of series i again, in two passes, about the mean of what the ring holds."""
    count = place[1, i]
    low = ring[0, i]
    high = ring[0, i]
    base = ring[0, i]
    total = 0.0
    for row in range(count):
        x = ring[row, i]
        low = min(low, x)
        high = max(high, x)
        total += (x - base) / count
    shift = base if low == high else base + total
    s1 = 0.0
    s2 = 0.0
    for row in range(count):
        d = ring[row, i] - shift
        s1 += d
        s2 += d * d
    sums[0, i] = shift
    sums[1, i] = s1
    sums[2, i] = s2
    error[0, i] = EPS * s2


@inlined
def reseat(i, level, spread, ring, sums, error, place):
    """Move the window of series i to a new level, and widen it where the new level is noisier: its shape stays."""
    count = place[1, i]
    old_level = sums[0, i] + sums[1, i] / count
    old_spread = spread_of(count, sums[1, i], sums[2, i])
    wider = max(1.0, spread / old_spread) if old_spread > 0.0 else 0.0
    for row in range(count):
        if wider > 0.0:
            ring[row, i] = level + (ring[row, i] - old_level) * wider
        else:  # it was flat: two-valued noise of the new spread
            ring[row, i] = level + (spread if row % 2 == 0 else -spread)
    refresh(i, ring, sums, error, place)


@kernel
def advance(
    time_ms, values, positions, offsets, window, widths, rules, ring, sums, error, place, bits, clock, on, held,
    bands, flags,
):
    """One tick of the series at `offsets`, whose values are ``values[positions]``: judge, pass the gate, then learn.

    Writes lower, upper, baseline, score to ``bands[0..3, position]`` and ready, outside, firing, relearned to
    ``flags[0..3, position]``.
    """
    direction = rules[DIRECTION]
    hold = rules[HOLD] == 1
    expire = rules[EXPIRE_MS]
    inverse = 1.0 / window
    wide = widths[K] / np.sqrt(window - 1.0)
    least = widths[MIN_ABS]
    least_part = widths[MIN_REL]
    for n in range(offsets.shape[0]):
        i = offsets[n]
        at = positions[n]
        x = values[at]
        before = clock[0, i]
        if before >= 0 and time_ms - before > expire:  # away too long: what it was says nothing now
            place[0, i] = 0
            place[1, i] = 0
            bits[0, i] = np.uint64(0)
            on[0, i] = 0
        count = place[1, i]
        ready = count >= window
        outside = False
        baseline = np.nan
        half = np.nan
        score = np.nan
        if ready:
            s1 = sums[1, i]
            baseline = sums[0, i] + s1 * inverse
            squares = sums[2, i] - s1 * s1 * inverse
            half = wide * np.sqrt(squares) if squares > 0.0 else 0.0
            half = max(half, least, least_part * abs(baseline))
            score = score_of(x, baseline, half, direction)
            outside = score > 1.0
        status = QUIET if on[0, i] == 0 else FIRING
        if not np.isnan(x) and time_ms > before:
            clock[0, i] = time_ms
            if ready and (outside or bits[0, i] != 0 or status == FIRING):
                status = advance_gate(i, outside, time_ms, rules, bits, clock, on, held)
            finite = not np.isinf(x)
            if hold and status == FIRING:
                if finite:
                    hold_back(i, x, float(window), held)
            elif finite:
                if status == RELEARNED and hold and held[0, i] >= 2.0:
                    reseat(i, held[1, i], np.sqrt(held[2, i]), ring, sums, error, place)
                elif hold and outside and status == QUIET and half > 1e-9 * abs(baseline):
                    x = min(max(x, baseline - half), baseline + half)
                # learn: in at the head, and the oldest out when the window is full
                if count == 0:
                    sums[0, i] = x
                    sums[1, i] = 0.0
                    sums[2, i] = 0.0
                    error[0, i] = 0.0
                shift = sums[0, i]
                head = place[0, i]
                d = x - shift
                s1 = sums[1, i]
                s2 = sums[2, i]
                noise = s2 + d * d
                full = inverse
                if ready:
                    gone = ring[head, i] - shift
                    s1 += d - gone
                    s2 += (d - gone) * (d + gone)
                    noise += gone * gone
                else:
                    place[1, i] = count + 1
                    full = 1.0 / (count + 1)
                    s1 += d
                    s2 += d * d
                ring[head, i] = x
                head += 1
                place[0, i] = 0 if head == window else head
                bound = error[0, i] + 2.0 * EPS * noise
                sums[1, i] = s1
                sums[2, i] = s2
                error[0, i] = bound
                if bound > TOLERANCE * (s2 - s1 * s1 * full) and noise > 0.0:
                    refresh(i, ring, sums, error, place)
        say(at, baseline, half, score, ready, outside, status, bands, flags)
    return RECOVERED


@kernel
def fold(
    times_ms, table, positions, offsets, window, widths, rules, ring, sums, error, place, bits, clock, on, held, bands,
    flags,
):
    """`advance` over many ticks: `table` is [T, S], `bands` [T, 4, S], `flags` [T, 4, S]."""
    for t in range(times_ms.shape[0]):
        advance(
            times_ms[t], table[t], positions, offsets, window, widths, rules, ring, sums, error, place, bits, clock,
            on, held, bands[t], flags[t],
        )


def compile_all() -> None:
    """Compile for the types used in production."""
    one = np.zeros(1, np.int64)
    places = np.zeros(1, np.uint32)
    state = (
        places, places, 2, np.zeros(WIDTHS), np.ones(RULES, np.int64), np.zeros((2, 1)), np.zeros((3, 1)),
        np.zeros((1, 1)), np.zeros((2, 1), np.int32), np.zeros((2, 1), np.uint64), np.zeros((2, 1), np.int64),
        np.zeros((1, 1), np.uint8), np.zeros((3, 1)),
    )
    advance(1, np.zeros(1), *state, np.zeros((4, 1)), np.zeros((4, 1), np.bool_))
    fold(one, np.zeros((1, 1)), *state, np.zeros((1, 4, 1)), np.zeros((1, 4, 1), np.bool_))
