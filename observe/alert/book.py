"""What the rules say now: the `AlertBook` that the console reads. From any thread."""

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from observe.alert.cold_start import ColdStarts, budget_of
from observe.alert.schedule import RunningGroup, RunningRule
from observe.clock import Clock
from observe.detect.band import Band
from observe.duration import format_duration
from observe.model import Alert, AlertState, Labels
from observe.protocols import ExplainedBand, OddSeries, RuleStatus

_WORST_FIRST = {"critical": 0, "error": 1, "warning": 2, "info": 3, "none": 5}


class Ledger(Protocol):
    """What is asked of whoever keeps the alerts."""

    def open_alerts(self) -> list[Alert]:
        """Alerts that were accepted as firing and are not resolved."""

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]: ...


class RuleBook:
    """The reading half of the evaluator: it swaps finished lists and tuples in, and these are read."""

    def __init__(self, clock: Clock, ledger: Ledger | None, starts: ColdStarts) -> None:
        self._clock = clock
        self._ledger = ledger
        self._starts = starts
        self._lock = threading.Lock()
        self._groups: list[RunningGroup] = []
        self._book: tuple[Alert, ...] = ()

    def rules(self) -> list[RuleStatus]:
        return [self._status(group, running) for group in self._all() for running in group.rules]

    def _all(self) -> list[RunningGroup]:
        with self._lock:
            return list(self._groups)

    def _running(self) -> list[RunningRule]:
        return [running for group in self._all() for running in group.rules]

    def _status(self, group: RunningGroup, running: RunningRule) -> RuleStatus:
        rule, health, alerting = running.rule, running.health, running.alerting
        judge = alerting.band_judge if alerting is not None else None
        total, ready = judge.counts if judge is not None else (running.series, 0)
        return RuleStatus(
            rule.group, rule.file, rule.name, "alerting" if alerting is not None else "recording", rule.expr,
            group.group.interval_ms, Labels(rule.labels), rule.annotations, rule.for_ms, rule.keep_firing_for_ms,
            _settings_of(rule.band) if rule.band is not None else None, health.health,
            health.last_error, health.last_evaluation_ms, health.last_duration_s, total, ready,
            self._ready_in_ms(running, group.group.interval_ms, total, ready),
            alerting.current if alerting is not None else (),
            group.group.limit,
            self._starts.told(alerting) if alerting is not None else None,
            budget_of(alerting) if alerting is not None else None,
        )

    def _ready_in_ms(self, running: RunningRule, interval_ms: int, total: int, ready: int) -> int | None:
        """How long until what has been seen from the start has a band; younger series take longer."""
        band = running.rule.band
        if band is None or ready >= total or running.first_ms is None:
            return None
        needed_ms = band.window_ms or band.window * interval_ms
        return max(interval_ms, needed_ms - (self._clock.now_ms() - running.first_ms))

    def active(self) -> list[Alert]:
        """Pending and firing alerts, worst first."""
        return sorted(self._book, key=lambda alert: (
            alert.state is not AlertState.FIRING, _WORST_FIRST.get(alert.labels.get("severity", ""), 4),
            -(alert.score or 0.0), alert.starts_at_ms, alert.labels,
        ))

    def odd(self) -> list[OddSeries]:
        found: list[OddSeries] = []
        for running in self._running():
            if running.alerting is not None and running.alerting.band_judge is not None:
                firing = {series for series, one in running.alerting.state.items() if one.state is AlertState.FIRING}
                found.extend(running.alerting.band_judge.odd(firing))
        return sorted(found, key=lambda one: -abs(one.score) if np.isfinite(one.score) else 0.0)

    def explain(self, rule: str, labels: Mapping[str, str], limit: int = 5) -> list[ExplainedBand]:
        """Why the bands of this rule's series with these labels are where they are."""
        judges = [
            running.alerting.band_judge for running in self._running()
            if running.alerting is not None and rule in {running.rule.id, running.rule.name}
        ]
        return [told for judge in judges if judge is not None for told in judge.explain(labels, limit)][:limit]

    def explain_alert(self, alert: Alert, say: Callable[[float], str] | None = None) -> tuple[str, ...]:
        """Why this alert's band is where it is, sentence by sentence; empty for a rule without a band."""
        for running in self._running():
            alerting = running.alerting
            if running.rule.id == alert.rule and alerting is not None and alerting.band_judge is not None:
                found = alerting.explain(alert)
                if found is not None:
                    return found.told(say) if say is not None else found.words
        return ()

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        """Alerts that fired since then, the newest first, from the ledger: ended ones too."""
        return self._ledger.history(since_ms, fingerprint, limit) if self._ledger is not None else []


def _settings_of(band: Band) -> dict[str, str]:
    """The effective `band:` settings as the console shows them."""
    shown = {
        "detector": band.detector,
        "window": format_duration(band.window_ms) if band.window_ms else f"{band.window} points",
        "k": band.sensitivity if band.detector == "auto" else f"{band.k:g}",
        "direction": band.direction,
        "min_abs": f"{band.min_abs:g}",
        "min_rel": f"{band.min_rel:.4g}" if not band.min_rel else f"{band.min_rel * 100:.4g}%",
        "trigger": str(band.trigger),
        "recover": str(band.recover),
        "hold": "true" if band.hold else "false",
        "relearn_after": format_duration(band.relearn_after_ms),
        "timezone": band.timezone,
        "no_data": band.no_data,
    }
    if band.budget is not None:
        shown["budget"] = str(band.budget.pages) + " per " + format_duration(band.budget.per_ms)
        del shown["k"]
    if band.by:
        shown["by"] = ", ".join(band.by)
    if band.history:
        shown["history"] = band.history
    return shown
