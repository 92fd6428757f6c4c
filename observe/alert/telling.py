"""Alert events on their way to the notify stage: what it does not take is told again with the next evaluation."""

import logging
from collections.abc import Sequence

from observe.alert.states import Transition
from observe.errors import ObserveError
from observe.model import Alert, AlertState, Labels
from observe.protocols import AlertSink
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)


class Teller:
    """On the data thread alone."""

    def __init__(self, sink: AlertSink, telemetry: Telemetry) -> None:
        self._sink = sink
        self._unsent: dict[tuple[Labels, int], Alert] = {}
        self._transitions = telemetry.counter(
            "observe_alert_transitions_total", "Alerts that changed their state.", ("after", "reason"))
        self._failures = telemetry.counter(
            "observe_alert_handover_failures_total", "Alert events that the sink did not take at once.")

    def note(self, rule: str, changes: Sequence[Transition]) -> None:
        """Count and log what changed."""
        for change in changes:
            self._transitions.labels(str(change.after), str(change.reason)).inc()
            _log.info("%s %s %s", rule, change.instance.series, change)

    def send(self, alerts: Sequence[Alert], now_ms: int) -> None:
        if not alerts:
            return
        try:
            self._sink.accept(alerts, now_ms)
        except Exception as error:
            # Firing alerts come again with the next evaluation; what has ended would not, so it is kept.
            for alert in alerts:
                if alert.state is AlertState.RESOLVED:
                    self._unsent[alert.labels, alert.starts_at_ms] = alert
            self._failures.inc()
            _log.error("alerts not taken, kept for the next evaluation: %s", error)
            if not isinstance(error, ObserveError):
                _log.exception("alert sink failed")

    def send_again(self, now_ms: int) -> None:
        """What was not taken before."""
        if self._unsent:
            waiting, self._unsent = list(self._unsent.values()), {}
            self.send(waiting, now_ms)
