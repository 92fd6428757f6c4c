"""The loop body of alerting: what is due is evaluated, at n·interval + offset; nothing that fails stops the rest.

`RuleEvaluator.tick` runs on the data thread. Queries may run beside it on an executor (an attached store answers over
HTTP); judging, states and writing never do.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from observe.alert.book import Ledger, RuleBook
from observe.alert.cold_start import ColdStarts
from observe.alert.keeping import Keeper
from observe.alert.learning import Learner
from observe.alert.recording import Recorder, key_of
from observe.alert.resuming import reconcile, resume
from observe.alert.rules import Rule, RuleGroup
from observe.alert.running import MakeEngine, RunningAlert, active_since
from observe.alert.schedule import (
    Answers,
    EvaluatorSettings,
    RunningGroup,
    RunningRule,
    answer_of,
    ask_ahead,
    grid,
    offset_of,
)
from observe.alert.states import remove
from observe.alert.telling import Teller
from observe.alert.written import SeriesWriter
from observe.clock import Clock
from observe.errors import ObserveError
from observe.model import Alert, Reason, Vector
from observe.protocols import AlertSink, QueryEngine, SampleSink
from observe.telemetry import Telemetry

__all__ = ["EvaluatorSettings", "Ledger", "RuleEvaluator"]

_log = logging.getLogger(__name__)


class RuleEvaluator(RuleBook):
    """Runs rule groups; is the `AlertBook` that the console reads."""

    def __init__(
        self, groups: Sequence[RuleGroup], query: QueryEngine, sink: SampleSink | None, alerts: AlertSink,
        make_engine: MakeEngine, clock: Clock, telemetry: Telemetry, *,
        settings: EvaluatorSettings | None = None, folder: Path | None = None, ledger: Ledger | None = None,
        executor: Executor | None = None, learner: Learner | None = None,
    ) -> None:
        # Without a learner bands start from `replay_ms` of the store, and no further back.
        super().__init__(clock, ledger, ColdStarts(learner))
        self._query = query
        self._make_engine = make_engine
        self._telemetry = telemetry
        self._settings = settings or EvaluatorSettings()
        self._writer = SeriesWriter(sink, telemetry, self._settings.replica) if sink is not None else None
        self._recorder = Recorder(self._writer)
        self._teller = Teller(alerts, telemetry)
        self._keeper = Keeper(folder, clock, telemetry) if folder is not None else None
        self._executor = executor
        self._started = False
        self._evaluations = telemetry.counter("observe_rule_evaluations_total", "Rule evaluations.", ("group",))
        self._failures = telemetry.counter(
            "observe_rule_evaluation_failures_total", "Rule evaluations that failed.", ("group",))
        self._missed = telemetry.counter(
            "observe_rule_group_iterations_missed_total",
            "Times at which a group was due but the one before was still running or the server was busy.", ("group",))
        self._duration = telemetry.histogram(
            "observe_rule_group_duration_seconds", "Time that one evaluation of a group took.", ("group",))
        self.load(groups)

    # ------------------------------------------------------------ rules come and go

    def load(self, groups: Sequence[RuleGroup], now_ms: int | None = None) -> None:
        """Run these groups from now on. Rules that judge as before keep their state; removed rules resolve."""
        before = {running.alerting.key: running for group in self._groups for running in group.rules
                  if running.alerting is not None}
        made: list[RunningGroup] = []
        last_due = {(group.group.file, group.group.name): group.last_due_ms for group in self._groups}
        for group in groups:
            rules = [self._made(rule, group, before) for rule in group.rules]
            before_ms = last_due.get((group.file, group.name))
            made.append(RunningGroup(group, offset_of(group, self._settings), rules, before_ms))
        old_records = {key_of(running.rule) for group in self._groups for running in group.rules
                       if running.alerting is None}
        new_records = {key_of(rule) for group in groups for rule in group.rules if rule.kind == "recording"}
        with self._lock:
            self._groups = made
        if now_ms is None:
            now_ms = self._clock.now_ms()
        self._starts.keep_only({running.alerting.key for group_made in made for running in group_made.rules
                                if running.alerting is not None})
        for group_made in made if self._started else ():
            for running in group_made.rules:
                self._look_back(group_made, running, group_made.due_ms(now_ms))
        gone = [running.alerting for running in before.values() if running.alerting is not None]
        self._retire(gone, now_ms)
        if self._writer is not None:
            for key in old_records - new_records:
                self._writer.end(key, now_ms)
        self._recorder.forget()

    def _made(self, rule: Rule, group: RuleGroup, before: dict[str, RunningRule]) -> RunningRule:
        if rule.kind == "recording":
            return RunningRule(rule, None)
        kept = before.pop(rule.key(group.interval_ms), None)
        if kept is not None and kept.alerting is not None:
            kept.rule = rule
            kept.alerting.change_texts(rule)
            return kept
        alerting = RunningAlert(
            rule, group.interval_ms, self._query, self._make_engine, self._settings.around, group.limit,
        )
        return RunningRule(rule, alerting)

    def _retire(self, gone: Sequence[RunningAlert], now_ms: int) -> None:
        ended: list[Alert] = []
        for alerting in gone:
            changes = remove(alerting.state, Reason.RULE_REMOVED, now_ms)
            self._teller.note(alerting.rule.id, changes)
            ended.extend(alerting.end(change.instance, now_ms, Reason.RULE_REMOVED) for change in changes)
            if self._writer is not None:
                self._writer.end("alerts " + alerting.key, now_ms)
                if alerting.band_judge is not None:
                    self._writer.end_band(alerting.rule.id, now_ms)
            if self._keeper is not None:
                self._keeper.remove(alerting.key)
        self._teller.send(ended, now_ms)

    # ------------------------------------------------------------ evaluation

    def next_due_ms(self, now_ms: int) -> int:
        """The next time at which a group is due, so that the loop knows how long to wait."""
        return min(
            (grid(now_ms, group.group.interval_ms, group.offset_ms) + group.group.interval_ms
             for group in self._groups), default=now_ms + 60_000,
        )

    def tick(self, now_ms: int) -> int:
        """Evaluate every group that is due. Returns how many rules were evaluated."""
        if not self._started:
            self._start(now_ms)
        for group in self._groups:
            until_ms = group.query_ms(group.due_ms(now_ms, before=1), self._settings.query_offset_ms)
            for running in group.rules:
                if running.alerting is not None and self._starts.tick(running.alerting, until_ms, now_ms):
                    running.snapshot_at_ms = 0  # keep what was learned soon
        due: list[tuple[RunningGroup, int]] = []
        for group in self._groups:
            at_ms = grid(now_ms, group.group.interval_ms, group.offset_ms)
            if group.last_due_ms is not None and at_ms <= group.last_due_ms:
                continue
            if group.last_due_ms is not None:
                missed = (at_ms - group.last_due_ms) // group.group.interval_ms - 1
                if missed > 0:
                    self._missed.labels(group.group.name).inc(missed)
            group.last_due_ms = at_ms
            due.append((group, at_ms))
        answers = ask_ahead(due, self._query, self._executor, self._settings) if self._executor is not None else {}
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
            self._teller.send_again(now_ms)
            self._keep(now_ms)
        return count

    def _evaluate(
        self, group: RunningGroup, running: RunningRule, at_ms: int, answers: Answers,
    ) -> None:
        began = self._clock.monotonic()
        running.health.last_evaluation_ms = at_ms
        self._evaluations.labels(group.group.name).inc()
        try:
            query_ms = group.query_ms(at_ms, self._settings.query_offset_ms)
            answer = answer_of(running, self._query, query_ms, answers)
            running.series = len(answer.labels)
            if running.first_ms is None and running.series:
                running.first_ms = at_ms
            if running.alerting is None:
                self._recorder.record(running.rule, answer, query_ms, group.group.limit)
                warning = ""
            else:
                self._alert(running.alerting, answer, at_ms, query_ms)
                warning = running.alerting.warning
            running.health.health, running.health.last_error = ("err", warning) if warning else ("ok", "")
        except Exception as error:
            # One rule never stops the others; a programming error is told with its trace.
            if not isinstance(error, ObserveError):
                _log.exception("rule %s failed", running.rule.id)
            elif running.health.health != "err":  # told once, until it works again
                _log.warning("rule %s (%s:%d) cannot be evaluated: %s", running.rule.id, running.rule.file,
                             running.rule.line, error)
            running.health.health, running.health.last_error = "err", str(error) or type(error).__name__
            self._failures.labels(group.group.name).inc()
        running.health.last_duration_s = self._clock.monotonic() - began

    def _alert(self, alerting: RunningAlert, vector: Vector, at_ms: int, query_ms: int) -> None:
        outcome = alerting.evaluate(vector, at_ms)
        self._teller.note(alerting.rule.id, outcome.transitions)
        judge = alerting.band_judge
        if judge is not None and judge.crowded_out:
            self._telemetry.dropped("rules", "gone series", judge.crowded_out)
            judge.crowded_out = 0
        if self._writer is not None:
            if alerting.band_judge is not None and alerting.band_judge.judged is not None:
                self._writer.write_band(alerting.rule.id, query_ms, alerting.band_judge.judged)
            self._writer.write_alerts(alerting.key, query_ms, list(active_since(alerting)))
        self._teller.send(outcome.alerts, at_ms)
        if outcome.transitions and self._keeper is not None:
            self._keeper.changed(alerting.key)

    # ------------------------------------------------------------ stop and start

    def _start(self, now_ms: int) -> None:
        """Take up where the process before stopped: snapshots, the store since then, and the ledger's open alerts."""
        self._started = True
        kept = self._keeper.load() if self._keeper is not None else {}
        for group in self._groups:
            for running in group.rules:
                if running.alerting is not None:
                    saved = kept.pop(running.alerting.key, None)  # and let go of: it may be large
                    restored = resume(
                        group, running.alerting, saved, now_ms, query=self._query, settings=self._settings,
                        telemetry=self._telemetry, refuse=self._refuse)
                    running.fresh = running.fresh and not restored
                    self._look_back(group, running, group.due_ms(now_ms, before=1))
        if self._ledger is not None:
            self._teller.send(reconcile(self._groups, self._ledger.open_alerts(), now_ms), now_ms)

    def _refuse(self, key: str, why: str) -> None:
        if self._keeper is not None:
            self._keeper.set_aside(key, why)

    def _look_back(self, group: RunningGroup, running: RunningRule, at_ms: int) -> None:
        """A rule without a state of its own learns what is known up to the evaluation at `at_ms`."""
        if running.fresh and running.alerting is not None:
            self._starts.begin(running.alerting, group.query_ms(at_ms, self._settings.query_offset_ms))
        running.fresh = False

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
                every_ms = max(self._settings.snapshot_every_ms, int(100_000 * self._keeper.took_s(alerting.key)))
                old = now_ms - running.snapshot_at_ms >= every_ms
                wanted = changed or (old and not written and (alerting.band_judge is not None or alerting.state))
                if wanted and self._keeper.begin(alerting, group.last_due_ms):
                    running.snapshot_at_ms = now_ms
                    written = True

    def keep_on(self) -> bool:
        """Between ticks, on the data thread: one more piece of a large snapshot. True while there are more."""
        return self._keeper is not None and self._keeper.go_on()

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
        self._keeper.close()
