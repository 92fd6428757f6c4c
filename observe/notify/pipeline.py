"""The chain from a group of alerts to a message, as one list. Alerts in, fewer alerts out, a reason for each held back.

``group`` happens where groups live (`groups`); from there on a flush passes `CHAIN`. "Why was I (not) paged?" is then
a query of the ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from observe.alert.evidence import annotations
from observe.model import Alert, AlertState, Labels, Reason
from observe.notify.dedup import Identity, Sent, identity, should_send, split
from observe.notify.routes import Leg
from observe.notify.settings import NotifySettings
from observe.protocols import Delivery, Notification, Receipt, Receiver


@dataclass(frozen=True, slots=True)
class Held:
    """One alert that a stage held back."""

    alert: Alert
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Flush:
    """One group on its way through the chain. One flush sees one now."""

    now_ms: int
    leg: Leg
    group_key: str
    group_labels: Labels
    alerts: tuple[Alert, ...]
    last: Sent | None
    attempts: int = 0
    """Failed attempts at this very message before this one."""
    held: tuple[Held, ...] = ()
    reason: Reason | None = None
    told: Sent | None = None
    """What the receiver will know once this message has arrived."""
    notification: Notification | None = None
    receipt: Receipt | None = None

    def hold(self, held: Sequence[Held]) -> "Flush":
        if not held:
            return self
        out = {identity(one.alert) for one in held}
        left = tuple(alert for alert in self.alerts if identity(alert) not in out)
        return replace(self, alerts=left, held=(*self.held, *held))


class Desk(Protocol):
    """What the stages may ask."""

    settings: NotifySettings

    def inhibiting(self, alert: Alert) -> Sequence[Alert]:
        """The firing alerts that hold this one back."""

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]: ...

    def receiver(self, name: str) -> Receiver: ...

    async def evidence(self, alert: Alert, now_ms: int) -> Mapping[str, str]:
        """The annotations that are looked up while paging (traces)."""

    async def record(self, delivery: Delivery, sent: Sent | None) -> None: ...


Stage = Callable[[Flush, Desk], Awaitable[Flush]]


async def inhibit(flush: Flush, desk: Desk) -> Flush:
    """Hold back what a firing alert of higher rank explains already."""
    held = []
    for alert in flush.alerts:
        by = desk.inhibiting(alert) if alert.state is AlertState.FIRING else ()
        if by:
            held.append(Held(alert, Reason.INHIBITED, f"by {by[0].name} ({by[0].fingerprint})"))
    return flush.hold(held)


async def silence(flush: Flush, desk: Desk) -> Flush:
    """Hold back what a silence matches. The end of an alert that was paged is told all the same: none is left open."""
    known = flush.last.firing if flush.last is not None else frozenset[Identity]()
    held = []
    for alert in flush.alerts:
        if alert.state is AlertState.RESOLVED and identity(alert) in known:
            continue
        by = desk.silenced_by(alert.labels, flush.now_ms)
        if by:
            held.append(Held(alert, Reason.SILENCED, "by " + ", ".join(by)))
    return flush.hold(held)


async def dedup(flush: Flush, _: Desk) -> Flush:
    """Hold everything back when the receiver knows it already."""
    firing, resolved = split(flush.alerts)
    decision = should_send(flush.last, firing, resolved, flush.leg.repeat_interval_ms, flush.now_ms)
    flush = replace(flush, reason=decision.reason)
    if not decision.send:
        return flush.hold([Held(alert, decision.reason, "") for alert in flush.alerts])
    known = flush.last.firing if flush.last is not None else frozenset[Identity]()
    # An alert that began and ended between two messages was never anybody's business.
    never = [Held(alert, Reason.NEVER_SENT, "") for alert in flush.alerts
             if identity(alert) in resolved and identity(alert) not in known]
    # Who is silenced now was told before: it stays known as firing, so that its end is told.
    still = frozenset(identity(one.alert) for one in flush.held
                      if one.alert.state is AlertState.FIRING and identity(one.alert) in known)
    told = Sent(flush.now_ms, firing | still, resolved & known)
    return replace(flush.hold(never), told=told)


async def enrich(flush: Flush, desk: Desk) -> Flush:
    """Put the evidence into the annotations, as late as possible: the newest traces are the best."""
    found = await asyncio.gather(*(desk.evidence(alert, flush.now_ms) for alert in flush.alerts))
    alerts = tuple(
        replace(alert, annotations=annotations(alert, told)) for alert, told in zip(flush.alerts, found, strict=True)
    )
    return replace(flush, alerts=alerts)


async def send(flush: Flush, desk: Desk) -> Flush:
    """Try once. Whether and when to try again is the dispatcher's."""
    reason = flush.reason
    assert reason is not None
    firing = any(alert.state is AlertState.FIRING for alert in flush.alerts)
    notification = Notification(
        flush.leg.receiver, flush.group_key, flush.group_labels, "firing" if firing else "resolved", str(reason),
        flush.alerts, desk.settings.external_url,
    )
    receipt = await desk.receiver(flush.leg.receiver).deliver(notification)
    return replace(flush, notification=notification, receipt=receipt)


async def record(flush: Flush, desk: Desk) -> Flush:
    """Write down to whom, when, why, and with what answer."""
    notification, receipt = flush.notification, flush.receipt
    assert notification is not None
    assert receipt is not None
    await desk.record(
        Delivery(
            flush.now_ms, flush.leg.receiver, flush.group_key, notification.status, notification.reason, receipt.ok,
            receipt.detail, flush.attempts + 1, tuple(alert.fingerprint for alert in flush.alerts),
        ),
        flush.told if receipt.ok else None,
    )
    return flush


CHAIN: tuple[Stage, ...] = (inhibit, silence, dedup, enrich, send, record)


async def run(flush: Flush, desk: Desk, chain: Sequence[Stage] = CHAIN) -> Flush:
    """Pass the flush through the chain until nothing is left of it."""
    for stage in chain:
        flush = await stage(flush, desk)
        if not flush.alerts:
            break
    return flush
