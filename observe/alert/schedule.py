"""The groups and rules that run: when each is due, what became of its last evaluation, and what it asks."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Literal

from observe.alert.rules import Rule, RuleGroup
from observe.alert.running import RunningAlert, Surroundings
from observe.errors import ObserveError
from observe.model import Vector
from observe.protocols import QueryEngine


@dataclass(frozen=True, slots=True)
class EvaluatorSettings:
    """How rules are run."""

    query_offset_ms: int = 0
    """Look this far back where a group does not say; attached stores need about one scrape interval."""
    query_timeout_s: float = 10.0
    """How long one tick waits for queries on the executor; what is not answered then is a gap."""
    spread: bool = True
    """Give each group its own offset within its interval, so that not all are due at once."""
    offset_ms: int = 0
    """Without `spread`: the offset of every group."""
    snapshot_every_ms: int = 60_000
    replay_ms: int = 3_600_000
    """How far back of the store a band is folded when there is no snapshot of it."""
    outage_tolerance_ms: int = 3_600_000
    """A pending alert survives a stop of the server that is no longer than this."""
    settle_ms: int = 60_000
    """After a start, alerts from before do not end because data is not there yet."""
    replica: str = ""
    """Added to bands (never to alerts) where two replicas judge the same series."""
    around: Surroundings = field(default_factory=Surroundings)


@dataclass
class Health:
    """What became of the last evaluation."""

    health: Literal["ok", "err", "unknown"] = "unknown"
    last_error: str = ""
    last_evaluation_ms: int | None = None
    last_duration_s: float = 0.0


@dataclass
class RunningRule:
    """One rule while it runs; `alerting` is None where it records."""

    rule: Rule
    alerting: RunningAlert | None
    health: Health = field(default_factory=Health)
    snapshot_at_ms: int = 0
    first_ms: int | None = None
    """When its result had a series for the first time since the start."""
    series: int = 0
    in_flight: "Future[Vector] | None" = None
    fresh: bool = True
    """Its state was not looked for yet."""


@dataclass
class RunningGroup:
    """One group while it runs: due at n * interval + offset."""

    group: RuleGroup
    offset_ms: int
    rules: list[RunningRule]
    last_due_ms: int | None = None

    def due_ms(self, now_ms: int, before: int = 0) -> int:
        """When it was last due, or `before` evaluations earlier."""
        return grid(now_ms, self.group.interval_ms, self.offset_ms) - before * self.group.interval_ms

    def query_ms(self, at_ms: int, default_offset_ms: int) -> int:
        """The time that the evaluation at `at_ms` asks about."""
        offset = self.group.query_offset_ms
        return at_ms - (default_offset_ms if offset is None else offset)


def grid(now_ms: int, interval_ms: int, offset_ms: int) -> int:
    """The latest n * interval + offset that is not after now."""
    return (now_ms - offset_ms) // interval_ms * interval_ms + offset_ms


def offset_of(group: RuleGroup, settings: EvaluatorSettings) -> int:
    """The group's offset within its interval: the same in every process and after every restart."""
    if not settings.spread:
        return settings.offset_ms % group.interval_ms
    digest = hashlib.blake2b(group.name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % group.interval_ms


Answers = Mapping[int, Vector | Exception]
"""What was answered ahead, by `id` of the running rule."""


def ask_ahead(
    due: Sequence[tuple[RunningGroup, int]], query: QueryEngine, executor: Executor, settings: EvaluatorSettings,
) -> Answers:
    """Ask an attached store for all that is due at once; who answers too late has a gap and is not asked twice."""
    asked: dict[Future[Vector], RunningRule] = {}
    answers: dict[int, Vector | Exception] = {}
    for group, at_ms in due:
        at_query_ms = group.query_ms(at_ms, settings.query_offset_ms)
        for running in group.rules:
            if running.in_flight is not None and not running.in_flight.done():
                answers[id(running)] = ObserveError("the query of the evaluation before is still running")
                continue
            running.in_flight = executor.submit(query.instant, running.rule.expr, at_query_ms)
            asked[running.in_flight] = running
    done, late = wait_for(asked, timeout=settings.query_timeout_s)
    for future in late:
        answers[id(asked[future])] = ObserveError(
            f"no answer within {settings.query_timeout_s:g} s; simplify `expr` or raise the query timeout")
    for future in done:
        asked[future].in_flight = None
        try:
            answers[id(asked[future])] = future.result()
        except Exception as error:  # raised again in the rule's own turn, and counted there
            answers[id(asked[future])] = error
    return answers


def answer_of(running: RunningRule, query: QueryEngine, at_ms: int, answers: Answers) -> Vector:
    """What was answered ahead, else asked now."""
    answer = answers.get(id(running))
    if answer is None:
        return query.instant(running.rule.expr, at_ms)
    if isinstance(answer, Exception):
        raise answer
    return answer
