"""A small world to run rules in: the real PromQL and threshold engines, a store in memory, a clock to drive."""

from collections.abc import Sequence
from pathlib import Path

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.rule_syntax import parse_rules
from observe.alert.rules import RuleGroup
from observe.detect.staged import create
from observe.model import Alert, AlertState, Labels
from observe.promql.engine import Engine
from observe.telemetry import Telemetry
from observe.testing import ManualClock, MemorySink, MemorySource

START_MS = 1_700_000_000_000 // 60_000 * 60_000


def rules(text: str, interval_ms: int = 15_000) -> tuple[RuleGroup, ...]:
    groups, problems = parse_rules(text, "test.yml", None, interval_ms)
    assert problems == ()
    return groups


class Collected:
    """An `AlertSink` that remembers; `refuse` makes it fail as a full disk does."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.refuse: Exception | None = None

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.alerts.extend(alerts)

    def told(self) -> list[tuple[str, str, str]]:
        """(alertname, state, reason) of each event, repeats of firing left out."""
        seen: list[tuple[str, str, str]] = []
        for alert in self.alerts:
            one = (alert.name, str(alert.state), str(alert.reason))
            if alert.state is AlertState.RESOLVED or one not in seen:
                seen.append(one)
        return seen


class World:
    """Rules over a store in memory, at START_MS."""

    def __init__(
        self, text: str, folder: Path | None = None, interval_ms: int = 15_000, source: MemorySource | None = None,
        **settings: object,
    ) -> None:
        self.source = source or MemorySource()
        self.clock = ManualClock(START_MS)
        self.query = Engine(self.source, clock=self.clock)
        self.sink = Collected()
        self.telemetry = Telemetry()
        self.interval_ms = interval_ms
        self.evaluator = RuleEvaluator(
            rules(text, interval_ms), self.query, MemorySink(self.source), self.sink, create, self.clock,
            self.telemetry,
            settings=EvaluatorSettings(spread=False, **settings),  # type: ignore[arg-type]
            folder=folder,
        )

    def load(self, series: str, values: str, step_ms: int | None = None, start_ms: int = START_MS) -> None:
        self.source.load(series, values, step_ms=step_ms or self.interval_ms, start_ms=start_ms)

    def run(self, ticks: int) -> None:
        """That many evaluations, the first one now."""
        for _ in range(ticks):
            self.evaluator.tick(self.clock.now_ms())
            self.clock.advance_ms(self.interval_ms)

    def states(self) -> dict[str, str]:
        return {alert.name: str(alert.state) for alert in self.evaluator.active()}

    def value(self, expr: str, at_ms: int | None = None) -> dict[Labels, float]:
        vector = self.query.instant(expr, at_ms if at_ms is not None else self.clock.now_ms() - self.interval_ms)
        return dict(zip(vector.labels, vector.values.tolist(), strict=True))
