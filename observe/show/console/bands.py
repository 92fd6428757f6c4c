"""The values behind an alert or an odd series, with the band they were judged by, as arrays over a range."""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.model import METRIC_NAME, Labels, Matrix
from observe.protocols import QueryEngine
from observe.show.console.time_range import Range

_BANDS: Final = {"observe_band_lower": "lower", "observe_band_upper": "upper", "observe_band_baseline": "baseline"}
_THRESHOLD = re.compile(
    r"(?P<left>.+?)\s*(?P<op>>=|<=|>|<)\s*(?:bool\s+)?(?P<limit>[-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One series over a range, [T] each; NaN where there is nothing."""

    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    lower: NDArray[np.float64] | None = None
    upper: NDArray[np.float64] | None = None
    baseline: NDArray[np.float64] | None = None

    def trimmed(self) -> "Judged":
        """Without the empty time before the first sample, where that is most of it: a young server has no past."""
        known = np.flatnonzero(np.isfinite(self.values))
        first = int(known[0]) - 2 if known.size else 0
        if first < len(self.values) // 4:
            return self
        cut = {
            name: None if (a := getattr(self, name)) is None else a[first:] for name in ("lower", "upper", "baseline")
        }
        return Judged(self.times_ms[first:], self.values[first:], **cut)

    @property
    def outside(self) -> NDArray[np.bool_]:
        with np.errstate(invalid="ignore"):
            above = np.zeros(len(self.values), bool) if self.upper is None else self.values > self.upper
            return above if self.lower is None else above | (self.values < self.lower)


def judged_series(
    engine: QueryEngine, rule: str, expr: str, labels: Labels, over: Range, *, banded: bool = True, points: int = 240
) -> Judged:
    """What `rule` saw of the series that `labels` names: its values, and its band or fixed threshold."""
    step_ms = over.step_ms(points)
    start_ms, end_ms = over.aligned(step_ms)
    value_expr, threshold = (expr, None) if banded else split_threshold(expr)
    matrix = engine.range(value_expr, start_ms, end_ms, step_ms)
    values = _pick(matrix, labels)
    times = matrix.times_ms if len(matrix.times_ms) else np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
    if values is None:
        values = np.full(len(times), np.nan)
    if threshold is not None:
        op, limit = threshold
        edge = np.full(len(times), limit)
        return Judged(times, values, upper=edge) if op.startswith(">") else Judged(times, values, lower=edge)
    if not banded:
        return Judged(times, values)
    quoted = rule.replace("\\", "\\\\").replace('"', '\\"')
    bands = engine.range(
        f'{{__name__=~"observe_band_(lower|upper|baseline)",rule="{quoted}"}}', start_ms, end_ms, step_ms
    )
    found: dict[str, NDArray[np.float64]] = {}
    for index, name in enumerate(bands.labels):
        part = _BANDS.get(name.name)
        if part and _same_series(name, labels):
            found[part] = _plain_nan(bands.values[index])
    return Judged(times, values, found.get("lower"), found.get("upper"), found.get("baseline"))


def split_threshold(expr: str) -> tuple[str, tuple[str, float] | None]:
    """``x > 5`` as its left side and its limit, so that the chart shows the value also while it is below.

    >>> split_threshold("rate(x[5m]) > 5")
    ('rate(x[5m])', ('>', 5.0))
    >>> split_threshold("up"), split_threshold('x{a=">5"}')
    (('up', None), ('x{a=">5"}', None))
    """
    match = _THRESHOLD.fullmatch(expr.strip())
    if match is None or match["left"].count("(") != match["left"].count(")") or match["left"].count('"') % 2:
        return expr, None
    if re.search(r"\b(and|or|unless)\b", match["left"]):
        return expr, None
    return match["left"].strip(), (match["op"], float(match["limit"]))


def _pick(matrix: Matrix, labels: Labels) -> NDArray[np.float64] | None:
    """The row whose labels the alert carries: an alert has them all, and its rule's besides."""
    best, most = None, -1
    for index, name in enumerate(matrix.labels):
        pairs = [(n, v) for n, v in name.pairs if n != METRIC_NAME]
        if all(labels.get(n) == v for n, v in pairs) and len(pairs) > most:
            best, most = index, len(pairs)
    return None if best is None else _plain_nan(matrix.values[best])


def _same_series(band: Labels, labels: Labels) -> bool:
    for name, value in band.pairs:
        if name in {METRIC_NAME, "rule", "replica"}:
            continue
        if labels.get("rule" if name == "exported_rule" else name) != value:
            return False
    return True


def _plain_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, np.nan)
