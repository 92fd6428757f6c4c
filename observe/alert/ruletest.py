"""Rule tests in promtool's format, bands included: what fires when, on series written by hand.

After https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/. Rules run through the evaluator
of production, on a clock that is driven. One difference: where `exp_annotations` is not given, annotations are not
compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.positions import Entry, Source, mapping, plain, sequence
from observe.alert.rules import RuleGroup, find_files, load_files
from observe.alert.running import MakeEngine, Surroundings
from observe.duration import format_duration, parse_duration_ms
from observe.errors import InvalidInput, ObserveError, Problem, RuleError
from observe.model import Alert, AlertState, Labels
from observe.promql.engine import Engine
from observe.telemetry import Telemetry
from observe.testing import ManualClock, MemorySink, MemorySource, parse_series

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


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one file."""

    path: Path
    tests: int = 0
    checks: int = 0
    failures: tuple[str, ...] = ()


@dataclass
class _Firing:
    """An `AlertSink` that keeps nothing: rule tests look at the evaluator's book."""

    count: int = field(default=0)

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:  # noqa: ARG002
        self.count += len(alerts)


def run_file(path: Path, make_engine: MakeEngine) -> Report:
    """Run every test of a file. Raises `InvalidInput` where the file or its rules cannot be understood."""
    tests = read(path)
    groups = load_files(tests.rule_files, Engine(MemorySource()).check, tests.evaluation_interval_ms)
    groups = _ordered(groups, tests)
    failures: list[str] = []
    checks = 0
    for test in tests.tests:
        checks += len(test.alerts) + len(test.exprs)
        failures += [f"{path}: {test.name}: {failure}" for failure in run_test(test, groups, tests, make_engine)]
    return Report(path, len(tests.tests), checks, tuple(failures))


def _ordered(groups: tuple[RuleGroup, ...], tests: TestFile) -> tuple[RuleGroup, ...]:
    place = {name: number for number, name in enumerate(tests.group_order)}
    return tuple(sorted(groups, key=lambda group: place.get(group.name, len(place))))


def run_test(test: Test, groups: tuple[RuleGroup, ...], tests: TestFile, make_engine: MakeEngine) -> list[str]:
    """What one scenario got wrong."""
    step = tests.evaluation_interval_ms
    source = MemorySource()
    for series, values in test.series:
        source.load(series, values, step_ms=test.interval_ms, start_ms=test.start_ms)
    clock = ManualClock(test.start_ms)
    engine = Engine(source, clock=clock)
    known = {rule.name for group in groups for rule in group.rules if rule.kind == "alerting"}
    settings = EvaluatorSettings(
        spread=False, offset_ms=test.start_ms, around=Surroundings(test.external_url, test.external_labels),
        replay_ms=0, settle_ms=0,
    )
    evaluator = RuleEvaluator(
        [replace(group, interval_ms=step, query_offset_ms=0) for group in groups], engine, MemorySink(source),
        _Firing(), make_engine, clock, Telemetry(), settings=settings,
    )
    failures: list[str] = []
    last_ms = max([*(case.at_ms for case in test.alerts), *(case.at_ms for case in test.exprs)], default=0)
    waiting = sorted(test.alerts, key=lambda case: case.at_ms)
    broken: dict[str, str] = {}
    for passed_ms in range(0, last_ms + 1, step):
        now_ms = test.start_ms + passed_ms
        clock.advance_ms(now_ms - clock.now_ms())
        evaluator.tick(now_ms)
        for rule in evaluator.rules():
            if rule.health == "err":
                at = format_duration(passed_ms)
                broken.setdefault(rule.name, f"rule {rule.name} failed at {at}: {rule.last_error}")
        while waiting and waiting[0].at_ms < passed_ms + step:
            failures += _compare_alerts(waiting.pop(0), evaluator.active(), known)
    failures += list(broken.values())
    for case in test.exprs:
        failures += _compare_samples(case, engine, test.start_ms, fuzzy=tests.fuzzy)
    return failures


def _compare_alerts(case: AlertCase, active: Sequence[Alert], known: set[str]) -> list[str]:
    at = f"line {case.line}: at {format_duration(case.at_ms)} {case.alertname}"
    if case.alertname not in known:
        return [f"{at}: no such alert in the rule files"]
    got = {alert.labels: alert for alert in active
           if alert.name == case.alertname and alert.state is AlertState.FIRING}
    failures = []
    for labels, notes in case.expected:
        wanted = labels.updated({"alertname": case.alertname})
        alert = got.pop(wanted, None)
        if alert is None:
            failures.append(f"{at}: expected {wanted}, it does not fire")
        elif notes is not None and notes != dict(alert.annotations):
            failures.append(f"{at}: {wanted} has other annotations\n    expected: {notes}\n    got:      "
                            f"{dict(alert.annotations)}")
    failures += [f"{at}: {labels} fires (value {alert.value:g}), and is not expected" if alert.value is not None
                 else f"{at}: {labels} fires, and is not expected" for labels, alert in got.items()]
    return failures


def _compare_samples(case: ExprCase, engine: Engine, start_ms: int, *, fuzzy: bool) -> list[str]:
    at = f"line {case.line}: at {format_duration(case.at_ms)} {case.expr}"
    try:
        vector = engine.instant(case.expr, start_ms + case.at_ms)
    except ObserveError as error:
        return [f"{at}: {error}"]
    got = dict(zip(vector.labels, vector.values.tolist(), strict=True))
    wanted = dict(case.expected)
    same = got.keys() == wanted.keys() and all(
        _same(got[labels], wanted[labels], 1e-6 if fuzzy else 1e-12) for labels in got)
    if same:
        return []
    def show(samples: dict[Labels, float]) -> str:
        return ", ".join(f"{labels} {value:g}" for labels, value in sorted(samples.items())) or "nothing"

    return [f"{at}\n    expected: {show(wanted)}\n    got:      {show(got)}"]


def _same(left: float, right: float, tolerance: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=tolerance)


# ------------------------------------------------------------ reading


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
        moment = datetime.fromisoformat(entry.text)
    except ValueError:
        source.on(entry.value, "this is not a time", fix="write seconds since the epoch, or 2024-05-01T12:00:00Z")
        return 0
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


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


def summary(report: Report) -> str:
    """One line for people.

    >>> summary(Report(Path("a.yml"), 2, 5))
    'a.yml: 2 tests, 5 checks: passed'
    """
    verdict = f"{len(report.failures)} failed" if report.failures else "passed"
    return f"{report.path}: {report.tests} tests, {report.checks} checks: {verdict}"
