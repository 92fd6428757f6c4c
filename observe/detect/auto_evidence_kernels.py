"""What a point is worth as evidence for `auto`: seven channels, each judged by the tails of its own past.

Each channel and sign has a tail model (Hill 1975): q, the value exceeded by 2 % of the points, and xi, the mean of
log10(z / q) beyond it. Evidence = -log10 0.02 + log10(z / q) / xi, and 1.7·(z / q)² below q. So thin and heavy tails,
spikes every hour and flat lines are each judged by what that series is used to.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import math

import numpy as np

from observe.detect.auto_layout import (
    CHANNELS,
    JUMP,
    LONG,
    POINT,
    POINT_MEAN,
    R_EXCESS,
    R_HIGH,
    R_JUMP_SPREAD,
    R_LAST,
    R_LONG,
    R_LONG_SPREAD,
    R_LOW,
    R_POINT_MEAN,
    R_RESTLESS,
    R_SEASON_MEAN,
    R_SEASON_SPREAD,
    R_SPREAD,
    R_TAIL,
    RESTLESS,
    SEASON,
    SEASON_MEAN,
    T_CALIBRATE,
    T_EVIDENCE_MOST,
    T_EXCESS_MOST,
    T_EXCESS_REPEAT,
    T_MEAN_CLIP,
    T_MEAN_STEP,
    T_RESTLESS_STEP,
    T_SEASON_CLIP,
    T_SEASON_STEP,
    T_TAIL,
    T_XI_LEAST,
    T_XI_POINTS,
    W_BELOW,
    W_BEYOND,
    W_POINT,
    W_RESTLESS,
    Y_CHANNEL,
)
from observe.jit import inlined

_LOG10_E = 0.4342944819032518


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


def compile_all() -> None:
    """Nothing here is called from Python."""
