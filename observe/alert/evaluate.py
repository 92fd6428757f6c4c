"""The loop body of alerting: what is due is evaluated, at n·interval + offset; nothing that fails stops the rest.

`RuleEvaluator.tick` runs on the data thread. Queries may run beside it on an executor (an attached store answers over
HTTP); judging, states and writing never do.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from observe.alert.cold_start import ColdStarts, budget_of
from observe.alert.keeping import Keeper, Kept
from observe.alert.learning import Learner
from observe.alert.rules import Rule, RuleGroup, band_text
from observe.alert.running import MakeEngine, RunningAlert, Surroundings, active_since
from observe.alert.states import Evidence, Instance, remove
from observe.alert.template import Scope, Template
from observe.alert.written import SeriesWriter
from observe.clock import Clock
from observe.errors import ObserveError, StorageError
from observe.model import METRIC_NAME, Alert, AlertState, Labels, Reason, Vector
from observe.protocols import AlertSink, ExplainedBand, OddSeries, QueryEngine, RuleStatus, SampleSink
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)


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


class Ledger(Protocol):
    """What the evaluator asks of whoever keeps the alerts: nothing, if alerts go to an Alertmanager."""

    def open_alerts(self) -> list[Alert]:
        """Alerts that were accepted as firing and are not resolved."""

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]: ...


@dataclass
class _Health:
    health: str = "unknown"
    last_error: str = ""
    last_evaluation_ms: int | None = None
    last_duration_s: float = 0.0


@dataclass
class _RunningRule:
    rule: Rule
    alerting: RunningAlert | None
    health: _Health = field(default_factory=_Health)
    snapshot_at_ms: int = 0
    snapshot_took_s: float = 0.0
    first_ms: int | None = None
    """When its result had a series for the first time since the start."""
    series: int = 0
    in_flight: "Future[Vector] | None" = None
    fresh: bool = True
    """Its state was not looked for yet."""


@dataclass
class _RunningGroup:
    group: RuleGroup
    offset_ms: int
    rules: list[_RunningRule]
    last_due_ms: int | None = None


class RuleEvaluator:
    """Runs rule groups; is the `AlertBook` that the console reads."""

    def __init__(
        self, groups: Sequence[RuleGroup], query: QueryEngine, sink: SampleSink | None, alerts: AlertSink,
        make_engine: MakeEngine, clock: Clock, telemetry: Telemetry, *,
        settings: EvaluatorSettings | None = None, folder: Path | None = None, ledger: Ledger | None = None,
        executor: Executor | None = None, learner: Learner | None = None,
    ) -> None:
        self._query = query
        self._alerts = alerts
        self._make_engine = make_engine
        self._clock = clock
        self._telemetry = telemetry
        self._settings = settings or EvaluatorSettings()
        self._writer = SeriesWriter(sink, telemetry, self._settings.replica) if sink is not None else None
        self._keeper = Keeper(folder, telemetry) if folder is not None else None
        self._ledger = ledger
        self._executor = executor
        self._starts = ColdStarts(learner)
        """Without a learner bands start from `replay_ms` of the store, and no further back."""
        self._groups: list[_RunningGroup] = []
        self._recorded: dict[str, tuple[tuple[Labels, ...], tuple[Labels, ...]]] = {}
        """Names of what a rule recorded, for as long as its result has the same series."""
        self._unsent: dict[tuple[Labels, int], Alert] = {}
        self._lock = threading.Lock()
        self._book: tuple[Alert, ...] = ()
        self._started = False
        self._evaluations = telemetry.counter("observe_rule_evaluations_total", "Rule evaluations.", ("group",))
        self._failures = telemetry.counter(
            "observe_rule_evaluation_failures_total", "Rule evaluations that failed.", ("group",))
        self._missed = telemetry.counter(
            "observe_rule_group_iterations_missed_total",
            "Times at which a group was due but the one before was still running or the server was busy.", ("group",))
        self._duration = telemetry.histogram(
            "observe_rule_group_duration_seconds", "Time that one evaluation of a group took.", ("group",))
        self._transitions = telemetry.counter(
            "observe_alert_transitions_total", "Alerts that changed their state.", ("after", "reason"))
        self.load(groups)

    # ------------------------------------------------------------ rules come and go

    def load(self, groups: Sequence[RuleGroup], now_ms: int | None = None) -> None:
        """Run these groups from now on. Rules that judge as before keep their state; removed rules resolve."""
        before = {running.alerting.key: running for group in self._groups for running in group.rules
                  if running.alerting is not None}
        made: list[_RunningGroup] = []
        last_due = {group.group.name: group.last_due_ms for group in self._groups}
        for group in groups:
            rules = [self._running(rule, group, before) for rule in group.rules]
            offset = _spread(group) if self._settings.spread else self._settings.offset_ms % group.interval_ms
            made.append(_RunningGroup(group, offset, rules, last_due.get(group.name)))
        old_records = {(running.rule.id) for group in self._groups for running in group.rules
                       if running.alerting is None}
        new_records = {rule.id for group in groups for rule in group.rules if rule.kind == "recording"}
        with self._lock:
            self._groups = made
        if now_ms is None:
            now_ms = self._clock.now_ms()
        self._starts.keep_only({running.alerting.key for group_made in made for running in group_made.rules
                                if running.alerting is not None})
        for group_made in made if self._started else ():
            for running in group_made.rules:
                self._look_back(group_made, running, self._last_due_ms(group_made, now_ms), now_ms)
        gone = [running.alerting for running in before.values() if running.alerting is not None]
        self._retire(gone, now_ms)
        if self._writer is not None:
            for name in old_records - new_records:
                self._writer.end("record " + name, now_ms)
        self._recorded.clear()

    def _running(self, rule: Rule, group: RuleGroup, before: dict[str, _RunningRule]) -> _RunningRule:
        if rule.kind == "recording":
            return _RunningRule(rule, None)
        kept = before.pop(rule.key(group.interval_ms), None)
        if kept is not None and kept.alerting is not None:
            kept.rule = rule
            kept.alerting.change_texts(rule)
            return kept
        alerting = RunningAlert(
            rule, group.interval_ms, self._query, self._make_engine, self._settings.around, group.limit,
        )
        return _RunningRule(rule, alerting)

    def _retire(self, gone: Sequence[RunningAlert], now_ms: int) -> None:
        ended: list[Alert] = []
        for alerting in gone:
            for change in remove(alerting.state, Reason.RULE_REMOVED, now_ms):
                ended.append(alerting.end(change.instance, now_ms, Reason.RULE_REMOVED))
                self._note(change.after, change.reason)
            if self._writer is not None:
                self._writer.end("alerts " + alerting.key, now_ms)
                if alerting.band_judge is not None:
                    self._writer.end_band(alerting.rule.id, now_ms)
            if self._keeper is not None:
                self._keeper.remove(alerting.key)
        self._send(ended, now_ms)

    # ------------------------------------------------------------ evaluation

    def next_due_ms(self, now_ms: int) -> int:
        """The next time at which a group is due, so that the loop knows how long to wait."""
        return min(
            (_grid(now_ms, group.group.interval_ms, group.offset_ms) + group.group.interval_ms
             for group in self._groups), default=now_ms + 60_000,
        )

    def tick(self, now_ms: int) -> int:
        """Evaluate every group that is due. Returns how many rules were evaluated."""
        if not self._started:
            self._start(now_ms)
        for group in self._groups:
            for running in group.rules:
                if running.alerting is not None and self._starts.tick(
                        running.alerting, self._query_ms(group, self._last_due_ms(group, now_ms, before=1)), now_ms):
                    running.snapshot_at_ms = 0  # keep what was learned soon
        due: list[tuple[_RunningGroup, int]] = []
        for group in self._groups:
            at_ms = _grid(now_ms, group.group.interval_ms, group.offset_ms)
            if group.last_due_ms is not None and at_ms <= group.last_due_ms:
                continue
            if group.last_due_ms is not None:
                missed = (at_ms - group.last_due_ms) // group.group.interval_ms - 1
                if missed > 0:
                    self._missed.labels(group.group.name).inc(missed)
            group.last_due_ms = at_ms
            due.append((group, at_ms))
        answers = self._ask_ahead(due) if self._executor is not None else {}
        count = 0
        for group, at_ms in due:
            began = self._clock.monotonic()
            for running in group.rules:
                self._evaluate(group, running, at_ms, answers)
                count += 1
            self._duration.labels(group.group.name).observe(self._clock.monotonic() - began)
        if due:
            self._book = tuple(
                alert for group in self._groups for running in group.rules if running.alerting is not None
                for alert in running.alerting.current
            )
            self._send_again(now_ms)
            self._keep(now_ms)
        return count

    def _last_due_ms(self, group: _RunningGroup, now_ms: int, before: int = 0) -> int:
        """When it was last due, or `before` evaluations earlier."""
        return _grid(now_ms, group.group.interval_ms, group.offset_ms) - before * group.group.interval_ms

    def _query_ms(self, group: _RunningGroup, at_ms: int) -> int:
        offset = group.group.query_offset_ms
        return at_ms - (self._settings.query_offset_ms if offset is None else offset)

    def _ask_ahead(self, due: Sequence[tuple[_RunningGroup, int]]) -> dict[int, Vector | ObserveError]:
        """Ask an attached store for all that is due at once; who answers too late has a gap and is not asked twice."""
        assert self._executor is not None
        asked: dict[Future[Vector], _RunningRule] = {}
        answers: dict[int, Vector | ObserveError] = {}
        for group, at_ms in due:
            for running in group.rules:
                if running.in_flight is not None and not running.in_flight.done():
                    answers[id(running)] = ObserveError("the query of the evaluation before is still running")
                    continue
                future = self._executor.submit(self._query.instant, running.rule.expr, self._query_ms(group, at_ms))
                running.in_flight = future
                asked[future] = running
        done, late = wait_for(asked, timeout=self._settings.query_timeout_s)
        for future in late:
            answers[id(asked[future])] = ObserveError(
                f"no answer within {self._settings.query_timeout_s:g} s; simplify `expr` or raise the query timeout")
        for future in done:
            asked[future].in_flight = None
            try:
                answers[id(asked[future])] = future.result()
            except ObserveError as error:
                answers[id(asked[future])] = error
            except Exception as error:
                answers[id(asked[future])] = ObserveError(f"{type(error).__name__}: {error}")
        return answers

    def _evaluate(
        self, group: _RunningGroup, running: _RunningRule, at_ms: int, answers: Mapping[int, Vector | ObserveError],
    ) -> None:
        began = self._clock.monotonic()
        running.health.last_evaluation_ms = at_ms
        self._evaluations.labels(group.group.name).inc()
        try:
            query_ms = self._query_ms(group, at_ms)
            answer = self._answer(running, query_ms, answers)
            running.series = len(answer.labels)
            if running.first_ms is None and running.series:
                running.first_ms = at_ms
            if running.alerting is None:
                warning = self._record(running.rule, answer, query_ms, group.group.limit)
            else:
                self._alert(running.alerting, answer, at_ms, query_ms)
                warning = running.alerting.warning
            running.health.health, running.health.last_error = ("err", warning) if warning else ("ok", "")
        except Exception as error:
            # One rule never stops the others; a programming error is told with its trace.
            running.health.health, running.health.last_error = "err", str(error) or type(error).__name__
            self._failures.labels(group.group.name).inc()
            if not isinstance(error, ObserveError):
                _log.exception("rule %s failed", running.rule.id)
        running.health.last_duration_s = self._clock.monotonic() - began

    def _answer(self, running: _RunningRule, query_ms: int, answers: Mapping[int, Vector | ObserveError]) -> Vector:
        answer = answers.get(id(running))
        if answer is None:
            return self._query.instant(running.rule.expr, query_ms)
        if isinstance(answer, ObserveError):
            raise answer
        return answer

    def _alert(self, alerting: RunningAlert, vector: Vector, at_ms: int, query_ms: int) -> None:
        outcome = alerting.evaluate(vector, at_ms)
        for change in outcome.transitions:
            self._note(change.after, change.reason)
            _log.info("%s %s %s", alerting.rule.id, change.instance.series, change)
        if self._writer is not None:
            if alerting.band_judge is not None and alerting.band_judge.judged is not None:
                self._writer.write_band(alerting.rule.id, query_ms, alerting.band_judge.judged)
            self._writer.write_alerts(alerting.key, query_ms, list(active_since(alerting)))
        self._send(outcome.alerts, at_ms)
        if outcome.transitions and self._keeper is not None:
            self._keeper.changed(alerting.key)

    def _record(self, rule: Rule, vector: Vector, query_ms: int, limit: int) -> str:
        if limit and len(vector.labels) > limit:
            raise ObserveError(
                f"{len(vector.labels)} series, but the group's limit is {limit}; raise `limit` or aggregate more")
        if self._writer is None:
            raise ObserveError("recording rules need a store to write to; configure remote write")
        known = self._recorded.get(rule.id)
        if known is None or known[0] != vector.labels:
            laid = {name: Template(text).render(Scope({}, 0.0)) for name, text in rule.labels.items()}
            labels = tuple(one.updated({**laid, METRIC_NAME: rule.name}) for one in vector.labels)
            if len(set(labels)) != len(labels):
                raise ObserveError("several series of the result have the same labels once the rule's are added")
            known = self._recorded[rule.id] = (vector.labels, labels)
        self._writer.write("record " + rule.id, query_ms, known[1], np.asarray(vector.values, dtype=np.float64))
        return ""

    # ------------------------------------------------------------ telling

    def _note(self, after: AlertState, reason: Reason) -> None:
        self._transitions.labels(str(after), str(reason)).inc()

    def _send(self, alerts: Sequence[Alert], now_ms: int) -> None:
        if not alerts:
            return
        try:
            self._alerts.accept(alerts, now_ms)
        except Exception as error:
            # Firing alerts come again with the next evaluation; what has ended would not, so it is kept.
            for alert in alerts:
                if alert.state is AlertState.RESOLVED:
                    self._unsent[alert.labels, alert.starts_at_ms] = alert
            self._telemetry.counter(
                "observe_alert_handover_failures_total", "Alert events that the sink did not take at once.").inc()
            _log.error("alerts not taken, kept for the next evaluation: %s", error)
            if not isinstance(error, ObserveError):
                _log.exception("alert sink failed")

    def _send_again(self, now_ms: int) -> None:
        if self._unsent:
            waiting, self._unsent = list(self._unsent.values()), {}
            self._send(waiting, now_ms)

    # ------------------------------------------------------------ stop and start

    def _start(self, now_ms: int) -> None:
        """Take up where the process before stopped: snapshots, the store since then, and the ledger's open alerts."""
        self._started = True
        kept = self._keeper.load() if self._keeper is not None else {}
        for group in self._groups:
            for running in group.rules:
                if running.alerting is not None:
                    restored = self._resume(group, running.alerting, kept.get(running.alerting.key), now_ms)
                    running.fresh = running.fresh and not restored
                    self._look_back(group, running, self._last_due_ms(group, now_ms, before=1), now_ms)
        if self._ledger is not None:
            self._reconcile(now_ms)

    def _resume(self, group: _RunningGroup, alerting: RunningAlert, kept: Kept | None, now_ms: int) -> bool:
        """True where a snapshot was of use."""
        since_ms = now_ms - self._settings.replay_ms
        alerting.settle_until_ms = now_ms + self._settings.settle_ms
        judge = alerting.band_judge
        if kept is not None and judge is not None:
            try:
                judge.engine.restore(kept.engine)
                judge.recall(kept.sampled, kept.missing)
                since_ms = max(kept.at_ms, since_ms)
            except StorageError as error:
                _log.warning("%s: the snapshot of its bands is of no use, folding the store: %s",
                             alerting.rule.id, error)
                kept = None
        if kept is not None:
            fresh = now_ms - kept.at_ms <= self._settings.outage_tolerance_ms
            alerting.seed(
                {series: one for series, one in kept.state.items() if fresh or one.state is AlertState.FIRING},
                kept.names,
            )
        if judge is None:
            return kept is not None
        try:
            judge.replaying = True
            self._replay(group, alerting, since_ms, now_ms)
        except Exception as error:
            _log.warning("%s: its bands start without the past: %s", alerting.rule.id, error)
            self._telemetry.counter("observe_rule_replay_failures_total", "Bands that could not be folded.").inc()
        finally:
            judge.replaying = False
        return kept is not None

    def _look_back(self, group: _RunningGroup, running: _RunningRule, at_ms: int, now_ms: int) -> None:
        """A rule without a state of its own learns what is known up to the evaluation at `at_ms`."""
        if running.fresh and running.alerting is not None:
            self._starts.begin(running.alerting, self._query_ms(group, at_ms), now_ms)
        running.fresh = False

    def _replay(self, group: _RunningGroup, alerting: RunningAlert, since_ms: int, now_ms: int) -> None:
        """Fold what the store has since `since_ms`: the same judge, the same states, nothing told."""
        from observe.alert.replay import vectors

        interval = group.group.interval_ms
        first = _grid(since_ms, interval, group.offset_ms) + interval
        last = _grid(now_ms, interval, group.offset_ms) - interval
        if first > last:
            return
        offset = first - self._query_ms(group, first)
        for vector in vectors(self._query, alerting.rule.expr, first - offset, last - offset, interval):
            if len(vector.labels) or alerting.state:
                alerting.evaluate(vector, vector.time_ms + offset)

    def _reconcile(self, now_ms: int) -> None:
        """No alert is stuck: what the ledger has open goes on in its rule, or ends because its rule is gone."""
        assert self._ledger is not None
        by_rule: dict[str, list[RunningAlert]] = {}
        for group in self._groups:
            for running in group.rules:
                if running.alerting is not None:
                    by_rule.setdefault(running.alerting.rule.id, []).append(running.alerting)
        orphans: list[Alert] = []
        for alert in self._ledger.open_alerts():
            if not alert.rule:
                continue  # pushed by somebody else through the API
            owner = next((one for one in by_rule.get(alert.rule, []) if _may_own(one, alert)), None)
            if owner is None:
                orphans.append(replace(
                    alert, state=AlertState.RESOLVED, ends_at_ms=now_ms, updated_at_ms=now_ms,
                    reason=Reason.RULE_REMOVED,
                ))
                continue
            series = next((series for series, labels in owner.names().items() if labels == alert.labels), None)
            if series is None:
                series = _series_of(owner.rule, alert.labels)
                instance = Instance(series, AlertState.FIRING, alert.starts_at_ms, alert.starts_at_ms,
                                    reason=alert.reason, evidence=_evidence_of(alert))
            else:
                instance = replace(owner.state[series], state=AlertState.FIRING, fired_at_ms=alert.starts_at_ms)
            owner.seed({**owner.state, series: instance}, {series: alert.labels})
        self._send(orphans, now_ms)

    def _keep(self, now_ms: int) -> None:
        """Write snapshots: at once where an alert changed, else a rule at a time, each with its own tick."""
        if self._keeper is None:
            return
        written = False
        for group in self._groups:
            for running in group.rules:
                alerting = running.alerting
                if alerting is None or group.last_due_ms is None or self._starts.is_learning(alerting):
                    continue  # a snapshot would say that there is nothing more to learn
                # A band's alerts can be folded from the store again; what a plain rule holds pending cannot.
                changed = alerting.band_judge is None and self._keeper.is_changed(alerting.key)
                # A large snapshot is taken more rarely: it may cost the data thread a hundredth of its time.
                every_ms = max(self._settings.snapshot_every_ms, int(100_000 * running.snapshot_took_s))
                old = now_ms - running.snapshot_at_ms >= every_ms
                if changed or (old and not written and (alerting.band_judge is not None or alerting.state)):
                    began = self._clock.monotonic()
                    self._keeper.save(alerting, group.last_due_ms)
                    running.snapshot_took_s = self._clock.monotonic() - began
                    running.snapshot_at_ms = now_ms
                    written = True

    def close(self, now_ms: int) -> None:
        """Write every snapshot: a stop loses nothing, and the next start has nothing to fold but the time between."""
        self._starts.close()
        if self._keeper is None:
            return
        for group in self._groups:
            for running in group.rules:
                alerting = running.alerting
                if alerting is not None and group.last_due_ms is not None and not self._starts.is_learning(alerting):
                    self._keeper.save(alerting, min(group.last_due_ms, now_ms))

    # ------------------------------------------------------------ the book

    def rules(self) -> list[RuleStatus]:
        with self._lock:
            groups = list(self._groups)
        return [self._status(group, running) for group in groups for running in group.rules]

    def _status(self, group: _RunningGroup, running: _RunningRule) -> RuleStatus:
        rule, health, alerting = running.rule, running.health, running.alerting
        judge = alerting.band_judge if alerting is not None else None
        total, ready = judge.counts if judge is not None else (running.series, 0)
        return RuleStatus(
            rule.group, rule.file, rule.name, "alerting" if alerting is not None else "recording", rule.expr,
            group.group.interval_ms, Labels(rule.labels), rule.annotations, rule.for_ms, rule.keep_firing_for_ms,
            band_text(rule), "err" if health.health == "err" else "ok" if health.health == "ok" else "unknown",
            health.last_error, health.last_evaluation_ms, health.last_duration_s, total, ready,
            self._ready_in_ms(running, group.group.interval_ms, total, ready),
            alerting.current if alerting is not None else (),
            self._starts.told(alerting) if alerting is not None else None,
            budget_of(alerting) if alerting is not None else None,
        )

    def _ready_in_ms(self, running: _RunningRule, interval_ms: int, total: int, ready: int) -> int | None:
        """How long until what has been seen from the start has a band; younger series take longer."""
        band = running.rule.band
        if band is None or ready >= total or running.first_ms is None:
            return None
        needed_ms = band.window_ms or band.window * interval_ms
        return max(interval_ms, needed_ms - (self._clock.now_ms() - running.first_ms))

    def active(self) -> list[Alert]:
        worst = {"critical": 0, "error": 1, "warning": 2, "info": 3, "none": 5}
        return sorted(self._book, key=lambda alert: (
            alert.state is not AlertState.FIRING, worst.get(alert.labels.get("severity", ""), 4), -(alert.score or 0.0),
            alert.starts_at_ms, alert.labels,
        ))

    def odd(self) -> list[OddSeries]:
        with self._lock:
            groups = list(self._groups)
        found: list[OddSeries] = []
        for running in (running for group in groups for running in group.rules):
            if running.alerting is not None and running.alerting.band_judge is not None:
                firing = {series for series, one in running.alerting.state.items() if one.state is AlertState.FIRING}
                found.extend(running.alerting.band_judge.odd(firing))
        return sorted(found, key=lambda one: -abs(one.score) if np.isfinite(one.score) else 0.0)

    def explain(self, rule: str, labels: Mapping[str, str], limit: int = 5) -> list[ExplainedBand]:
        with self._lock:
            groups = list(self._groups)
        judges = [
            running.alerting.band_judge for group in groups for running in group.rules
            if running.alerting is not None and rule in {running.rule.id, running.rule.name}
        ]
        return [told for judge in judges if judge is not None for told in judge.explain(labels, limit)][:limit]

    def explain_alert(self, alert: Alert, say: Callable[[float], str] | None = None) -> tuple[str, ...]:
        """Why this alert's band is where it is, sentence by sentence; empty for a rule without a band."""
        with self._lock:
            groups = list(self._groups)
        for running in (running for group in groups for running in group.rules if running.rule.id == alert.rule):
            if running.alerting is not None and running.alerting.band_judge is not None:
                found = running.alerting.explain(alert)
                if found is not None:
                    return found.told(say) if say is not None else found.words
        return ()

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        return self._ledger.history(since_ms, fingerprint, limit) if self._ledger is not None else []


def _grid(now_ms: int, interval_ms: int, offset_ms: int) -> int:
    """The latest n·interval + offset that is not after now."""
    return (now_ms - offset_ms) // interval_ms * interval_ms + offset_ms


def _spread(group: RuleGroup) -> int:
    """An offset within the interval that is the same in every process and after every restart."""
    digest = hashlib.blake2b(f"{group.name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % group.interval_ms


def _may_own(alerting: RunningAlert, alert: Alert) -> bool:
    fixed = {name: text for name, text in alerting.rule.labels.items() if "{{" not in text}
    return all(alert.labels.get(name, "") == text for name, text in fixed.items())


def _series_of(rule: Rule, labels: Labels) -> Labels:
    """The result series behind an alert, as far as its labels tell: without what the rule adds."""
    return labels.without("alertname", *rule.labels)


def _evidence_of(alert: Alert) -> Evidence:
    return Evidence(alert.value, alert.baseline, alert.lower, alert.upper, alert.score)
