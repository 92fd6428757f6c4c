"""The notify stage as a whole: takes alert events durably, groups them, and sees that people hear of them.

`accept` comes from the data thread; `run` is a task of the event loop; silences and the ledger may be asked from any
thread. Everything that decides takes now as an argument: tests call `flush_due` with a clock of their own.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from observe.alert.evidence import FindTraces
from observe.clock import Clock
from observe.model import Alert, AlertState, Labels, Reason
from observe.notify import standing, testpage
from observe.notify.books import Books
from observe.notify.dedup import Identity, Sent, identity
from observe.notify.groups import Group, Groups
from observe.notify.inhibition import Inhibitor
from observe.notify.intake import OpenAlerts
from observe.notify.lookup import EvidenceLookup
from observe.notify.pipeline import Flush, Held
from observe.notify.pipeline import run as run_chain
from observe.notify.receiver_set import ReceiverSet
from observe.notify.receivers.webhook import Webhook
from observe.notify.rounds import Rounds
from observe.notify.settings import NotifySettings
from observe.notify.silences import SilenceBook
from observe.protocols import Delivery, PageStatus, Receiver, Silence
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

_UPKEEP_MS = 3_600_000
_TOLD_WHY = {Reason.SILENCED, Reason.INHIBITED, Reason.NEVER_SENT}


class Notifier:
    """`AlertSink` and `PageDesk` with its own delivery: the embedded side."""

    def __init__(
        self, settings: NotifySettings, folder: Path, clock: Clock, telemetry: Telemetry, *,
        find_traces: FindTraces | None = None, receivers: Sequence[Receiver] | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        made = receivers if receivers is not None else [Webhook(one, clock) for one in settings.receivers]
        self._receivers = ReceiverSet(made)
        self._books = Books(folder, telemetry, settings.max_alerts)
        self._lookup = EvidenceLookup(find_traces, settings.max_alerts, settings.evidence_timeout_s, telemetry)
        self._silences = SilenceBook(self._books.ledger)
        self._rounds = Rounds()
        self._lock = threading.RLock()
        self._open = OpenAlerts(settings.max_alerts, telemetry)
        self._groups = Groups(settings, telemetry)
        self._inhibitor = Inhibitor(settings.inhibitions)
        self._upkeep_at_ms = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._delivered = telemetry.counter(
            "observe_notifications_total", "Messages to receivers, by result.", ("receiver", "result"))
        self._held = telemetry.counter(
            "observe_notifications_held_total", "Alerts held back from a message, by reason.", ("receiver", "reason"))
        telemetry.gauge("observe_alerts_open", "Alerts that are firing.").set_function(lambda: len(self._open))
        self._restore()

    # ------------------------------------------------------------ alerts in

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Firing and resolved alerts. News is durable when this returns; a refusing disk delays no page."""
        with self._lock:
            news = self._open.news(alerts)
            self._books.keep(news)
            known = {identity(alert) for alert in news}
            for alert in alerts:
                one = identity(alert)
                if one in known:
                    self._begin_or_end(alert)
                    self._groups.take(alert, now_ms)
                elif one in self._open:
                    self._open.take(alert)
                    self._groups.renew(alert)
        if news:
            self.wake()

    def _begin_or_end(self, alert: Alert) -> None:
        self._open.take(alert)
        change = self._inhibitor.begin if alert.state is AlertState.FIRING else self._inhibitor.end
        change(alert)

    def push(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Alerts from somebody else (the API): they end at their end, or when they are not pushed again."""
        with self._lock:
            events = self._open.pushed(alerts, self.settings.resolve_timeout_ms, now_ms)
            self.accept([event for event, _ in events], now_ms)
            for event, until_ms in events:
                self._open.expect_again(event, until_ms)

    def reconfigure(self, settings: NotifySettings) -> None:
        """Take over reloaded settings: new receivers and routes, open alerts grouped anew, nothing told twice."""
        made = [Webhook(one, self._clock) for one in settings.receivers]  # raises before anything changes
        with self._lock:
            self.settings = settings
            self._receivers.replace(made)
            self._inhibitor.reconfigure(settings.inhibitions, self._open.all())
            self._groups.reconfigure(settings, self._open.all(), self._clock.now_ms())
        self.wake()

    def _restore(self) -> None:
        """Take up every alert that was not told to the end."""
        now_ms = self._clock.now_ms()
        ledger = self._books.ledger
        self._groups.sent = ledger.sent()
        unfinished: dict[Identity, None] = {}
        for sent in self._groups.sent.values():
            unfinished.update(dict.fromkeys(sent.firing - sent.resolved))
        for alert in ledger.open_alerts():
            self._begin_or_end(alert)
            if not alert.rule:
                self._open.expect_again(alert, now_ms + self.settings.resolve_timeout_ms)
            self._groups.resume(alert, now_ms)
        for alert in ledger.known(list(unfinished)):
            if alert.state is AlertState.RESOLVED:
                self._groups.resume(alert, now_ms)

    # ------------------------------------------------------------ messages out

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set."""
        try:
            await self._rounds.run(stop, self._round)
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._receivers.close()

    async def _round(self) -> float:
        """Send what is due off on its way; a receiver that hangs delays no other."""
        now_ms = self._clock.now_ms()
        for group in self._start_due(now_ms):
            self._begin(self._flush(group, now_ms))
        if self._receivers.has_retired:
            self._begin(self._receivers.retire(list(self._tasks)))
        if now_ms >= self._upkeep_at_ms:
            self._upkeep_at_ms = now_ms + _UPKEEP_MS
            self._begin(self._forget(now_ms))
        with self._lock:
            return (self._groups.next_due_ms() - self._clock.now_ms()) / 1000

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def flush_due(self, now_ms: int) -> int:
        """Flush every group whose turn it is and wait for the answers. Returns how many groups were flushed."""
        due = self._start_due(now_ms)
        await asyncio.gather(*(self._flush(group, now_ms) for group in due))
        return len(due)

    def _start_due(self, now_ms: int) -> list[Group]:
        with self._lock:
            if expired := self._open.expired(now_ms):
                self.accept(expired, now_ms)
            return self._groups.start_due(now_ms)

    async def _flush(self, group: Group, now_ms: int) -> None:
        name = group.leg.receiver
        try:
            with self._lock:
                flush = self._groups.begin(group, now_ms)
            async with self._receivers.gate(name, self.settings.concurrency):
                flush = await run_chain(flush, self)
            await self._note_held(group, flush)
            if flush.receipt is not None:
                self._delivered.labels(name, "ok" if flush.receipt.ok else "failed").inc()
            with self._lock:
                for one in self._groups.settle(group, flush, now_ms):
                    self._lookup.forget(one)
        except Exception as error:
            # One receiver or group never stops the others; it is tried again later.
            self._delivered.labels(name, "error").inc()
            _log.exception("notifying %s failed", name)
            with self._lock:
                self._groups.failed(group, f"{type(error).__name__}: {error}", now_ms)
        finally:
            group.in_flight = False

    async def _note_held(self, group: Group, flush: Flush) -> None:
        """Write down who was held back and why, once for as long as it stays so."""
        by_cause: dict[tuple[Reason, str], list[Held]] = {}
        for one in flush.held:
            before = group.held.get(identity(one.alert))
            if one.reason in _TOLD_WHY and (before is None or before.reason is not one.reason):
                self._held.labels(group.leg.receiver, str(one.reason)).inc()
                by_cause.setdefault((one.reason, one.detail), []).append(one)
        for (reason, detail), ones in by_cause.items():
            firing = any(one.alert.state is AlertState.FIRING for one in ones)
            await self._books.record(
                Delivery(flush.now_ms, group.leg.receiver, group.key, "firing" if firing else "resolved", str(reason),
                         False, detail, 0, tuple(one.alert.fingerprint for one in ones)), None,
            )

    async def _forget(self, now_ms: int) -> None:
        before_ms = now_ms - self.settings.retention_ms
        with self._lock:
            self._groups.forget(before_ms)
        self._silences.forget(now_ms)
        await self._books.forget(before_ms)

    # ------------------------------------------------------------ what the stages ask

    def inhibiting(self, alert: Alert) -> Sequence[Alert]:
        return self._inhibitor.holding(alert)

    def receiver(self, name: str) -> Receiver:
        return self._receivers.get(name)

    async def evidence(self, alert: Alert, now_ms: int) -> Mapping[str, str]:
        return await self._lookup.of(alert, now_ms)

    async def record(self, delivery: Delivery, sent: Sent | None) -> None:
        with self._lock:
            self._groups.note(delivery, sent)
        await self._books.record(delivery, sent)

    # ------------------------------------------------------------ the desk

    def page_status(self, alert: Alert, now_ms: int) -> list[PageStatus]:
        """How it stands with telling each receiver of this alert; never empty. The most urgent first."""
        if alert.state is AlertState.PENDING:
            return [standing.pending(alert)]
        with self._lock:
            places = self._groups.of(alert)
        silences = self._silences.matching(alert.labels, now_ms)
        return standing.of_places(alert, places, silences, self._inhibitor.holding(alert), now_ms) if places else [
            standing.nobody(alert, receivers=len(self._receivers.names()))]

    def silences(self, now_ms: int) -> list[Silence]:
        """Active, pending, and those that ended within the last days."""
        return self._silences.listed(now_ms)

    def set_silence(self, silence: Silence, now_ms: int) -> str:
        made = self._silences.put(silence, now_ms)
        self._recheck(now_ms)
        return made

    def expire_silence(self, silence_id: str, now_ms: int) -> None:
        self._silences.expire(silence_id, now_ms)
        self._recheck(now_ms)

    def _recheck(self, now_ms: int) -> None:
        with self._lock:
            self._groups.recheck(now_ms)
        self.wake()

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        return [one.id for one in self._silences.matching(labels, now_ms)]

    def inhibited_by(self, alert: Alert) -> list[str]:
        """Fingerprints of the firing alerts that hold this one back."""
        return [one.fingerprint for one in self._inhibitor.holding(alert)]

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]:
        return self._books.ledger.deliveries(fingerprint, since_ms, limit)

    def open_alerts(self) -> list[Alert]:
        with self._lock:
            return self._open.all()

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        return self._books.ledger.history(since_ms, fingerprint, limit)

    def evidence_of(self, alert: Alert) -> Mapping[str, str]:
        """What was found for this alert when it was paged."""
        return self._lookup.known(alert)

    async def send_test(self, now_ms: int, receiver: str | None = None) -> list[Delivery]:
        """A page that says it is a test, to one receiver or to all. Not retried: who asks wants to see the answer."""
        names = [receiver] if receiver is not None else self._receivers.names()
        done = []
        for name in names:
            delivery = await testpage.to_receiver(self.receiver(name), self.settings.external_url, now_ms)
            self._delivered.labels(name, "ok" if delivery.ok else "failed").inc()
            await self.record(delivery, None)
            done.append(delivery)
        return done

    def wake(self) -> None:
        """Look at once whether something is due. Safe from any thread."""
        self._rounds.wake()

    def close(self) -> None:
        self._lookup.close()
        self._books.close()
