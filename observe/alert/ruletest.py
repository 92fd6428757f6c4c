"""Rule tests in promtool's format, bands included: what fires when, on series written by hand.

After https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/. Rules run through the evaluator
of production, on a clock that is driven. One difference: where `exp_annotations` is not given, annotations are not
compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.rule_files import load_files
from observe.alert.rules import RuleGroup
from observe.alert.ruletest_file import AlertCase, ExprCase, Test, TestFile, read
from observe.alert.running import MakeEngine, Surroundings
from observe.duration import format_duration
from observe.errors import ObserveError
from observe.model import Alert, AlertState, Labels
from observe.promql.engine import Engine
from observe.telemetry import Telemetry
from observe.testing import ManualClock, MemorySink, MemorySource


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


def summary(report: Report) -> str:
    """One line for people.

    >>> summary(Report(Path("a.yml"), 2, 5))
    'a.yml: 2 tests, 5 checks: passed'
    """
    verdict = f"{len(report.failures)} failed" if report.failures else "passed"
    return f"{report.path}: {report.tests} tests, {report.checks} checks: {verdict}"
