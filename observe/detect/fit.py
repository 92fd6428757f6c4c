"""Fits that are too dear for the hot path and only seed it: a season decomposed by MSTL, a level by Holt-Winters.

Source: Bandara, Hyndman and Bergmeir, "MSTL", 2021; Holt (1957) and Winters (1960), through statsmodels. Runs off the
tick, from history, and in a process of its own where a server runs beside it (`fit_process`).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from observe.detect.civil import CivilTime
from observe.detect.history import History

_HOUR_MS = 3_600_000
_DAY, _WEEK = 24, 168
_LONGEST_HOURS = 8 * _WEEK
"""Two months are enough for a profile, and bound a fit to about a second."""


@dataclass(frozen=True, slots=True)
class Season:
    """How the hours of the week lie about a level, as a fit over history found them."""

    level: float
    """At the end of the history."""
    week: NDArray[np.float64]
    """[168] deviation from the level, Monday 0 o'clock first; NaN where history says nothing."""
    day: NDArray[np.float64]
    """[24] the same by hour of the day."""
    weeks: float
    """Length of the history."""


Fit = Callable[[History, str], Sequence[Season | None]]
"""(history, timezone): a season for each of its series."""
MOST_FITTED = 200
"""Series fitted at once (about a second each); the others are known from folding their history alone."""


def fit_seasons(history: History, timezone: str = "UTC") -> list[Season | None]:
    """`fit_season` for every series, at most `MOST_FITTED`."""
    return [fit_season(history.times_ms, history.values[:, number], timezone) if number < MOST_FITTED else None
            for number in range(len(history.labels))]


def fit_season(times_ms: NDArray[np.int64], values: NDArray[np.float64], timezone: str = "UTC") -> Season | None:
    """Fit one series' history: hours of the week from two weeks on, hours of the day from two days on, else None."""
    hours, means = _hourly(CivilTime(timezone).local_times_ms(times_ms), values)
    if len(hours) < 2 * _DAY + 1 or not np.isfinite(means).any():
        return None
    filled = np.interp(np.arange(len(means)), np.flatnonzero(np.isfinite(means)), means[np.isfinite(means)])
    periods = (_DAY, _WEEK) if len(filled) > 2 * _WEEK else (_DAY,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels tells of flat series and of starting values
        from statsmodels.tsa.seasonal import MSTL

        fit = MSTL(filled, periods=periods).fit()
        seasonal = np.asarray(fit.seasonal, float).reshape(len(filled), -1).sum(axis=1)
        level = _level_at_end(filled - seasonal)
    place = (hours + 72) % _WEEK  # 1970-01-01 was a Thursday
    recent = slice(max(0, len(filled) - 2 * _WEEK), None)
    return Season(
        level=level, week=_by_bin(place[recent], seasonal[recent], _WEEK, len(periods) == 2),
        day=_by_bin(place[recent] % _DAY, seasonal[recent], _DAY, known=True),
        weeks=len(filled) / _WEEK,
    )


def _hourly(local_ms: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Means by the nearest full hour, on a grid without holes (NaN where there is no point)."""
    known = np.isfinite(values)
    nearest = (local_ms[known] + _HOUR_MS // 2) // _HOUR_MS
    if not len(nearest):
        return np.empty(0, np.int64), np.empty(0)
    first = max(int(nearest.min()), int(nearest.max()) - _LONGEST_HOURS + 1)
    taken = nearest >= first
    count = int(nearest.max()) - first + 1
    sums = np.bincount(nearest[taken] - first, values[known][taken], count)
    points = np.bincount(nearest[taken] - first, minlength=count)
    with np.errstate(invalid="ignore"):
        return first + np.arange(count), sums / points


def _level_at_end(without_season: NDArray[np.float64]) -> float:
    """Holt's level and trend, damped, one hour ahead of the last two weeks."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    recent = without_season[-2 * _WEEK :]
    if np.ptp(recent) == 0:
        return float(recent[-1])
    return float(ExponentialSmoothing(recent, trend="add", damped_trend=True).fit().forecast(1)[0])


def _by_bin(place: NDArray[np.int64], seasonal: NDArray[np.float64], bins: int, known: bool) -> NDArray[np.float64]:
    if not known:
        return np.full(bins, np.nan)
    points = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.bincount(place, seasonal, bins) / points
    return means
