"""Every function of the language: arguments, what it does, the code that does it. docs/promql.md shows this table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from observe.promql import function_histograms as histograms
from observe.promql import function_vectors as vectors
from observe.promql import function_windows as windows
from observe.promql import rate_kernels, sliding_kernels
from observe.promql import window_kernels as kernels
from observe.promql.ast import Call, ValueType
from observe.promql.deviation_kernels import STDDEV, STDVAR, deviations
from observe.promql.vectors import Steps

if TYPE_CHECKING:
    from observe.promql.evaluate import Evaluation


@dataclass(frozen=True, slots=True)
class Function:
    """One function. `run` gives a `Block`, or [T] values where `returns` is a scalar."""

    name: str
    args: tuple[ValueType, ...]
    run: Callable[["Evaluation", Call, Steps], Any]
    doc: str
    optional: int = 0
    """How many of the last arguments may be left out; -1: the last may be repeated."""
    returns: ValueType = "vector"
    experimental: bool = False
    """Behind a feature flag in Prometheus; always on here."""


_V: tuple[ValueType, ...] = ("vector",)
_M: tuple[ValueType, ...] = ("matrix",)


def _math(name: str, function: Callable[..., Any], doc: str) -> Function:
    return Function(name, _V, vectors.elementwise(function), doc)


def _calendar(name: str, function: Callable[..., Any], doc: str) -> Function:
    return Function(name, _V, vectors.calendar(function), doc, optional=1)


def _window(name: str, op: int, doc: str, *, keep_name: bool = False, experimental: bool = False) -> Function:
    return Function(name, _M, windows.reduced(op, keep_name=keep_name), doc, experimental=experimental)


_TABLE: Final = (
    # change over a window
    Function("rate", _M, windows.extrapolated(rate_kernels.RATE), "per-second increase of a counter, resets mended"),
    Function("increase", _M, windows.extrapolated(rate_kernels.INCREASE), "increase of a counter over the window"),
    Function("delta", _M, windows.extrapolated(rate_kernels.DELTA), "change of a gauge over the window"),
    _window("irate", kernels.IRATE, "per-second increase between the last two samples"),
    _window("idelta", kernels.IDELTA, "difference of the last two samples"),
    _window("changes", kernels.CHANGES, "how often the value changed"),
    _window("resets", kernels.RESETS, "how often a counter went down"),
    _window("deriv", kernels.DERIV, "per-second slope of the least-squares line"),
    Function("predict_linear", ("matrix", "scalar"), windows.predict_linear,
             "value of the least-squares line so many seconds ahead"),
    Function("double_exponential_smoothing", ("matrix", "scalar", "scalar"), windows.double_exponential_smoothing,
             "smoothed value with trend; smoothing and trend factor between 0 and 1", experimental=True),
    # over time
    Function("avg_over_time", _M, windows.sliding(sliding_kernels.sums, sliding_kernels.AVG), "mean of the samples"),
    Function("sum_over_time", _M, windows.sliding(sliding_kernels.sums, sliding_kernels.SUM), "sum of the samples"),
    _window("count_over_time", kernels.COUNT, "number of samples"),
    Function("min_over_time", _M, windows.sliding(sliding_kernels.extremes, sliding_kernels.MIN), "least sample"),
    Function("max_over_time", _M, windows.sliding(sliding_kernels.extremes, sliding_kernels.MAX), "greatest sample"),
    Function("stddev_over_time", _M, windows.sliding(deviations, STDDEV),
             "standard deviation of the samples, as of a population"),
    Function("stdvar_over_time", _M, windows.sliding(deviations, STDVAR),
             "variance of the samples, as of a population"),
    _window("first_over_time", kernels.FIRST, "oldest sample; keeps the name", keep_name=True),
    _window("last_over_time", kernels.LAST, "newest sample; keeps the name", keep_name=True),
    _window("present_over_time", kernels.PRESENT, "1 for every series that has a sample"),
    _window("mad_over_time", kernels.MAD, "median of the distances from the median", experimental=True),
    _window("ts_of_first_over_time", kernels.TS_FIRST, "time of the oldest sample", experimental=True),
    _window("ts_of_last_over_time", kernels.TS_LAST, "time of the newest sample", experimental=True),
    _window("ts_of_min_over_time", kernels.TS_MIN, "time of the last least sample", experimental=True),
    _window("ts_of_max_over_time", kernels.TS_MAX, "time of the last greatest sample", experimental=True),
    Function("quantile_over_time", ("scalar", "matrix"), windows.quantile_over_time, "φ-quantile of the samples"),
    Function("absent_over_time", _M, windows.absent_over_time,
             "1 if no series has a sample, with the labels asked for"),
    # histograms
    Function("histogram_quantile", ("scalar", "vector"), histograms.histogram_quantile,
             "φ-quantile from the buckets of classic histograms"),
    Function("histogram_fraction", ("scalar", "scalar", "vector"), histograms.histogram_fraction,
             "part of the observations between two bounds, from the buckets of classic histograms"),
    *(
        Function(f"histogram_{part}", _V, vectors.of_histograms,
                 f"{part} of native histograms, which are not stored: empty")
        for part in ("avg", "count", "sum", "stddev", "stdvar")
    ),
    # arithmetic
    _math("abs", np.abs, "absolute value"),
    _math("ceil", np.ceil, "rounded up"),
    _math("floor", np.floor, "rounded down"),
    Function("round", ("vector", "scalar"), vectors.round_to, "rounded to the nearest multiple, ties up", optional=1),
    _math("exp", np.exp, "e to the power of the value"),
    _math("ln", np.log, "natural logarithm"),
    _math("log2", np.log2, "binary logarithm"),
    _math("log10", np.log10, "decimal logarithm"),
    _math("sqrt", np.sqrt, "square root"),
    _math("sgn", vectors.sgn, "-1, 0 or 1 by sign"),
    Function("clamp", ("vector", "scalar", "scalar"), vectors.clamp,
             "limited to a range; empty if its ends are swapped"),
    Function("clamp_min", ("vector", "scalar"), vectors.clamp, "no less than a bound"),
    Function("clamp_max", ("vector", "scalar"), vectors.clamp, "no more than a bound"),
    # trigonometry
    _math("sin", np.sin, "sine of radians"),
    _math("cos", np.cos, "cosine of radians"),
    _math("tan", np.tan, "tangent of radians"),
    _math("asin", np.arcsin, "arc sine"),
    _math("acos", np.arccos, "arc cosine"),
    _math("atan", np.arctan, "arc tangent"),
    _math("sinh", np.sinh, "hyperbolic sine"),
    _math("cosh", np.cosh, "hyperbolic cosine"),
    _math("tanh", np.tanh, "hyperbolic tangent"),
    _math("asinh", np.arcsinh, "inverse hyperbolic sine"),
    _math("acosh", np.arccosh, "inverse hyperbolic cosine"),
    _math("atanh", np.arctanh, "inverse hyperbolic tangent"),
    _math("deg", lambda values: values * 180 / np.pi, "radians as degrees"),
    _math("rad", lambda values: values * np.pi / 180, "degrees as radians"),
    Function("pi", (), vectors.pi, "π", returns="scalar"),
    # time
    Function("time", (), vectors.time_of, "time of the evaluation, in seconds", returns="scalar"),
    Function("timestamp", _V, vectors.timestamp, "time of each sample, in seconds"),
    _calendar("minute", vectors.minute, "minute of the hour, UTC"),
    _calendar("hour", vectors.hour, "hour of the day, UTC"),
    _calendar("day_of_week", vectors.day_of_week, "0 for Sunday to 6"),
    _calendar("day_of_month", vectors.day_of_month, "1 to 31"),
    _calendar("day_of_year", vectors.day_of_year, "1 to 366"),
    _calendar("days_in_month", vectors.days_in_month, "28 to 31"),
    _calendar("month", vectors.month, "1 to 12"),
    _calendar("year", vectors.year, "year, UTC"),
    # types, presence, order, labels
    Function("scalar", _V, vectors.scalar_of, "value of the only series, else NaN", returns="scalar"),
    Function("vector", ("scalar",), vectors.vector_of, "a series without labels"),
    Function("absent", _V, vectors.absent, "1 if there is no series, with the labels asked for"),
    Function("sort", _V, vectors.ordered(descending=False), "ordered by value, instant queries only"),
    Function("sort_desc", _V, vectors.ordered(descending=True), "ordered by value, greatest first"),
    Function("sort_by_label", ("vector", "string"), vectors.ordered_by_label(descending=False),
             "ordered by labels as people count", optional=-1, experimental=True),
    Function("sort_by_label_desc", ("vector", "string"), vectors.ordered_by_label(descending=True),
             "the same, backwards", optional=-1, experimental=True),
    Function("label_replace", ("vector", "string", "string", "string", "string"), vectors.label_replace,
             "`label_replace(v, to, template, from, regex)`: a label made from another by an RE2 pattern"),
    Function("label_join", ("vector", "string", "string", "string"), vectors.label_join,
             "`label_join(v, to, separator, from...)`: a label joined from others", optional=-1),
)

FUNCTIONS: Final[dict[str, Function]] = {function.name: function for function in _TABLE}
