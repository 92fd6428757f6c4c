"""Detectors that others use, written plainly, to be compared with: series in, score and alert out, judged causally."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Floats = NDArray[np.float64]
Result = tuple[Floats, NDArray[np.bool_]]
Baseline = Callable[[Times, Floats, float], Result]


def rolling_three_sigma(_times_s: Times, values: Floats, _step_s: float) -> Result:
    """`rolling(30).mean() + 3 * rolling(30).std()` of the points before, one-sided."""
    import pandas as pd

    past = pd.Series(values).rolling(30)
    score = (values - past.mean().shift(1)) / (3 * past.std().shift(1) + 1e-12)
    return _flag(score.to_numpy())


def day_three_sigma(_times_s: Times, values: Floats, step_s: float) -> Result:
    """Mean and standard deviation of a day, the point itself left out."""
    import pandas as pd

    day = max(10, round(86_400 / step_s))
    past = pd.Series(values).rolling(day, min_periods=max(10, day // 4))
    score = (pd.Series(values) - past.mean().shift(1)).abs() / (3 * past.std().shift(1) + 1e-12)
    return _flag(score.to_numpy())


def windowed_gaussian(_times_s: Times, values: Floats, _step_s: float) -> Result:
    """The Numenta benchmark's baseline: tail probability under a normal of up to 6400 points, moved in steps of 100."""
    from scipy.stats import norm

    size, step = 6400, 100
    filled = np.where(np.isnan(values), np.nanmedian(values), values)
    centred = filled - filled[0]
    sums, squares = (np.r_[0.0, np.cumsum(power)] for power in (centred, centred**2))
    at = np.arange(len(values))
    stop = np.where(at <= size, at, size + (at - size) // step * step)  # the window: points before, in whole steps
    start = np.maximum(0, stop - size)
    count = np.maximum(1, stop - start)
    mean = (sums[stop] - sums[start]) / count
    variance = np.maximum(0.0, (squares[stop] - squares[start]) / count - mean**2)
    away = np.abs(centred - mean) / np.maximum(np.sqrt(variance), 1e-6)
    score = np.where(stop > start, 1 - norm.sf(away), 0.0)
    threshold = 0.9999
    return score, score >= threshold


def stl_daily(_times_s: Times, values: Floats, step_s: float, width: float = 3.5) -> Result:
    """STL (Cleveland 1990) of the last two weeks, refitted daily; expected is the last season on an average of late.

    The average, over a tenth of a day, finds more than the fit's last trend. The width is what was missed in the last
    two weeks, wider than the fit's own residuals, and at least a tenth of all spread: flat series alerted on noise.
    """
    import pandas as pd
    from statsmodels.tsa.seasonal import STL

    period = max(7, round(86_400 / step_s))
    filled = np.where(np.isnan(values), np.nanmedian(values), values)
    jump = max(1, period // 10)
    season, fitted = np.full((2, len(values)), np.nan)
    days = range(2 * period, len(values), period)
    for begin in days:
        past = filled[max(0, begin - 14 * period) : begin]
        fit = STL(past, period=period, seasonal=7, seasonal_jump=jump, trend_jump=jump, low_pass_jump=jump).fit()
        day = slice(begin, begin + period)
        season[day] = fit.seasonal[-period:][: len(season[day])]
        fitted[day] = np.std(fit.resid)
    without_season = pd.Series(filled - season)
    missed = (without_season - without_season.ewm(span=max(3, period // 10)).mean().shift(1)).to_numpy()
    score = np.zeros(len(values))
    for begin in days:
        late = missed[max(2 * period, begin - 14 * period) : begin]
        known = late[np.isfinite(late)]
        spread = max(np.std(known) if len(known) else fitted[begin], 0.1 * np.std(filled[:begin]))
        score[begin : begin + period] = np.abs(missed[begin : begin + period]) / (width * spread + 1e-12)
    return _flag(score)


def _flag(score: Floats) -> Result:
    known = np.nan_to_num(score)
    return known, known > 1


STL = "STL refitted daily, 3.5σ"
BASELINES: dict[str, Baseline] = {
    "rolling(30) mean + 3·std, one-sided": rolling_three_sigma,
    "3σ of a day": day_three_sigma,
    "windowed Gaussian": windowed_gaussian,
    STL: stl_daily,
}
