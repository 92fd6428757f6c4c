"""Replay rules over real history: what would have fired, when, for how long, and why; and, given incidents, how well.

The vectors are those of production (`replay`), the judge, the engine and the state machine too; only time is driven.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from observe.alert.learning import LearningEngine, LearnSettings, MakeLearningEngine, days_over, read_until, waits_of
from observe.alert.replay import vectors
from observe.alert.rules import RuleGroup
from observe.alert.running import RunningAlert, Surroundings
from observe.detect.budget import calibrate
from observe.detect.fit_process import fit_elsewhere
from observe.errors import InvalidInput, Problem
from observe.model import AlertState, Labels
from observe.moment import parse_moment_ms
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
    words: tuple[str, ...] = ()
    """What the band said of itself when it fired."""
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
    missed: tuple[Incident, ...] = ()

    @property
    def precision(self) -> float | None:
        return (self.firings - self.false_alarms) / self.firings if self.firings else None

    @property
    def recall(self) -> float | None:
        return self.found / self.incidents if self.incidents else None

    @property
    def median_delay_ms(self) -> int | None:
        return sorted(self.delays_ms)[len(self.delays_ms) // 2] if self.delays_ms else None


@dataclass
class Rehearsed:
    """What one alerting rule came to."""

    rule: str
    firings: list[Firing] = field(default_factory=list)
    series: int = 0
    """Most series that its expression had at once."""
    ready: int | None = None
    """Of these, how many had a baseline at the end; None for a rule without a band."""
    history_ms: int = 0
    """Length of what its bands had learned before."""
    spending: str = ""
    """What its `budget:` is expected to cost."""


def rehearse(
    groups: Sequence[RuleGroup], query: QueryEngine, make_engine: MakeLearningEngine, start_ms: int, end_ms: int,
    learn: LearnSettings | None = None,
) -> Iterator[Rehearsed]:
    """Rule after rule, what would have fired between the two times.

    With `learn` bands begin with what was known before, as in production; else from nothing.
    """
    for group in groups:
        first = -(-start_ms // group.interval_ms) * group.interval_ms
        offset = group.query_offset_ms or 0
        for rule in group.rules:
            if rule.kind != "alerting":
                continue
            running = RunningAlert(rule, group.interval_ms, query, make_engine, Surroundings(), group.limit)
            done = Rehearsed(rule.id)
            if learn is not None and rule.band is not None:
                until_ms = first - offset - group.interval_ms
                history = read_until([query], rule, group.interval_ms, until_ms, learn)
                if history is not None:
                    engine = make_engine(rule.band, group.interval_ms)
                    engine.learn(history, fit_elsewhere, lambda: None, waits_of(rule))
                    running.take(engine)
                    done.history_ms = history.span_ms
                    done.spending = str(engine.spending) if engine.spending is not None else ""
            done.firings = list(_of_rule(running, query, first, end_ms, offset, done, learn))
            if running.band_judge is not None:
                done.ready = running.band_judge.counts[1]
            yield done


def _of_rule(
    running: RunningAlert, query: QueryEngine, first_ms: int, last_ms: int, offset_ms: int, done: Rehearsed,
    learn: LearnSettings | None,
) -> Iterator[Firing]:
    firing: dict[Labels, Firing] = {}
    step = running.interval_ms
    days = days_over(first_ms - offset_ms - step, step)
    for vector in vectors(query, running.rule.expr, first_ms - offset_ms, last_ms - offset_ms, step):
        before_ms = vector.time_ms - step
        if learn is not None and days_over(before_ms, step) > days:
            days = days_over(before_ms, step)
            _calibrate_again(running, query, before_ms, learn)
        now_ms = vector.time_ms + offset_ms
        outcome = running.evaluate(vector, now_ms)
        done.series = max(done.series, len(vector.labels))
        for change in outcome.transitions:
            series, evidence = change.instance.series, change.instance.evidence
            if change.after is AlertState.FIRING:
                alert = running.alert(change.instance, now_ms)
                told = running.explain(alert)
                firing[series] = Firing(
                    running.rule.id, alert.labels, now_ms, evidence.value, evidence.baseline, evidence.lower,
                    evidence.upper, evidence.score, str(change.reason), told.words if told is not None else (),
                )
            elif change.after is AlertState.RESOLVED and series in firing:
                over = firing.pop(series)
                over.resolved_at_ms, over.ended = now_ms, str(change.reason)
                yield over
    yield from firing.values()


def _calibrate_again(running: RunningAlert, query: QueryEngine, until_ms: int, learn: LearnSettings) -> None:
    """Read its budget off what is known after a midnight, as `cold_start` does."""
    rule, band = running.rule, running.rule.band
    if band is None or band.budget is None or running.band_judge is None:
        return
    history = read_until([query], rule, running.interval_ms, until_ms, learn)
    spending = calibrate(band, running.interval_ms, history, waits_of(rule)) if history is not None else None
    if spending is not None:
        cast("LearningEngine", running.band_judge.engine).spend(spending)


def read_incidents(path: Path) -> list[Incident]:
    """Incidents from a CSV file ``start,end`` (ISO 8601); further columns are labels, empty cells match anything."""
    try:
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), skipinitialspace=True)
        rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
        placed = [(rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(Problem("cannot read the incidents", where=str(path), why=str(error))) from error
    if not {"start", "end"} <= set(rows.fieldnames):
        found = ", ".join(rows.fieldnames) or "an empty file"
        raise InvalidInput(Problem("columns `start` and `end` are wanted", where=str(path), line=1,
                                   why=f"found: {found}", fix="start the file with the line `start,end`"))
    incidents = []
    for line, row in placed:
        try:
            start, end = parse_moment_ms(row.pop("start")), parse_moment_ms(row.pop("end"))
        except (ValueError, AttributeError) as error:
            raise InvalidInput(Problem("`start` and `end` are wanted, as 2026-01-31T12:00:00Z", where=str(path),
                                       line=line, why=str(error))) from error
        if end < start:
            raise InvalidInput(Problem("this incident ends before it starts", where=str(path), line=line,
                                       fix="exchange `start` and `end`"))
        labels = {name: value.strip() for name, value in row.items() if name and value and value.strip()}
        incidents.append(Incident(start, end, Labels(labels)))
    return incidents


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
    missed = tuple(incident for incident, group in zip(incidents, about, strict=True) if not group)
    false_alarms = sum(id(one) not in excused for one in firings)
    return Verdict(len(incidents), len(delays), len(firings), false_alarms, delays, missed)
