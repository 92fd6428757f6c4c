"""How an alert of `auto` goes on and ends: the gate, and around it what the other detectors have no need of.

It ends when as many points lie inside as lay outside, a quarter of an hour's at most. Where a point lies outside its
band again within a quarter of an hour, the alert goes on, and nothing is counted again. It also ends, as a new level,
when its points have for a time been ordinary in the eyes of the models that went on learning underneath, and are not
gross against the long-run profile. That time is long for an alert that was clear, and short for one that was faint: a
fault is worth staying on for, while a level that is hardly unusual is soon no news.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.detect.auto_layout import (
    R_PEAK,
    R_PEAK_SLOW,
    R_RATE,
    R_STRENGTH,
    R_UNTOLD,
    T_CLEAR,
    T_OVER,
    T_PEAK_KEEP,
    T_PEAK_SLOW_KEEP,
    T_POINTS_PER_DAY,
    T_RATE_STEP,
    T_SETTLED,
    T_SETTLED_CLEAR,
    T_SETTLED_FAINT,
    T_SETTLED_MS,
)
from observe.detect.gate_kernels import (
    FIRING,
    QUIET,
    RECOVERED,
    RELEARN_MS,
    RELEARNED,
    advance_gate,
)
from observe.jit import inlined

# Places in the gate's column `held`, which `auto` has no other use for: points outside since the alert began, when it
# ended (ms, 0: it may not come back), since when its points are ordinary (ms, 0: they are not).
OUTSIDE_POINTS, ENDED_MS, ORDINARY_MS = range(3)


@inlined
def beyond(x, lower, upper, direction):
    """Outside an alert's own band, in a direction that counts."""
    return (x > upper and direction >= 0) or (x < lower and direction <= 0)


@inlined
def pass_gate(i, outside, again, is_gross, strong, threshold, time_ms, r, theta, rules, bits, clock, on, held):
    """The gate, and around it what is `auto`'s own: to go on, to settle, and what an alert costs the next ones."""
    firing = on[0, i] != 0
    since, points = clock[1, i], held[OUTSIDE_POINTS, i]
    status = advance_gate(i, outside, time_ms, rules, bits, clock, on, held)
    if status == FIRING and again:  # the alert of before: its age and its points count on
        clock[1, i] = since
        held[OUTSIDE_POINTS, i] = points + 1.0
    elif status == FIRING and not firing:
        r[R_RATE] += theta[T_POINTS_PER_DAY] * theta[T_RATE_STEP]
        r[R_STRENGTH] = 0.0
    elif status == RECOVERED:
        held[ENDED_MS, i] = time_ms
    elif status == FIRING and rules[RELEARN_MS] > 0:
        if strong >= theta[T_SETTLED] * threshold or is_gross:
            held[ORDINARY_MS, i] = 0.0
        elif held[ORDINARY_MS, i] == 0.0:
            held[ORDINARY_MS, i] = time_ms
        elif time_ms - held[ORDINARY_MS, i] >= settled_ms(r, theta):
            on[0, i] = 0
            bits[0, i] = np.uint64(0)
            status = RELEARNED
    if status == RELEARNED:
        held[ENDED_MS, i] = 0.0
    elif status == FIRING:
        r[R_STRENGTH] = max(r[R_STRENGTH], strong / threshold)
    r[R_RATE] -= r[R_RATE] * theta[T_RATE_STEP]
    learn_peaks(strong, threshold, status != QUIET, r, theta)
    return status


@inlined
def settled_ms(r, theta):
    """How long an alert's points must be ordinary before their level is the new one."""
    clear = r[R_STRENGTH] >= theta[T_CLEAR]
    return theta[T_SETTLED_MS] * (theta[T_SETTLED_CLEAR] if clear else theta[T_SETTLED_FAINT])


@inlined
def learn_peaks(strong, threshold, told, r, theta):
    """What damps the next evidence: peaks that were told, and those of excursions that are over.

    An excursion that goes on and has not spoken does not damp itself: its second point would be asked for more than
    its first.
    """
    r[R_PEAK] *= theta[T_PEAK_KEEP]
    r[R_PEAK_SLOW] *= theta[T_PEAK_SLOW_KEEP]
    r[R_UNTOLD] = max(r[R_UNTOLD], strong)
    if told or strong < theta[T_OVER] * threshold:
        r[R_PEAK] = max(r[R_PEAK], r[R_UNTOLD])
        r[R_PEAK_SLOW] = max(r[R_PEAK_SLOW], r[R_UNTOLD])
        r[R_UNTOLD] = 0.0


def compile_all() -> None:
    """Nothing here is called from Python."""
