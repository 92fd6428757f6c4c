"""The groups that alerts are told in: which there are, who is in them, and when it is their turn.

Not safe from several threads by itself: the notifier calls it under its lock. Time is an argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from observe.model import Alert, AlertState, Labels, Reason
from observe.notify.dedup import Identity, Sent, identity
from observe.notify.pipeline import Flush, Held
from observe.notify.routes import Leg, legs
from observe.notify.settings import NotifySettings
from observe.protocols import Delivery
from observe.telemetry import Telemetry

_NEVER_MS = 2**62
_LONGEST_RETRY_AFTER_MS = 3_600_000


@dataclass
class Group:
    """Alerts that one receiver hears of together, and when it is their turn."""

    leg: Leg
    key: str
    labels: Labels
    alerts: dict[Identity, Alert] = field(default_factory=dict)
    due_ms: int = 0
    dirty: bool = True
    """Something changed since the last flush."""
    flushed_ms: int | None = None
    attempts: int = 0
    """Failed attempts at the message that is due."""
    problem: str = ""
    """What the receiver answered to the last of them."""
    in_flight: bool = False
    held: dict[Identity, Held] = field(default_factory=dict)
    """Who was held back by a silence or another alert, at the last flush."""

    @property
    def place(self) -> tuple[str, str]:
        return self.leg.receiver, self.key


class Groups:
    """Every group, by receiver and key, and what each receiver knows of it."""

    def __init__(self, settings: NotifySettings, telemetry: Telemetry) -> None:
        self.settings = settings
        self.sent: dict[tuple[str, str], Sent] = {}
        """What every receiver was last told of every group."""
        self._telemetry = telemetry
        self._groups: dict[tuple[str, str], Group] = {}
        self._placed: dict[Identity, tuple[Group, ...]] = {}
        """The groups of each open alert."""

    # ------------------------------------------------------------ alerts come and go

    def take(self, alert: Alert, now_ms: int) -> None:
        """Put an alert that is new, or over, into its groups, and see that they are told."""
        one = identity(alert)
        firing = alert.state is AlertState.FIRING
        placed = []
        for leg in legs(self.settings, alert.labels):
            key, shared = leg.group(alert.labels)
            group = self._groups.get((leg.receiver, key))
            if group is None:
                if len(self._groups) >= self.settings.max_groups:
                    self._telemetry.dropped("notify", "group limit")
                    continue
                group = self._new(leg, key, shared, now_ms + leg.group_wait_ms)
            else:
                group.dirty = True
                last = group.flushed_ms
                due_ms = max(now_ms + (group.leg.group_wait_ms if firing else 0),
                             0 if last is None else last + leg.group_interval_ms)
                if not group.attempts:  # else the next try of the failing message brings this along
                    group.due_ms = min(group.due_ms, due_ms)
            group.alerts[one] = alert
            placed.append(group)
        if firing:
            self._placed[one] = tuple(placed)
        else:
            self._placed.pop(one, None)

    def renew(self, alert: Alert) -> None:
        """The same alert with newer numbers."""
        one = identity(alert)
        for group in self._placed.get(one, ()):
            group.alerts[one] = alert

    def resume(self, alert: Alert, now_ms: int) -> None:
        """Put an alert that others were told of before (a restart, a reload) where it is told what is still untold."""
        one = identity(alert)
        for leg in legs(self.settings, alert.labels):
            key, shared = leg.group(alert.labels)
            sent = self.sent.get((leg.receiver, key))
            told = sent is not None and one in sent.firing
            if alert.state is AlertState.RESOLVED and (sent is None or not told or one in sent.resolved):
                continue
            group = self._groups.get((leg.receiver, key)) or self._new(leg, key, shared, _NEVER_MS)
            group.alerts[one] = alert
            if alert.state is AlertState.FIRING:
                self._placed[one] = (*self._placed.get(one, ()), group)
            if sent is None:
                due_ms = max(now_ms, alert.starts_at_ms + leg.group_wait_ms)
            elif told and alert.state is AlertState.FIRING:
                due_ms = sent.at_ms + leg.repeat_interval_ms
            else:
                due_ms = max(now_ms, sent.at_ms + leg.group_interval_ms)
            group.due_ms = min(group.due_ms, due_ms)

    def _new(self, leg: Leg, key: str, shared: Labels, due_ms: int) -> Group:
        sent = self.sent.get((leg.receiver, key))
        group = Group(leg, key, shared, due_ms=due_ms, flushed_ms=sent.at_ms if sent is not None else None)
        self._groups[group.place] = group
        return group

    def reconfigure(self, settings: NotifySettings, open_alerts: Iterable[Alert], now_ms: int) -> None:
        """Group anew by other settings; nothing is told twice."""
        alerts = {one: alert for group in self._groups.values() for one, alert in group.alerts.items()}
        alerts.update({identity(alert): alert for alert in open_alerts})
        self.settings = settings
        self._groups = {}
        self._placed = {}
        for alert in alerts.values():
            self.resume(alert, now_ms)

    def recheck(self, now_ms: int) -> None:
        """A silence came or went: look at every group that holds something back."""
        for group in self._groups.values():
            if group.held:
                group.due_ms = min(group.due_ms, now_ms)

    def forget(self, before_ms: int) -> None:
        """What was told of groups that are long empty."""
        self.sent = {place: sent for place, sent in self.sent.items() if sent.at_ms >= before_ms or sent.firing}

    # ------------------------------------------------------------ turns

    def start_due(self, now_ms: int) -> list[Group]:
        """The groups whose turn it is; each is in flight until it is settled or failed."""
        due = [group for group in self._groups.values() if group.due_ms <= now_ms and not group.in_flight]
        for group in due:
            group.in_flight = True
        return due

    def next_due_ms(self) -> int:
        return min((group.due_ms for group in self._groups.values() if not group.in_flight), default=_NEVER_MS)

    def begin(self, group: Group, now_ms: int) -> Flush:
        """The group as it is now, on its way into the chain."""
        group.dirty = False
        return Flush(now_ms, group.leg, group.key, group.labels, tuple(group.alerts.values()),
                     self.sent.get(group.place), group.attempts)

    def settle(self, group: Group, flush: Flush, now_ms: int) -> list[Identity]:
        """After the chain: who is done leaves the group (and is returned), and the group gets its next turn."""
        receipt = flush.receipt
        group.held = {identity(one.alert): one for one in flush.held
                      if one.reason in {Reason.SILENCED, Reason.INHIBITED, Reason.NEVER_SENT}}
        if receipt is not None and not receipt.ok:
            wait_ms = self._again(group, receipt.detail, receipt.retry_after_s)
            group.due_ms = now_ms + (wait_ms if receipt.retryable else max(group.leg.group_interval_ms, wait_ms))
            return []
        if receipt is not None:
            group.attempts, group.problem, group.flushed_ms = 0, "", now_ms
        done = self._finished(group, flush)
        if not group.alerts:
            if self._groups.get(group.place) is group:  # a reload may have put another one there meanwhile
                del self._groups[group.place]
        elif group.dirty:  # changed while we were sending
            group.due_ms = now_ms + group.leg.group_interval_ms
        else:
            sent = self.sent.get(group.place)
            holds = any(one.reason in {Reason.SILENCED, Reason.INHIBITED} for one in group.held.values())
            repeat_ms = (sent.at_ms if sent is not None else now_ms) + group.leg.repeat_interval_ms
            again_ms = min(repeat_ms, now_ms + group.leg.group_interval_ms) if holds else repeat_ms
            group.due_ms = max(now_ms + 1, again_ms)
        return done

    def note(self, delivery: Delivery, sent: Sent | None) -> None:
        """What a receiver knows after a delivery; None: as before."""
        if sent is not None:
            self.sent[delivery.receiver, delivery.group_key] = sent

    def failed(self, group: Group, problem: str, now_ms: int) -> None:
        """The chain itself failed: the group is tried again later."""
        group.due_ms = now_ms + self._again(group, problem, None)

    def _finished(self, group: Group, flush: Flush) -> list[Identity]:
        over = {identity(alert) for alert in (*flush.alerts, *(one.alert for one in flush.held))
                if alert.state is AlertState.RESOLVED}
        done = [one for one in over
                if (current := group.alerts.get(one)) is not None and current.state is AlertState.RESOLVED]
        for one in done:
            del group.alerts[one]
        return done

    def _again(self, group: Group, problem: str, retry_after_s: float | None) -> int:
        """Count a failed attempt; how long until the next."""
        group.attempts += 1
        group.problem = problem
        group.dirty = True
        settings = self.settings
        grown: int = min(settings.retry_most_ms, settings.retry_first_ms << min(group.attempts - 1, 30))
        return max(grown, min(int((retry_after_s or 0) * 1000), _LONGEST_RETRY_AFTER_MS))

    # ------------------------------------------------------------ looked at

    def of(self, alert: Alert) -> list[tuple[Leg, Group | None, Sent | None]]:
        """Where an alert belongs, the group there if it has one, and what its receiver was last told."""
        found = []
        for leg in legs(self.settings, alert.labels):
            place = leg.receiver, leg.group(alert.labels)[0]
            found.append((leg, self._groups.get(place), self.sent.get(place)))
        return found
