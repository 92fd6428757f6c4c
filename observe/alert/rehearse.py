"""Replay rules over real history: what would have fired, when, for how long, and why; and, given incidents, how well.

The vectors are those of production (`replay`), the judge, the engine and the state machine too; only time is driven.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from observe.alert.replay import vectors
from observe.alert.rules import RuleGroup
from observe.alert.running import MakeEngine, RunningAlert, Surroundings
from observe.errors import InvalidInput, Problem
from observe.model import AlertState, Labels
from observe.protocols import QueryEngine

_EARLY_MS = 120_000
_LATE_MS = 1_800_000
"""A page up to two minutes before an incident, and half an hour after its end, is still about it."""


@dataclass
class Firing:
    """One alert from when it fired to when it was resolved."""

    rule: str
    labels: Labels
    fired_at_ms: int
    value: float | None
    baseline: float | None
    lower: float | None
    upper: float | None
    score: float | None
    why: str
    resolved_at_ms: int | None = None
    """None: it was firing still at the end."""
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that really happened; `labels` say whose alerts are about it (none: anybody's)."""

    start_ms: int
    end_ms: int
    labels: Labels


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the firings meet the incidents. None where nothing is to be counted."""

    incidents: int
    found: int
    firings: int
    false_alarms: int
    delays_ms: tuple[int, ...] = field(default=())

    @property
    def precision(self) -> float | None:
        return (self.firings - self.false_alarms) / self.firings if self.firings else None

    @property
    def recall(self) -> float | None:
        return self.found / self.incidents if self.incidents else None

    @property
    def median_delay_ms(self) -> int | None:
        return sorted(self.delays_ms)[len(self.delays_ms) // 2] if self.delays_ms else None


def rehearse(
    groups: Sequence[RuleGroup], query: QueryEngine, make_engine: MakeEngine, start_ms: int, end_ms: int,
) -> Iterator[Firing]:
    """Every firing of every alerting rule between the two times, rule after rule."""
    for group in groups:
        first = -(-start_ms // group.interval_ms) * group.interval_ms
        offset = group.query_offset_ms or 0
        for rule in group.rules:
            if rule.kind != "alerting":
                continue
            running = RunningAlert(rule, group.interval_ms, query, make_engine, Surroundings(), group.limit)
            yield from _of_rule(running, query, first, end_ms, offset)


def _of_rule(
    running: RunningAlert, query: QueryEngine, first_ms: int, last_ms: int, offset_ms: int,
) -> Iterator[Firing]:
    firing: dict[Labels, Firing] = {}
    step = running.interval_ms
    for vector in vectors(query, running.rule.expr, first_ms - offset_ms, last_ms - offset_ms, step):
        now_ms = vector.time_ms + offset_ms
        outcome = running.evaluate(vector, now_ms)
        for change in outcome.transitions:
            series, evidence = change.instance.series, change.instance.evidence
            if change.after is AlertState.FIRING:
                alert = running.alert(change.instance, now_ms)
                firing[series] = Firing(
                    running.rule.id, alert.labels, now_ms, evidence.value, evidence.baseline, evidence.lower,
                    evidence.upper, evidence.score, str(change.reason),
                )
            elif change.after is AlertState.RESOLVED and series in firing:
                done = firing.pop(series)
                done.resolved_at_ms, done.ended = now_ms, str(change.reason)
                yield done
    yield from firing.values()


def read_incidents(path: Path) -> list[Incident]:
    """Incidents from a CSV file ``start,end`` (ISO 8601); further columns are labels, empty cells match anything."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(Problem("cannot read the incidents", where=str(path), why=str(error))) from error
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            start, end = _ms(row.pop("start")), _ms(row.pop("end"))
        except (KeyError, ValueError, AttributeError) as error:
            raise InvalidInput(Problem("`start` and `end` are wanted, as 2026-01-31T12:00:00Z", where=str(path),
                                       line=number, why=str(error))) from error
        found.append(Incident(start, end, Labels((name, value) for name, value in row.items() if name and value)))
    return found


def _ms(text: str) -> int:
    moment = datetime.fromisoformat(text.strip())
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def judge_firings(firings: Sequence[Firing], incidents: Sequence[Incident]) -> Verdict:
    """Match firings to incidents by time and labels."""
    about = [
        [one for one in firings
         if incident.start_ms - _EARLY_MS <= one.fired_at_ms <= incident.end_ms + _LATE_MS
         and all(one.labels.get(name) == value for name, value in incident.labels.items())]
        for incident in incidents
    ]
    excused = {id(one) for group in about for one in group}
    delays = tuple(
        max(0, min(one.fired_at_ms for one in group) - incident.start_ms)
        for incident, group in zip(incidents, about, strict=True) if group
    )
    return Verdict(len(incidents), len(delays), len(firings), sum(id(one) not in excused for one in firings), delays)
