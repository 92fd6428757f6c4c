"""Taking up where the process before stopped: snapshots, the store since then, and the ledger's open alerts."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from observe.alert.replay import vectors
from observe.alert.rules import Rule
from observe.alert.running import RunningAlert
from observe.alert.schedule import EvaluatorSettings, RunningGroup, grid
from observe.alert.state_file import Kept
from observe.alert.states import Evidence, Instance
from observe.errors import StorageError
from observe.model import Alert, AlertState, Labels, Reason
from observe.protocols import QueryEngine
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)


def resume(
    group: RunningGroup, alerting: RunningAlert, kept: Kept | None, now_ms: int, *, query: QueryEngine,
    settings: EvaluatorSettings, telemetry: Telemetry, refuse: Callable[[str, str], None],
) -> bool:
    """Restore one rule and fold the store from there. True where a snapshot was of use; else `refuse` is told why."""
    since_ms = now_ms - settings.replay_ms
    alerting.settle_until_ms = now_ms + settings.settle_ms
    judge = alerting.band_judge
    if kept is not None and judge is not None:
        try:
            judge.engine.restore(kept.engine)
            judge.recall(kept.memory)
            since_ms = max(kept.at_ms, since_ms)
        except StorageError as error:
            refuse(alerting.key, str(error))
            kept = None
    if kept is not None:
        fresh = now_ms - kept.at_ms <= settings.outage_tolerance_ms
        alerting.seed(
            {series: one for series, one in kept.state.items() if fresh or one.state is AlertState.FIRING},
            kept.names,
        )
    if judge is None:
        return kept is not None
    try:
        judge.replaying = True
        _replay(group, alerting, since_ms, now_ms, query, settings)
    except Exception as error:
        _log.warning("%s: its bands start without the past: %s", alerting.rule.id, error)
        telemetry.counter("observe_rule_replay_failures_total", "Bands that could not be folded.").inc()
    finally:
        judge.replaying = False
    return kept is not None


def _replay(
    group: RunningGroup, alerting: RunningAlert, since_ms: int, now_ms: int, query: QueryEngine,
    settings: EvaluatorSettings,
) -> None:
    """Fold what the store has since `since_ms`: the same judge, the same states, nothing told."""
    interval = group.group.interval_ms
    first = grid(since_ms, interval, group.offset_ms) + interval
    last = group.due_ms(now_ms, before=1)
    if first > last:
        return
    offset = first - group.query_ms(first, settings.query_offset_ms)
    for vector in vectors(query, alerting.rule.expr, first - offset, last - offset, interval):
        if len(vector.labels) or alerting.state:
            alerting.evaluate(vector, vector.time_ms + offset)


def reconcile(groups: Iterable[RunningGroup], open_alerts: Sequence[Alert], now_ms: int) -> list[Alert]:
    """No alert is stuck: what the ledger has open goes on in its rule, or is returned as ended with its rule."""
    by_rule: dict[str, list[RunningAlert]] = {}
    for group in groups:
        for running in group.rules:
            if running.alerting is not None:
                by_rule.setdefault(running.alerting.rule.id, []).append(running.alerting)
    orphans: list[Alert] = []
    for alert in open_alerts:
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
                                reason=alert.reason, evidence=_evidence_of(alert), wrong=_evidence_of(alert))
        else:
            instance = replace(owner.state[series], state=AlertState.FIRING, fired_at_ms=alert.starts_at_ms)
        owner.seed({**owner.state, series: instance}, {series: alert.labels})
    return orphans


def _may_own(alerting: RunningAlert, alert: Alert) -> bool:
    fixed = {name: text for name, text in alerting.rule.labels.items() if "{{" not in text}
    return all(alert.labels.get(name, "") == text for name, text in fixed.items())


def _series_of(rule: Rule, labels: Labels) -> Labels:
    """The result series behind an alert, as far as its labels tell: without what the rule adds."""
    return labels.without("alertname", *rule.labels)


def _evidence_of(alert: Alert) -> Evidence:
    return Evidence(alert.value, alert.baseline, alert.lower, alert.upper, alert.score)
