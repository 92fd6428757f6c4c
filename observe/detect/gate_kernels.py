"""From points outside the band to an alert that is on: trigger, recovery, hold and relearning, for one series.

State of series i: ``bits[0, i]`` the last 64 points, 1 = outside, newest lowest; ``bits[1, i]`` the points since it
fired, 1 = inside; ``clock[0, i]`` time of the last point (ms), ``clock[1, i]`` time it fired; ``on[0, i]`` 1 while
firing; ``held[:, i]`` count, mean and mean square deviation of the points held back while firing.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.detect.columns import Column
from observe.jit import inlined, kernel

GATE_COLUMNS = (
    Column("bits", "u8", 2),
    Column("clock", "i8", 2, -1),
    Column("on", "u1"),
    Column("held", "f8", 3),
)

# What became of a series at this point.
QUIET = 0
FIRING = 1
RECOVERED = 2
RELEARNED = 3

# Places in the `rules` array, int64.
TRIGGER_M, TRIGGER_MASK, RECOVER_M, RECOVER_MASK, RELEARN_MS, HOLD, EXPIRE_MS, DIRECTION, AS_LONG = range(9)
RULES = 9
"""`AS_LONG` 1: an alert needs no more points inside, to end, than there were outside; ``held[0]`` counts these."""


@inlined
def popcount(bits):
    """How many of 64 bits are 1 (the usual pairwise sums)."""
    x = np.uint64(bits)
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@inlined
def advance_gate(i, outside, time_ms, rules, bits, clock, on, held):
    """Take one judged point of series i; says what the alert does now."""
    one = np.uint64(1)
    if on[0, i] == 0:
        seen = bits[0, i]
        if seen == 0 and not outside:
            return QUIET
        seen = (seen << one) | np.uint64(outside)
        bits[0, i] = seen
        if outside and popcount(seen & np.uint64(rules[TRIGGER_MASK])) >= rules[TRIGGER_M]:
            on[0, i] = 1
            clock[1, i] = time_ms
            bits[1, i] = np.uint64(0)
            held[0, i] = np.float64(rules[AS_LONG])
            held[1, i] = 0.0
            held[2, i] = 0.0
            return FIRING
        return QUIET
    inside = (bits[1, i] << one) | np.uint64(not outside)
    bits[1, i] = inside
    wanted = rules[RECOVER_M]
    mask = np.uint64(rules[RECOVER_MASK])
    if rules[AS_LONG] == 1:
        held[0, i] += outside
        points = np.int64(held[0, i])
        if points < 64:
            mask &= (one << np.uint64(points)) - one
        wanted = min(wanted, points)
    if popcount(inside & mask) >= wanted:
        on[0, i] = 0
        bits[0, i] = np.uint64(0)
        return RECOVERED
    if rules[RELEARN_MS] > 0 and time_ms - clock[1, i] >= rules[RELEARN_MS]:
        on[0, i] = 0
        bits[0, i] = np.uint64(0)
        return RELEARNED
    return FIRING


@inlined
def hold_back(i, value, span, held):
    """Keep the recent level of a series that is firing: mean and variance of about its last `span` points.

    The weight is 1/n while young, then 1/span (Welford's update with a floor under the weight).
    """
    count = min(held[0, i] + 1.0, span)
    held[0, i] = count
    step = value - held[1, i]
    held[1, i] += step / count
    held[2, i] += (step * (value - held[1, i]) - held[2, i]) / count


@inlined
def say(at, baseline, half, score, ready, outside, status, bands, flags):
    """Write what became of the point at `at`: `Tick.bands` and `Tick.flags`."""
    bands[0, at] = baseline - half
    bands[1, at] = baseline + half
    bands[2, at] = baseline
    bands[3, at] = score
    flags[0, at] = ready
    flags[1, at] = outside
    flags[2, at] = status == FIRING
    flags[3, at] = status == RELEARNED


@kernel
def count_bits(values, counts):
    """`popcount` over columns, [N]."""
    for i in range(values.shape[0]):
        counts[i] = popcount(values[i])


def compile_all() -> None:
    count_bits(np.zeros(1, np.uint64), np.zeros(1, np.int64))
