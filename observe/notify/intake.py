"""Which alerts are open: what of what comes in is news, what others pushed, and what ends because nobody says it again.

Not safe from several threads by itself: the notifier calls it under its lock. Time is an argument.
"""

from collections.abc import Sequence
from dataclasses import replace

from observe.model import Alert, AlertState, Reason
from observe.notify.dedup import Identity, identity
from observe.telemetry import Telemetry


class OpenAlerts:
    """Every firing alert, at most `most` of them."""

    def __init__(self, most: int, telemetry: Telemetry) -> None:
        self._most = most
        self._telemetry = telemetry
        self._open: dict[Identity, Alert] = {}
        self._pushed_until: dict[Identity, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, one: Identity) -> bool:
        return one in self._open

    def all(self) -> list[Alert]:
        return list(self._open.values())

    def news(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Those that begin or end something. Beginnings beyond the limit are refused and counted."""
        found = [alert for alert in alerts if self._is_news(alert)]
        begun = [alert for alert in found if alert.state is AlertState.FIRING]
        room = max(0, self._most - len(self._open))
        if len(begun) <= room:
            return found
        refused = {id(alert) for alert in begun[room:]}
        self._telemetry.dropped("notify", "alert limit", len(refused))
        return [alert for alert in found if id(alert) not in refused]

    def _is_news(self, alert: Alert) -> bool:
        if alert.state is AlertState.FIRING:
            return identity(alert) not in self._open
        return alert.state is AlertState.RESOLVED

    def take(self, alert: Alert) -> None:
        """Begin, renew or end one."""
        one = identity(alert)
        if alert.state is AlertState.FIRING:
            self._open[one] = alert
        else:
            self._open.pop(one, None)
            self._pushed_until.pop(one, None)

    # ------------------------------------------------------------ pushed by somebody else

    def pushed(self, alerts: Sequence[Alert], timeout_ms: int, now_ms: int) -> list[tuple[Alert, int]]:
        """Alerts as somebody else pushed them, as events of ours, each with the time until when it stands for itself.

        Those that are taken must be pushed again until then (`expect_again`), or end.
        """
        by_labels = {alert.labels: alert for alert in self._open.values()}
        events = []
        for alert in alerts:
            known = by_labels.get(alert.labels)
            begun = replace(alert, starts_at_ms=known.starts_at_ms) if known is not None else alert
            ended = begun.ends_at_ms is not None and begun.ends_at_ms <= now_ms
            if ended and known is None:
                continue
            if ended:
                events.append((replace(begun, state=AlertState.RESOLVED, reason=Reason.CONDITION_CLEARED), now_ms))
                continue
            event = replace(begun, state=AlertState.FIRING, reason=Reason.CONDITION_MET, ends_at_ms=None)
            events.append((event, begun.ends_at_ms or now_ms + timeout_ms))
        return events

    def expect_again(self, alert: Alert, until_ms: int) -> None:
        """A pushed alert that was taken: it ends unless it is pushed again until then."""
        if identity(alert) in self._open:
            self._pushed_until[identity(alert)] = until_ms

    def expired(self, now_ms: int) -> list[Alert]:
        """Ends of pushed alerts that nobody pushed again."""
        over = {one: until for one, until in self._pushed_until.items() if until <= now_ms}
        for one in over:
            del self._pushed_until[one]
        return [
            replace(self._open[one], state=AlertState.RESOLVED, ends_at_ms=until, updated_at_ms=now_ms,
                    reason=Reason.CONDITION_CLEARED)
            for one, until in over.items() if one in self._open
        ]
