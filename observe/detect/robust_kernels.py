"""The robust detector's arithmetic: median ± k·1.4826·MAD of a window kept sorted.

A series' record is ``[time order | sorted]``, `size` values each. A new point finds its place by bisection; the values
between it and the one that leaves move by one (a short memory move, for `size` is bounded). The median is then at hand,
and the MAD is the middle of two sorted runs of distances, found by bisection too.
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

TO_SIGMA = 1.4826022185056018
"""MAD of a normal distribution times this is its standard deviation."""
_TAILS = 3.2897072539029444
"""Width between the 5th and 95th percentile of a normal distribution, in standard deviations."""


def columns(size: int) -> tuple[Column, ...]:
    """Columns: window [series, 2·size], time order then sorted; place: head, count, points since the last one kept."""
    return (Column("window", "f8", 2 * size, by_series=True, counted=True), Column("place", "i4", 3))


@inlined
def sorted_at(row, size, count, x):
    """The place of the first sorted value that is not less than x."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) >> 1
        if row[size + middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def insert(row, size, place, i, x):
    """Put x in; the oldest leaves when the window is full."""
    head = place[0, i]
    count = place[1, i]
    at = sorted_at(row, size, count, x)
    if count == size:
        gone = sorted_at(row, size, count, row[head])
        if at > gone:
            at -= 1
            for n in range(gone, at):
                row[size + n] = row[size + n + 1]
        else:
            for n in range(gone, at, -1):
                row[size + n] = row[size + n - 1]
    else:
        for n in range(count, at, -1):
            row[size + n] = row[size + n - 1]
        place[1, i] = count + 1
    row[size + at] = x
    row[head] = x
    head += 1
    place[0, i] = 0 if head == size else head


@inlined
def distance_rank(row, size, count, centre, rank):
    """The `rank`-th smallest (from 0) of |value - centre|: a bisection over two sorted runs of distances."""
    split = sorted_at(row, size, count, centre)
    below = split
    above = count - split
    low = max(0, rank + 1 - above)
    high = min(rank + 1, below)
    while low < high:  # how many of the rank + 1 nearest lie below the centre
        take = (low + high) >> 1
        nearest_above = rank + 1 - take
        left = centre - row[size + split - 1 - take] if take < below else np.inf
        right = row[size + split + nearest_above - 1] - centre if nearest_above > 0 else -np.inf
        if left < right:
            low = take + 1
        else:
            high = take
    left = centre - row[size + split - low] if low > 0 else 0.0
    right = row[size + split + rank - low] - centre if rank + 1 - low > 0 else 0.0
    return max(left, right)


@inlined
def middle(row, size, count):
    upper = row[size + (count >> 1)]
    return upper if count & 1 else 0.5 * (upper + row[size + (count >> 1) - 1])


@inlined
def spread_about(row, size, count, centre):
    """1.4826·MAD; where over half of the window is one value, the 5 % to 95 % range as if it were normal."""
    half = count >> 1
    mad = distance_rank(row, size, count, centre, half)
    if not count & 1:
        mad = 0.5 * (mad + distance_rank(row, size, count, centre, half - 1))
    if mad > 0.0:
        return TO_SIGMA * mad
    edge = count // 20
    return (row[size + count - 1 - edge] - row[size + edge]) / _TAILS


@inlined
def shift_window(row, size, count, level, spread, old_level, old_spread):
    """Move the window to a new level and widen it to a larger spread: order, and so both halves, stay."""
    wider = max(1.0, spread / old_spread) if old_spread > 0.0 else 1.0
    for n in range(count):
        row[n] = level + (row[n] - old_level) * wider
        row[size + n] = level + (row[size + n] - old_level) * wider


@kernel
def advance(
    time_ms, values, positions, offsets, size, least, stride, widths, rules, window, place, bits, clock, on, held,
    bands, flags,
):
    """One tick, as `rolling_kernels.advance`; of a longer window every `stride`-th point stands for the rest.

    A window of fewer than `size` points is in use from `least` on; until then each point counts.
    """
    direction = rules[DIRECTION]
    hold = rules[HOLD] == 1
    for n in range(offsets.shape[0]):
        i = offsets[n]
        at = positions[n]
        x = values[at]
        before = clock[0, i]
        row = window[i]
        if before >= 0 and time_ms - before > rules[EXPIRE_MS]:
            place[0, i] = 0
            place[1, i] = 0
            place[2, i] = 0
            bits[0, i] = np.uint64(0)
            on[0, i] = 0
        count = place[1, i]
        ready = count >= least
        baseline = np.nan
        half = np.nan
        score = np.nan
        spread = 0.0
        if ready:
            baseline = middle(row, size, count)
            spread = spread_about(row, size, count, baseline)
            half = half_width(spread, baseline, widths)
            score = score_of(x, baseline, half, direction)
        outside = ready and score > 1.0
        status = QUIET if on[0, i] == 0 else FIRING
        if not np.isnan(x) and time_ms > before:
            clock[0, i] = time_ms
            if ready:
                status = advance_gate(i, outside, time_ms, rules, bits, clock, on, held)
            finite = not np.isinf(x)
            if hold and status == FIRING:
                if finite:
                    hold_back(i, x, float(size), held)
            elif finite:
                if status == RELEARNED and hold and held[0, i] >= 2.0:
                    shift_window(row, size, count, held[1, i], np.sqrt(held[2, i]), baseline, spread)
                elif hold and outside:
                    # As `rolling`: no further out than the edge, so a step cannot widen its band before it triggers.
                    x = min(max(x, baseline - half), baseline + half)
                if place[2, i] == 0:
                    insert(row, size, place, i, x)
                skip = 1 if count < least < size else stride
                place[2, i] = place[2, i] + 1 if place[2, i] + 1 < skip else 0
        say(at, baseline, half, score, ready, outside, status, bands, flags)


@kernel
def fold(
    times_ms, table, positions, offsets, size, least, stride, widths, rules, window, place, bits, clock, on, held,
    bands, flags,
):
    """`advance` over many ticks: `table` is [T, S], `bands` [T, 4, S], `flags` [T, 4, S]."""
    for t in range(times_ms.shape[0]):
        advance(
            times_ms[t], table[t], positions, offsets, size, least, stride, widths, rules, window, place, bits, clock,
            on, held, bands[t], flags[t],
        )


@kernel
def median_and_spread(row, size, count):
    """Both, for `explain`: row is one series' record."""
    centre = middle(row, size, count)
    return centre, spread_about(row, size, count, centre)


def compile_all() -> None:
    """Compile for the types used in production."""
    one = np.zeros(1, np.int64)
    places = np.zeros(1, np.uint32)
    state = (
        places, places, 2, 2, 1, np.zeros(WIDTHS), np.ones(RULES, np.int64), np.zeros((1, 4)),
        np.zeros((3, 1), np.int32), np.zeros((2, 1), np.uint64), np.zeros((2, 1), np.int64),
        np.zeros((1, 1), np.uint8), np.zeros((3, 1)),
    )
    advance(1, np.zeros(1), *state, np.zeros((4, 1)), np.zeros((4, 1), np.bool_))
    fold(one, np.zeros((1, 1)), *state, np.zeros((1, 4, 1)), np.zeros((1, 4, 1), np.bool_))
    median_and_spread(np.zeros(4), 2, 2)
