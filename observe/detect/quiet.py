"""Quiet systems, made up: long series of many characters in which nothing ever happens.

Recorded sets are too short to tell a page a week from two, and have faults in them. Here every page is one too many.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.detect.history import History
from observe.model import Labels

STEP_MS: Final = 300_000
_DAY: Final = 86_400_000 // STEP_MS
_MONDAY_MS: Final = 1_699_833_600_000

Table = NDArray[np.float64]
Kind = Callable[[Table, np.random.Generator, int], Table]
"""Makes [T, S] of the times [T, 1] in points."""


def _remembers(noise: Table, share: float) -> Table:
    """An autoregressive process of the same variance: each value keeps `share` of the one before."""
    made, fresh = np.empty_like(noise), float(np.sqrt(1 - share * share))
    last = np.zeros(noise.shape[1])
    for t, row in enumerate(noise):
        last = share * last + fresh * row
        made[t] = last
    return made


def _normal(rng: np.random.Generator, t: Table, series: int, share: float = 0.0) -> Table:
    noise = rng.standard_normal((len(t), series))
    return _remembers(noise, share) if share else noise


def _day(t: Table, rng: np.random.Generator, series: int) -> Table:
    """A wave a day, each series with its own noon."""
    wave: Table = np.sin(2 * np.pi * (t / _DAY + rng.uniform(0, 1, series)))
    return wave


def _week(t: Table) -> Table:
    """Less on Saturdays and Sundays."""
    return np.where(t // _DAY % 7 >= 5, 0.6, 1.0)


def _steady(t: Table, rng: np.random.Generator, series: int) -> Table:
    return 50 + _normal(rng, t, series)


def _heavy(t: Table, rng: np.random.Generator, series: int) -> Table:
    return 50 + _remembers(rng.standard_t(3, (len(t), series)), 0.5)


def _latency(t: Table, rng: np.random.Generator, series: int) -> Table:
    tail = 0.1 * rng.standard_t(4, (len(t), series))
    made: Table = 0.1 * np.exp(0.3 * _day(t, rng, series) + 0.25 * _normal(rng, t, series, 0.7) + tail)
    return made


def _traffic(t: Table, rng: np.random.Generator, series: int) -> Table:
    return rng.poisson(200 * _week(t) * (1 + 0.6 * _day(t, rng, series))).astype(float)


def _queue(t: Table, rng: np.random.Generator, series: int) -> Table:
    return np.maximum(0.0, np.round(3 * np.exp(_normal(rng, t, series, 0.9)) - 2))


def _errors(t: Table, rng: np.random.Generator, series: int) -> Table:
    return rng.binomial(2000, 0.0005 * np.exp(0.5 * _normal(rng, t, series, 0.95))) / 2000


def _restless(t: Table, rng: np.random.Generator, series: int) -> Table:
    """Calm for hours, rough for hours."""
    return 20 + np.exp(0.8 * _normal(rng, t, series, 0.98)) * _normal(rng, t, series)


def _growing(t: Table, rng: np.random.Generator, series: int) -> Table:
    made: Table = (100 + 2 * t / _DAY) * _week(t) * (1 + 0.4 * _day(t, rng, series)) * np.exp(
        0.05 * rng.standard_t(5, (len(t), series)))
    return made


def _wandering(t: Table, rng: np.random.Generator, series: int) -> Table:
    walked: Table = 0.5 * np.cumsum(_normal(rng, t, series), axis=0)
    return 500 + walked + 5 * _normal(rng, t, series, 0.3)


def _jobs(t: Table, rng: np.random.Generator, series: int) -> Table:
    """A job each hour, sometimes a large one."""
    begins = t % 12 == rng.integers(0, 12, series)
    made: Table = 10 + _normal(rng, t, series) + begins * 15 * (rng.pareto(3, (len(t), series)) + 0.5)
    return made


def _pareto(t: Table, rng: np.random.Generator, series: int) -> Table:
    made: Table = rng.pareto(2.0, (len(t), series)) + 1
    return made


def _memory(t: Table, rng: np.random.Generator, series: int) -> Table:
    """Fills up and falls back, each series with a period of its own between half a day and three days."""
    period = rng.integers(_DAY // 2, 3 * _DAY, series)
    return 40 + 30 * ((t + rng.integers(0, 5 * _DAY, series)) % period) / period + _normal(rng, t, series)


KINDS: Final[dict[str, Kind]] = {
    "normal noise": _steady, "heavy tails": _heavy, "latency": _latency, "traffic": _traffic, "queue length": _queue,
    "share of errors": _errors, "calm and rough": _restless, "growing traffic": _growing, "wandering level": _wandering,
    "hourly jobs": _jobs, "very heavy tails": _pareto, "memory that is collected": _memory,
}


def quiet(kind: str, seed: int, weeks: int, series: int) -> History:
    """`series` quiet series of one kind, each five minutes, from a Monday."""
    chance = np.random.default_rng([seed, *kind.encode()])
    points = np.arange(weeks * 7 * _DAY, dtype=np.int64)
    names = tuple(Labels({"series": str(number)}) for number in range(series))
    table = KINDS[kind](points.astype(float)[:, None], chance, series)
    return History(_MONDAY_MS + STEP_MS * points, names, table)
