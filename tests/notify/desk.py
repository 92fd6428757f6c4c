"""A notifier with a clock to drive and receivers that remember."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from observe.model import Alert, AlertState, Labels, Reason
from observe.notify.notifier import Notifier
from observe.notify.settings import NotifySettings
from observe.protocols import Notification, Receipt
from observe.telemetry import Telemetry
from observe.testing import ManualClock

OK = Receipt(True, False, "200")
BUSY = Receipt(False, True, "503")
WRONG = Receipt(False, False, "400")


class Phone:
    """A `Receiver` that keeps what arrives and answers as told."""

    def __init__(self, name: str = "phone", answers: Sequence[Receipt] = (OK,)) -> None:
        self.name = name
        self.answers = list(answers)
        self.got: list[Notification] = []

    async def deliver(self, notification: Notification) -> Receipt:
        self.got.append(notification)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def pages(self) -> list[tuple[str, str, list[str]]]:
        """(status, reason, names of its alerts with - before resolved ones)."""
        return [
            (one.status, one.reason, sorted(
                ("-" if alert.state is AlertState.RESOLVED else "") + alert.labels.get("instance", alert.name)
                for alert in one.alerts))
            for one in self.got
        ]


OPENED: list[Any] = []
"""Notifiers and clients of clusters of the test that runs; closed after it, however it ended."""


def close_all() -> None:
    """Their ledgers, that is: one left to the garbage collector would be closed somewhere in a later test."""
    while OPENED:
        OPENED.pop().close()


class Office:
    """Notifier, phones and clock in one."""

    def __init__(self, folder: Path, *phones: Phone, settings: NotifySettings | None = None, find_traces=None,
                 clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.phones = phones or (Phone(),)
        self.telemetry = Telemetry()
        self.notifier = Notifier(
            settings or quick(*self.phones), folder, self.clock, self.telemetry, receivers=self.phones,
            find_traces=find_traces,
        )
        OPENED.append(self.notifier)

    @property
    def phone(self) -> Phone:
        return self.phones[0]

    def accept(self, *alerts: Alert) -> None:
        self.notifier.accept(alerts, self.clock.now_ms())

    def wait(self, duration: str) -> None:
        """Let time pass, a second at a time, delivering what is due."""
        until = self.clock.now_ms()
        probe = ManualClock(until)
        until = probe.advance(duration)

        async def live() -> None:
            while self.clock.now_ms() < until:
                self.clock.advance_ms(1000)
                while await self.notifier.flush_due(self.clock.now_ms()):
                    pass

        asyncio.run(live())

    def now(self) -> None:
        asyncio.run(self.notifier.flush_due(self.clock.now_ms()))


def quick(*phones: Phone, **changes) -> NotifySettings:
    from observe.notify.settings import WebhookSettings

    return NotifySettings(
        receivers=tuple(WebhookSettings(phone.name, "http://127.0.0.1:9/x") for phone in phones),
        external_url="http://observe.example", **changes,
    )


def firing(clock: ManualClock, instance: str = "a", **changes) -> Alert:
    labels = {"alertname": "Down", "service": "gateway", "severity": "critical", "instance": instance}
    told = {"summary": f"{instance} is down"}
    labels.update(changes.pop("labels", {}))
    return Alert(
        Labels(labels), told, AlertState.FIRING, clock.now_ms(), None, clock.now_ms(), Reason.HELD_FOR, "g/Down",
        "up == 0",
        changes.get("value", 2.5), changes.get("baseline", 1.0), changes.get("lower", 0.5), changes.get("upper", 1.5),
        changes.get("score", 3.0), "http://observe.example/alerts/1",
    )


def resolved(alert: Alert, clock: ManualClock, reason: Reason = Reason.CONDITION_CLEARED) -> Alert:
    from dataclasses import replace

    return replace(alert, state=AlertState.RESOLVED, ends_at_ms=clock.now_ms(), updated_at_ms=clock.now_ms(),
                   reason=reason)
