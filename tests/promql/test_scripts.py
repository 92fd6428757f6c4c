"""Scripts in the form of Prometheus' own: `load`, `eval`, `eval_ordered`, `eval_fail`, `clear`. One test a case."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from observe.duration import parse_duration_ms
from observe.errors import LimitExceeded, QueryError
from observe.model import Labels, Matrix, Vector, is_absent
from observe.promql.aggregate import DOCS as AGGREGATIONS
from observe.promql.engine import Engine
from observe.promql.functions import FUNCTIONS
from observe.promql.result import Scalar
from observe.testing import MemorySource, parse_series, series_values

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.test"))
_EVAL = re.compile(r"(eval|eval_ordered|eval_fail) (?:instant at (\S+)|range from (\S+) to (\S+) step (\S+)) (.+)")


@dataclass
class Case:
    loads: tuple[tuple[int, str, str], ...]
    how: str
    times_ms: tuple[int, ...]
    expr: str
    expected: list[tuple[str, str]] = field(default_factory=list)


def _time_ms(text: str) -> int:
    return round(float(text) * 1000) if re.fullmatch(r"[\d.]+", text) else parse_duration_ms(text)


def _series_and_values(row: str) -> tuple[str, str]:
    """A series ends at its closing brace or at the first space; a lone number has no series."""
    match = re.match(r"(?:[a-zA-Z_]\w*)?\{.*\}", row)
    if match:
        return match.group(), row[match.end() :]
    first, _, rest = row.partition(" ")
    return (first, rest) if rest.strip() and not re.fullmatch(r"[-+\d.e]+|NaN|[+-]?Inf", first) else ("", row)


def cases(path: Path) -> Iterator[tuple[str, Case]]:
    loads: list[tuple[int, str, str]] = []
    step_ms, case, name = 0, None, ""
    for number, row in enumerate([*path.read_text().splitlines(), "end"], 1):
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        if row.startswith(" "):
            series, values = _series_and_values(row.strip())
            if case is None:
                loads.append((step_ms, series, values))
            else:
                case.expected.append((series, values))
            continue
        if case is not None:
            yield name, case
            case = None
        if row.startswith("load "):
            step_ms = parse_duration_ms(row.removeprefix("load "))
        elif row == "clear":
            loads = []
        elif match := _EVAL.fullmatch(row):
            how, at, *span, expr = match.groups()
            times = (_time_ms(at),) if at else tuple(_time_ms(each) for each in span)
            name, case = f"{path.stem}:{number} {expr}", Case(tuple(loads), how, times, expr)
        elif row != "end":
            raise ValueError(f"{path.name}:{number}: cannot read {row!r}")


def answer(engine: Engine, case: Case) -> list[tuple[Labels | None, list[float | None]]]:
    """Series with their values, None where there is none; the labels of a scalar are None."""
    if len(case.times_ms) > 1:
        matrix = engine.range(case.expr, *case.times_ms)
        assert isinstance(matrix, Matrix)
        gone = is_absent(matrix.values).tolist() if matrix.labels else []
        return [(labels, [None if hole else value for value, hole in zip(row, holes, strict=True)])
                for labels, row, holes in zip(matrix.labels, matrix.values.tolist(), gone, strict=True)]
    value = engine.query(case.expr, case.times_ms[0])
    if isinstance(value, Scalar):
        return [(None, [value.value])]
    assert isinstance(value, Vector)
    return [(labels, [number]) for labels, number in zip(value.labels, value.values.tolist(), strict=True)]


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None or math.isnan(one) or math.isnan(other):
        return one is other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))
    return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)


ALL = [pytest.param(case, id=name) for path in SCRIPTS for name, case in cases(path)]


@pytest.mark.parametrize("case", ALL)
def test_script(case):
    source = MemorySource()
    for step_ms, series, values in case.loads:
        source.load(series, values, step_ms=step_ms)
    engine = Engine(source)
    if case.how == "eval_fail":
        with pytest.raises((QueryError, LimitExceeded)):
            answer(engine, case)
        return

    found = answer(engine, case)

    expected = [(parse_series(series) if series else None, series_values(values)) for series, values in case.expected]
    if case.how == "eval":
        found.sort(key=lambda each: each[0].pairs if each[0] is not None else ())
        expected.sort(key=lambda each: each[0].pairs if each[0] is not None else ())
    assert [labels for labels, _ in found] == [labels for labels, _ in expected]
    for (labels, got), (_, want) in zip(found, expected, strict=True):
        assert len(got) == len(want), labels
        assert all(map(_close, got, want)), f"{labels}: {got}, expected {want}"


def test_every_script_has_cases():
    assert len(ALL) > 190
    assert all(any(param.id.startswith(f"{path.stem}:") for param in ALL) for path in SCRIPTS)


def test_every_function_aggregation_and_operator_has_a_case():
    asked = " ".join(param.values[0].expr for param in ALL if param.values[0].how != "eval_fail")

    names = {*FUNCTIONS, *AGGREGATIONS, "atan2", "and", "or", "unless", "offset", "bool", "group_left",
             "group_right", "on", "ignoring", "by", "without"}
    marks = ("+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "=~", "!~", "@", "start()", "end()", ":")
    assert [] == sorted(name for name in names if not re.search(rf"\b{name}\b", asked))
    assert [] == [mark for mark in marks if mark not in asked]
