"""Files of rule tests in promtool's format, read with every problem at once.

After https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from observe.alert.positions import Entry, Source, mapping, plain, sequence
from observe.alert.rule_files import find_files
from observe.duration import parse_duration_ms
from observe.errors import InvalidInput, Problem, RuleError
from observe.model import Labels
from observe.moment import parse_moment_ms
from observe.testing import parse_series

_TOP = ("rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare")
_TEST = ("interval", "name", "input_series", "alert_rule_test", "promql_expr_test", "external_labels", "external_url",
         "start_timestamp")
_ALERT = ("eval_time", "alertname", "exp_alerts")
_EXPECTED = ("exp_labels", "exp_annotations")
_EXPR = ("expr", "eval_time", "exp_samples")
_SAMPLE = ("labels", "value", "histogram")


@dataclass(frozen=True, slots=True)
class AlertCase:
    """At this time exactly these alerts of this name fire."""

    at_ms: int
    alertname: str
    expected: tuple[tuple[Labels, dict[str, str] | None], ...]
    line: int


@dataclass(frozen=True, slots=True)
class ExprCase:
    """At this time the expression gives exactly these samples."""

    at_ms: int
    expr: str
    expected: tuple[tuple[Labels, float], ...]
    line: int


@dataclass(frozen=True, slots=True)
class Test:
    """One scenario: its series, and what must come of them."""

    __test__ = False

    name: str
    line: int
    interval_ms: int
    series: tuple[tuple[str, str], ...]
    alerts: tuple[AlertCase, ...]
    exprs: tuple[ExprCase, ...]
    external_labels: dict[str, str]
    external_url: str
    start_ms: int = 0
    """When the first samples are, and what `eval_time` counts from."""


@dataclass(frozen=True, slots=True)
class TestFile:
    """One file of rule tests."""

    __test__ = False

    path: Path
    rule_files: tuple[Path, ...]
    evaluation_interval_ms: int
    group_order: tuple[str, ...]
    tests: tuple[Test, ...]
    fuzzy: bool = False
    """Values need not be equal to the last bit."""


def read(path: Path) -> TestFile:
    """The tests of one file. Raises `RuleError` with every problem in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(Problem("cannot read the rule tests", where=str(path), why=str(error))) from error
    source = Source(str(path), text)
    root = source.compose()
    if root is None:
        raise RuleError(source.problems or [Problem("the file is empty", where=str(path))])
    top = mapping(source, root, "a rule test file", _TOP)
    interval = _duration(source, top["evaluation_interval"].value, 60_000) if "evaluation_interval" in top else 60_000
    patterns = [str(node.value) for node in sequence(source, top["rule_files"].value, "`rule_files`")] \
        if "rule_files" in top else []
    try:
        files = tuple(find_files(patterns, path.parent))
    except RuleError as error:
        files = ()
        source.problems.extend(error.problems)
    order = tuple(map(str, plain(top["group_eval_order"].value))) if "group_eval_order" in top else ()
    tests = tuple(
        _test(source, node, number, interval)
        for number, node in enumerate(sequence(source, top["tests"].value, "`tests`") if "tests" in top else (), 1)
    )
    if source.problems:
        raise RuleError(source.problems)
    fuzzy = "fuzzy_compare" in top and top["fuzzy_compare"].text == "true"
    return TestFile(path, files, interval, order, tests, fuzzy)


def _test(source: Source, node: yaml.Node, number: int, evaluation_ms: int) -> Test:
    entries = mapping(source, node, "a test", _TEST)
    series: list[tuple[str, str]] = []
    for item in sequence(source, entries["input_series"].value, "`input_series`") if "input_series" in entries else ():
        pair = mapping(source, item, "a series", ("series", "values"))
        if len(pair) != 2:
            source.on(item, "a series needs `series` and `values`")
            continue
        _check_series(source, pair["series"].value, pair["values"].value)
        series.append((pair["series"].text, pair["values"].text))
    alerts = [_alert_case(source, item) for item in
              (sequence(source, entries["alert_rule_test"].value, "`alert_rule_test`")
               if "alert_rule_test" in entries else ())]
    exprs = [_expr_case(source, item) for item in
             (sequence(source, entries["promql_expr_test"].value, "`promql_expr_test`")
              if "promql_expr_test" in entries else ())]
    interval = _duration(source, entries["interval"].value, evaluation_ms) if "interval" in entries else evaluation_ms
    labels = plain(entries["external_labels"].value) if "external_labels" in entries else {}
    return Test(
        entries["name"].text if "name" in entries else f"test {number}", node.start_mark.line + 1, interval,
        tuple(series), tuple(alerts), tuple(exprs), labels,
        entries["external_url"].text if "external_url" in entries else "",
        _start(source, entries.get("start_timestamp")),
    )


def _start(source: Source, entry: Entry | None) -> int:
    """``start_timestamp``: seconds since the epoch, or a time as in 2024-05-01T12:00:00Z."""
    if entry is None:
        return 0
    try:
        return round(float(entry.text) * 1000)
    except ValueError:
        pass
    try:
        return parse_moment_ms(entry.text)
    except ValueError:
        source.on(entry.value, "this is not a time", fix="write seconds since the epoch, or 2024-05-01T12:00:00Z")
        return 0


def _check_series(source: Source, series: yaml.Node, values: yaml.Node) -> None:
    from observe.testing import series_values

    try:
        parse_series(str(series.value))
    except (ValueError, InvalidInput) as error:
        source.on(series, "this does not name a series", why=str(error).splitlines()[0],
                  fix='write it as name{label="value"}')
    try:
        series_values(str(values.value))
    except ValueError as error:
        source.on(values, "these are no values", why=str(error), fix="write them as `0+10x5 _ 3 stale`")


def _alert_case(source: Source, node: yaml.Node) -> AlertCase:
    entries = mapping(source, node, "an alert test", _ALERT)
    expected: list[tuple[Labels, dict[str, str] | None]] = []
    for item in sequence(source, entries["exp_alerts"].value, "`exp_alerts`") if "exp_alerts" in entries else ():
        told = mapping(source, item, "an expected alert", _EXPECTED)
        labels = plain(told["exp_labels"].value) if "exp_labels" in told else {}
        notes = plain(told["exp_annotations"].value) if "exp_annotations" in told else None
        expected.append((
            Labels({str(name): str(value) for name, value in (labels or {}).items()}),
            None if notes is None else {str(name): str(value) for name, value in notes.items()},
        ))
    at_ms = _duration(source, entries["eval_time"].value, 0) if "eval_time" in entries else 0
    return AlertCase(at_ms, entries["alertname"].text if "alertname" in entries else "", tuple(expected),
                     node.start_mark.line + 1)


def _expr_case(source: Source, node: yaml.Node) -> ExprCase:
    entries = mapping(source, node, "an expression test", _EXPR)
    expected: list[tuple[Labels, float]] = []
    for item in sequence(source, entries["exp_samples"].value, "`exp_samples`") if "exp_samples" in entries else ():
        told = mapping(source, item, "an expected sample", _SAMPLE)
        try:
            labels = parse_series(told["labels"].text) if "labels" in told else Labels()
            expected.append((labels, float(told["value"].text) if "value" in told else 0.0))
        except (ValueError, InvalidInput) as error:
            source.on(item, "this is no sample", why=str(error).splitlines()[0])
    at_ms = _duration(source, entries["eval_time"].value, 0) if "eval_time" in entries else 0
    return ExprCase(at_ms, entries["expr"].text if "expr" in entries else "", tuple(expected), node.start_mark.line + 1)


def _duration(source: Source, node: yaml.Node, otherwise: int) -> int:
    try:
        return parse_duration_ms(str(node.value))
    except ValueError as error:
        source.on(node, "this is not a duration", why=str(error))
        return otherwise
