"""Functions over instant vectors and scalars: arithmetic, time, calendar, labels, order."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from observe.errors import QueryError
from observe.model import Labels
from observe.patterns import PatternError, compiled
from observe.promql.ast import Call, Selector, unwrap
from observe.promql.function_windows import absence
from observe.promql.names import EMPTY, valid_label_name, valid_text
from observe.promql.vectors import Block, Steps, empty_block, merged

if TYPE_CHECKING:
    from observe.promql.evaluate import Evaluation

Column = NDArray[np.float64]
_DAY_S = 86_400


def elementwise(function: Callable[[Column], Any]) -> Callable[["Evaluation", Call, Steps], Block]:
    """A function of each value; the metric name goes."""

    def run(ev: "Evaluation", call: Call, steps: Steps) -> Block:
        block = ev.vector(call.args[0], steps)
        return merged(block.with_values(function(block.values), ev.names.nameless(block.labels)))

    return run


def sgn(values: Column) -> Column:
    return np.where(np.isnan(values), values, np.sign(values))


def round_to(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    nearest = ev.scalar(call.args[1], steps) if len(call.args) > 1 else np.ones(steps.count)
    per = 1.0 / nearest
    block = ev.vector(call.args[0], steps)
    return merged(block.with_values(np.floor(block.values * per + 0.5) / per, ev.names.nameless(block.labels)))


def clamp(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    low, high = np.full(steps.count, -np.inf), np.full(steps.count, np.inf)
    if call.function in {"clamp", "clamp_min"}:
        low = ev.scalar(call.args[1], steps)
    if call.function in {"clamp", "clamp_max"}:
        high = ev.scalar(call.args[-1], steps)
    block = ev.vector(call.args[0], steps)
    values = np.maximum(low, np.minimum(high, block.values))
    return merged(Block(ev.names.nameless(block.labels), values, block.present & ~(high < low)))


def absent(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    return absence(call.args[0], ev.vector(call.args[0], steps).present, steps)


def scalar_of(ev: "Evaluation", call: Call, steps: Steps) -> Column:
    """The value of the only series there is, else NaN."""
    block = ev.vector(call.args[0], steps)
    if not len(block):
        return np.full(steps.count, np.nan)
    row = block.present.argmax(axis=0)
    value = block.values[row, np.arange(steps.count)]
    return np.where(block.present.sum(axis=0) == 1, value, np.nan)


def vector_of(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    return Block((EMPTY,), ev.scalar(call.args[0], steps)[None, :], np.ones((1, steps.count), dtype=np.bool_))


def time_of(_ev: "Evaluation", _call: Call, steps: Steps) -> Column:
    return steps.times() / 1000.0


def pi(_ev: "Evaluation", _call: Call, steps: Steps) -> Column:
    return np.full(steps.count, np.pi)


def timestamp(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    """The time of the sample for a selector, of the evaluation for anything else."""
    block = ev.vector(call.args[0], steps)
    if isinstance(unwrap(call.args[0]), Selector) and block.sampled_at is not None:
        values = block.sampled_at / 1000.0
    else:
        values = np.broadcast_to(steps.times() / 1000.0, block.values.shape).copy()
    return merged(block.with_values(values, ev.names.nameless(block.labels)))


def ordered(*, descending: bool) -> Callable[["Evaluation", Call, Steps], Block]:
    """By value, NaN last; has a meaning for a single time only."""

    def run(ev: "Evaluation", call: Call, steps: Steps) -> Block:
        block = ev.vector(call.args[0], steps)
        if steps.count > 1:
            ev.warn("sort is ineffective for range queries since results are always ordered by labels", call.span)
            return block
        block = block.without_empty()
        keys = -block.values[:, 0] if descending else block.values[:, 0]
        return block.take(np.argsort(keys, kind="stable"))

    return run


def ordered_by_label(*, descending: bool) -> Callable[["Evaluation", Call, Steps], Block]:
    """By the values of labels as people count (``a2`` before ``a10``), then by all labels."""

    def run(ev: "Evaluation", call: Call, steps: Steps) -> Block:
        names = [ev.string(arg) for arg in call.args[1:]]
        block = ev.vector(call.args[0], steps)
        if steps.count > 1:
            ev.warn("sort is ineffective for range queries since results are always ordered by labels", call.span)
            return block
        rows = sorted(
            range(len(block)), reverse=descending,
            key=lambda row: ([_natural(block.labels[row].get(name, "")) for name in names], block.labels[row].pairs),
        )
        return block.take(rows)

    return run


def _natural(text: str) -> list[tuple[int, int, str]]:
    return [(0, int(piece), piece) if piece.isdigit() else (1, 0, piece) for piece in re.findall(r"\d+|\D+", text)]


# ---------------------------------------------------------------- calendar


def calendar(part: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Callable[["Evaluation", Call, Steps], Block]:
    """A part of the UTC time that each value is, in seconds since the epoch; without argument of now."""

    def run(ev: "Evaluation", call: Call, steps: Steps) -> Block:
        if not call.args:
            seconds = steps.times() // 1000
            return Block((EMPTY,), part(seconds)[None, :].astype(np.float64), np.ones((1, steps.count), dtype=np.bool_))
        block = ev.vector(call.args[0], steps)
        told = np.isfinite(block.values) & (np.abs(block.values) < 1e14)
        values = part(np.where(told, block.values, 0).astype(np.int64)).astype(np.float64)
        return merged(block.with_values(np.where(told, values, np.nan), ev.names.nameless(block.labels)))

    return run


def _civil(seconds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Year, month and day (proleptic Gregorian), counting from the first of March of the year 0."""
    days = seconds // _DAY_S + 719_468
    era = days // 146_097
    day_of_era = days - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = np.where(shifted < 10, shifted + 3, shifted - 9)
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def _leap(year: NDArray[np.int64]) -> NDArray[np.bool_]:
    leap: NDArray[np.bool_] = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return leap


_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], dtype=np.int64)
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)


def year(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    return _civil(seconds)[0]


def month(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    return _civil(seconds)[1]


def day_of_month(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    return _civil(seconds)[2]


def day_of_week(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    return (seconds // _DAY_S + 4) % 7


def day_of_year(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    years, months, days = _civil(seconds)
    return _BEFORE_MONTH[months] + days + (_leap(years) & (months > 2))


def days_in_month(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    years, months, _ = _civil(seconds)
    days: NDArray[np.int64] = _MONTH_DAYS[months] + (_leap(years) & (months == 2))
    return days


def hour(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    return seconds % _DAY_S // 3600


def minute(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    return seconds % 3600 // 60


# ---------------------------------------------------------------- labels


def _check_label(call: Call, kind: str, name: str) -> None:
    if not valid_label_name(name):
        raise QueryError(f"invalid {kind} label name in {call.function}(): {name}", kind="execution")


def label_replace(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    target, replacement, source, pattern = (ev.string(arg) for arg in call.args[1:])
    try:
        regex = compiled(pattern)
    except PatternError:
        raise QueryError(f"invalid regular expression in label_replace(): {pattern}", kind="execution") from None
    _check_label(call, "destination", target)

    def replaced(labels: Labels) -> Labels:
        match = regex.fullmatch(labels.get(source, ""))
        return labels if match is None else labels.updated({target: valid_text(_expanded(replacement, match))})

    block = ev.vector(call.args[0], steps)
    derived = ev.names.derived(("label_replace", target, replacement, source, pattern), replaced)
    return merged(Block(tuple(derived(block.labels)), block.values, block.present))


_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


def _expanded(template: str, match: Any) -> str:
    """Go's templates: ``$1``, ``${name}``, ``$$``; a group that is not there is empty."""
    named = match.re.groupindex

    def value(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        if name.isdigit():
            return (match.group(int(name)) or "") if int(name) <= match.re.groups else ""
        return (match.group(name) or "") if name in named else ""

    return _REFERENCE.sub(value, template)


def label_join(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    target, separator, *sources = (ev.string(arg) for arg in call.args[1:])
    for source in sources:
        _check_label(call, "source", source)
    _check_label(call, "destination", target)

    def joined(labels: Labels) -> Labels:
        return labels.updated({target: valid_text(separator.join(labels.get(source, "") for source in sources))})

    block = ev.vector(call.args[0], steps)
    derived = ev.names.derived(("label_join", target, separator, *sources), joined)
    return merged(Block(tuple(derived(block.labels)), block.values, block.present))


def of_histograms(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    """Functions of native histograms: the store has none, so there is nothing to give."""
    ev.vector(call.args[-1], steps)
    return empty_block(steps.count)

