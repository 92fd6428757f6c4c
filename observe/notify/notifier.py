"""The notify stage as a whole: takes alert events durably, groups them, and sees that people hear of them.

`accept` comes from the data thread; `run` is a task of the event loop; silences and the ledger may be asked from any
thread. Everything that decides takes now as an argument: tests call `flush_due` with a clock of their own.
"""

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from observe.alert.evidence import FindTraces, traces
from observe.clock import Clock
from observe.errors import InvalidInput, ObserveError, Problem, StorageError
from observe.model import Alert, AlertState, Labels, Reason
from observe.notify.dedup import Identity, Sent, identity
from observe.notify.ledger import Ledger
from observe.notify.matching import check_matcher, matches
from observe.notify.pipeline import Flush, Group, Held, inhibits
from observe.notify.pipeline import run as run_chain
from observe.notify.receivers.webhook import Webhook
from observe.notify.routes import Leg, legs
from observe.notify.settings import NotifySettings
from observe.notify.testpage import page
from observe.protocols import Delivery, Receiver, Silence
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

_IDLE_S = 1.0
_UPKEEP_MS = 3_600_000
_SILENCE_KEPT_MS = 5 * 24 * 3_600_000
_EVIDENCE_S = 5.0


class Notifier:
    """`AlertSink` and `PageDesk` with its own delivery: the embedded side."""

    def __init__(
        self, settings: NotifySettings, folder: Path, clock: Clock, telemetry: Telemetry, *,
        find_traces: FindTraces | None = None, receivers: Sequence[Receiver] | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._find_traces = find_traces
        made = receivers if receivers is not None else [Webhook(one, clock) for one in settings.receivers]
        self._receivers: dict[str, Receiver] = {one.name: one for one in made}
        self._retired: list[Receiver] = []
        # Threads of their own: a trace store that hangs must take none from the ledger.
        self._looking = ThreadPoolExecutor(2, thread_name_prefix="evidence")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._ledger = Ledger(folder / "alerts.sqlite")
        self._lock = threading.RLock()
        self._open: dict[Identity, Alert] = {}
        self._pushed: dict[Identity, int] = {}
        self._groups: dict[tuple[str, str], Group] = {}
        self._placed: dict[Identity, tuple[Group, ...]] = {}
        """The groups of each open alert."""
        self._sent: dict[tuple[str, str], Sent] = {}
        self._silences: dict[str, Silence] = {}
        self._found: dict[Identity, Mapping[str, str]] = {}
        self._unkept: dict[Identity, Alert] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._upkeep_at_ms = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._delivered = telemetry.counter(
            "observe_notifications_total", "Messages to receivers, by result.", ("receiver", "result"))
        self._held = telemetry.counter(
            "observe_notifications_held_total", "Alerts held back from a message, by reason.", ("receiver", "reason"))
        self._ledger_errors = telemetry.counter(
            "observe_ledger_failures_total", "Writes that the ledger refused; they are tried again.")
        telemetry.gauge("observe_alerts_open", "Alerts that are firing.").set_function(lambda: len(self._open))
        self._restore()

    # ------------------------------------------------------------ alerts in

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Firing and resolved alerts. News is durable when this returns; a refusing disk delays no page.

        A full disk must not keep the page about the full disk: what cannot be written is sent all the same, written
        as soon as the disk takes it, and counted.
        """
        with self._lock:
            news = [alert for alert in alerts if self._is_news(alert)]
            news = self._within_limit(news)
            if news or self._unkept:
                self._keep(news)
            known = {identity(alert) for alert in news}
            for alert in alerts:
                one = identity(alert)
                if one in known:
                    self._take(alert, now_ms)
                elif one in self._open:  # the same alert with newer numbers
                    self._open[one] = alert
                    for group in self._placed.get(one, ()):
                        group.alerts[one] = alert
        if news:
            self.wake()

    def _within_limit(self, news: list[Alert]) -> list[Alert]:
        room = self.settings.max_alerts - len(self._open)
        begun = [alert for alert in news if alert.state is AlertState.FIRING]
        if len(begun) <= room:
            return news
        refused = {id(alert) for alert in begun[max(0, room):]}
        self._telemetry.dropped("notify", "alert limit", len(refused))
        return [alert for alert in news if id(alert) not in refused]

    def _is_news(self, alert: Alert) -> bool:
        known = self._open.get(identity(alert))
        if alert.state is AlertState.FIRING:
            return known is None
        return alert.state is AlertState.RESOLVED

    def _keep(self, news: Sequence[Alert]) -> None:
        waiting = {**self._unkept, **{identity(alert): alert for alert in news}}
        try:
            self._ledger.keep(list(waiting.values()))
            self._unkept = {}
        except StorageError as error:
            excess = len(waiting) - self.settings.max_alerts
            for one in [one for one, alert in waiting.items() if alert.state is AlertState.RESOLVED][: max(0, excess)]:
                del waiting[one]
                self._telemetry.dropped("notify", "not written down")
            self._unkept = waiting
            self._ledger_errors.inc()
            _log.error("alerts are sent without being written down: %s", error)

    def _take(self, alert: Alert, now_ms: int) -> None:
        """Put an alert that is new, or over, into its groups, and see that they are told."""
        one = identity(alert)
        placed = []
        if alert.state is AlertState.FIRING:
            self._open[one] = alert
        else:
            self._open.pop(one, None)
            self._pushed.pop(one, None)
            self._placed.pop(one, None)
        for leg in legs(self.settings, alert.labels):
            key, shared = leg.group(alert.labels)
            group = self._groups.get((leg.receiver, key))
            if group is None:
                if len(self._groups) >= self.settings.max_groups:
                    self._telemetry.dropped("notify", "group limit")
                    continue
                group = self._groups[leg.receiver, key] = self._new_group(leg, key, shared)
                group.due_ms = now_ms + leg.group_wait_ms
            else:
                group.dirty = True
                wait = 0 if alert.state is AlertState.RESOLVED else group.leg.group_wait_ms
                last = group.flushed_ms
                due_ms = max(now_ms + wait, 0 if last is None else last + leg.group_interval_ms)
                if not group.attempts:  # else the next try of the failing message brings this along
                    group.due_ms = min(group.due_ms, due_ms)
            group.alerts[one] = alert
            placed.append(group)
        if alert.state is AlertState.FIRING:
            self._placed[one] = tuple(placed)

    def _new_group(self, leg: Leg, key: str, shared: Labels) -> Group:
        sent = self._sent.get((leg.receiver, key))
        return Group(leg, key, shared, flushed_ms=sent.at_ms if sent is not None else None)

    def push(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Alerts from somebody else (the API): they end at their end, or when they are not pushed again."""
        with self._lock:
            by_labels = {alert.labels: alert for alert in self._open.values()}
            taken = []
            for alert in alerts:
                known = by_labels.get(alert.labels)
                begun = replace(alert, starts_at_ms=known.starts_at_ms) if known is not None else alert
                ended = begun.ends_at_ms is not None and begun.ends_at_ms <= now_ms
                if ended and known is None:
                    continue
                state = AlertState.RESOLVED if ended else AlertState.FIRING
                reason = Reason.CONDITION_CLEARED if ended else Reason.CONDITION_MET
                until = begun.ends_at_ms or now_ms + self.settings.resolve_timeout_ms
                taken.append(replace(begun, state=state, reason=reason, ends_at_ms=begun.ends_at_ms if ended else None))
                if not ended:
                    self._pushed[identity(begun)] = until
            self.accept(taken, now_ms)

    def _expire(self, now_ms: int) -> None:
        with self._lock:
            over = [one for one, until in self._pushed.items() if until <= now_ms]
            ended = [
                replace(self._open[one], state=AlertState.RESOLVED, ends_at_ms=self._pushed[one], updated_at_ms=now_ms,
                        reason=Reason.CONDITION_CLEARED)
                for one in over if one in self._open
            ]
            for one in over:
                self._pushed.pop(one, None)
            if ended:
                self.accept(ended, now_ms)

    def reconfigure(self, settings: NotifySettings) -> None:
        """Take over reloaded settings: new receivers and routes, open alerts grouped anew, nothing told twice."""
        made = {one.name: Webhook(one, self._clock) for one in settings.receivers}  # raises before anything changes
        now_ms = self._clock.now_ms()
        with self._lock:
            alerts = {one: alert for group in self._groups.values() for one, alert in group.alerts.items()}
            alerts.update(self._open)
            self.settings = settings
            self._retired.extend(self._receivers.values())
            self._receivers = dict(made)
            self._gates = {}
            self._groups = {}
            self._placed = {}
            for alert in alerts.values():
                self._regroup(alert, now_ms)
        self.wake()

    # ------------------------------------------------------------ messages out

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set."""
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                now_ms = self._clock.now_ms()
                self._start_due(now_ms)
                self._upkeep(now_ms)
                wait_s = min(_IDLE_S, max(0.01, (self.next_due_ms() - self._clock.now_ms()) / 1000))
                waking = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({waking, stopping}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
        finally:
            stopping.cancel()
            self._loop = self._wake = None
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._close_receivers()

    async def flush_due(self, now_ms: int) -> int:
        """Flush every group whose turn it is and wait for the answers. Returns how many groups were flushed."""
        self._expire(now_ms)
        with self._lock:
            due = [group for group in self._groups.values() if group.due_ms <= now_ms and not group.in_flight]
            for group in due:
                group.in_flight = True
        await asyncio.gather(*(self._flush(group, now_ms) for group in due))
        return len(due)

    def _start_due(self, now_ms: int) -> None:
        self._expire(now_ms)
        with self._lock:
            due = [group for group in self._groups.values() if group.due_ms <= now_ms and not group.in_flight]
            for group in due:
                group.in_flight = True
        for group in due:
            task = asyncio.ensure_future(self._flush(group, now_ms))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def next_due_ms(self) -> int:
        with self._lock:
            return min((group.due_ms for group in self._groups.values() if not group.in_flight), default=2**62)

    async def _flush(self, group: Group, now_ms: int) -> None:
        name = group.leg.receiver
        try:
            with self._lock:
                group.dirty = False
                alerts = tuple(group.alerts.values())
                last = self._sent.get((name, group.key))
            flush = Flush(now_ms, group.leg, group.key, group.labels, alerts, last, group.attempts)
            gate = self._gates.setdefault(name, asyncio.Semaphore(self.settings.concurrency))
            async with gate:
                flush = await run_chain(flush, self)
            await self._note_held(group, flush)
            self._settle(group, flush, now_ms)
        except Exception:
            # One receiver or group never stops the others; it is tried again later.
            self._delivered.labels(name, "error").inc()
            _log.exception("notifying %s failed", name)
            with self._lock:
                group.attempts += 1
                group.dirty = True
                group.due_ms = now_ms + self._backoff_ms(group.attempts, None)
        finally:
            group.in_flight = False

    def _settle(self, group: Group, flush: Flush, now_ms: int) -> None:
        """After the chain: who is done leaves the group, and the group gets its next turn."""
        receipt = flush.receipt
        with self._lock:
            if receipt is not None and not receipt.ok:
                self._delivered.labels(group.leg.receiver, "failed").inc()
                group.attempts += 1
                group.dirty = True
                again = self._backoff_ms(group.attempts, receipt.retry_after_s) if receipt.retryable \
                    else max(group.leg.group_interval_ms, self._backoff_ms(group.attempts, None))
                group.due_ms = now_ms + again
                return
            if receipt is not None:
                self._delivered.labels(group.leg.receiver, "ok").inc()
                group.attempts = 0
                group.flushed_ms = now_ms
            done = {identity(alert) for alert in flush.alerts if alert.state is AlertState.RESOLVED}
            done |= {identity(one.alert) for one in flush.held if one.alert.state is AlertState.RESOLVED}
            for one in done:
                current = group.alerts.get(one)
                if current is not None and current.state is AlertState.RESOLVED:
                    del group.alerts[one]
                    self._found.pop(one, None)
            if not group.alerts:
                self._groups.pop((group.leg.receiver, group.key), None)
                return
            if group.dirty:  # changed while we were sending
                group.due_ms = now_ms + group.leg.group_interval_ms
                return
            held = any(one.reason in {Reason.SILENCED, Reason.INHIBITED} for one in flush.held)
            sent = self._sent.get((group.leg.receiver, group.key))
            repeat = (sent.at_ms if sent is not None else now_ms) + group.leg.repeat_interval_ms
            group.due_ms = max(now_ms + 1, min(repeat, now_ms + group.leg.group_interval_ms) if held else repeat)

    async def _note_held(self, group: Group, flush: Flush) -> None:
        """Write down who was held back and why, once for as long as it stays so."""
        told = [one for one in flush.held if one.reason in {Reason.SILENCED, Reason.INHIBITED, Reason.NEVER_SENT}]
        now = frozenset((identity(one.alert), one.reason) for one in told)
        fresh = [one for one in told if (identity(one.alert), one.reason) not in group.last_held]
        group.last_held = now
        by_cause: dict[tuple[Reason, str], list[Held]] = {}
        for one in fresh:
            self._held.labels(group.leg.receiver, str(one.reason)).inc()
            by_cause.setdefault((one.reason, one.detail), []).append(one)
        for (reason, detail), ones in by_cause.items():
            firing = any(one.alert.state is AlertState.FIRING for one in ones)
            await self.record(
                Delivery(flush.now_ms, group.leg.receiver, group.key, "firing" if firing else "resolved", str(reason),
                         False, detail, 0, tuple(one.alert.fingerprint for one in ones)), None,
            )

    def _backoff_ms(self, attempts: int, retry_after_s: float | None) -> int:
        grown: int = min(self.settings.retry_most_ms, self.settings.retry_first_ms << min(attempts - 1, 30))
        asked = min(int((retry_after_s or 0) * 1000), 3_600_000)
        return max(grown, asked)

    # ------------------------------------------------------------ what the stages ask

    def firing(self) -> Sequence[Alert]:
        with self._lock:
            return list(self._open.values())

    def receiver(self, name: str) -> Receiver:
        found = self._receivers.get(name)
        if found is None:
            raise ObserveError(f"no receiver `{name}` is configured; add it to `receivers:`, or correct the route")
        return found

    async def evidence(self, alert: Alert, now_ms: int) -> Mapping[str, str]:
        one = identity(alert)
        known = self._found.get(one)
        if known is not None and (known.get("trace_ids") or alert.state is AlertState.RESOLVED):
            return known
        try:
            asked = asyncio.get_running_loop().run_in_executor(self._looking, traces, alert, now_ms, self._find_traces)
            found = await asyncio.wait_for(asked, _EVIDENCE_S)
        except TimeoutError:
            found = {"trace_ids": "", "trace_ids_reason": f"the trace store did not answer within {_EVIDENCE_S:g} s"}
        with self._lock:
            if len(self._found) < self.settings.max_alerts:
                self._found[one] = found
        return found

    async def record(self, delivery: Delivery, sent: Sent | None) -> None:
        if sent is not None:
            with self._lock:
                self._sent[delivery.receiver, delivery.group_key] = sent
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, self._ledger.record, delivery, sent)
        except StorageError as error:
            self._ledger_errors.inc()
            _log.error("a delivery is not written down: %s", error)

    # ------------------------------------------------------------ restart

    def _restore(self) -> None:
        """Take up every alert that was not told to the end."""
        now_ms = self._clock.now_ms()
        self._silences = {one.id: one for one in self._ledger.silences()}
        self._sent = self._ledger.sent()
        unfinished: dict[Identity, None] = {}
        for sent in self._sent.values():
            unfinished.update(dict.fromkeys(sent.firing - sent.resolved))
        for alert in self._ledger.open_alerts():
            self._open[identity(alert)] = alert
            if not alert.rule:
                self._pushed[identity(alert)] = now_ms + self.settings.resolve_timeout_ms
            self._regroup(alert, now_ms)
        for alert in self._ledger.known(list(unfinished)):
            if alert.state is AlertState.RESOLVED:
                self._regroup(alert, now_ms)

    def _regroup(self, alert: Alert, now_ms: int) -> None:
        one = identity(alert)
        for leg in legs(self.settings, alert.labels):
            key, shared = leg.group(alert.labels)
            sent = self._sent.get((leg.receiver, key))
            told = sent is not None and one in sent.firing
            if alert.state is AlertState.RESOLVED and (sent is None or not told or one in sent.resolved):
                continue
            group = self._groups.get((leg.receiver, key))
            if group is None:
                group = self._groups[leg.receiver, key] = self._new_group(leg, key, shared)
                group.due_ms = 2**62
            group.alerts[one] = alert
            if alert.state is AlertState.FIRING:
                self._placed[one] = (*self._placed.get(one, ()), group)
            if told and sent is not None and alert.state is AlertState.FIRING:
                due = sent.at_ms + leg.repeat_interval_ms
            elif told and sent is not None:
                due = max(now_ms, sent.at_ms + leg.group_interval_ms)
            else:
                due = max(now_ms, alert.starts_at_ms + leg.group_wait_ms) if sent is None \
                    else max(now_ms, sent.at_ms + leg.group_interval_ms)
            group.due_ms = min(group.due_ms, due)

    # ------------------------------------------------------------ silences and the ledger

    def silences(self, now_ms: int) -> list[Silence]:
        """Active, pending, and those that ended within the last days."""
        with self._lock:
            kept = [one for one in self._silences.values() if one.ends_at_ms > now_ms - _SILENCE_KEPT_MS]
        return sorted(kept, key=lambda one: (one.ends_at_ms <= now_ms, one.ends_at_ms))

    def set_silence(self, silence: Silence, now_ms: int) -> str:
        problems = []
        if silence.ends_at_ms <= silence.starts_at_ms:
            problems.append(Problem("the silence ends before it starts", fix="give it a later end"))
        if silence.ends_at_ms <= now_ms:
            problems.append(Problem("the silence ends in the past", fix="give it a later end"))
        if not silence.matchers:
            problems.append(Problem("a silence needs a matcher", fix='such as alertname="HighLatency"'))
        wrong: list[Problem] = []
        for matcher in silence.matchers:
            try:
                check_matcher(matcher)
            except InvalidInput as error:
                wrong.extend(error.problems)
        if silence.matchers and not wrong and matches(silence.matchers, {}):
            problems.append(Problem("this silence would match every alert",
                                    why="each matcher also matches the absent label",
                                    fix="add a matcher that an empty value does not satisfy"))
        problems.extend(wrong)
        with self._lock:
            if silence.id and silence.id not in self._silences:
                problems.append(Problem(f"no silence {silence.id}", fix="leave the id out to make a new one"))
            if problems:
                raise InvalidInput(problems)
            before = self._silences.get(silence.id)
            # As in Alertmanager: one that is over, or would match others, is replaced by a new one.
            changed = before is not None and (before.ends_at_ms <= now_ms or before.matchers != silence.matchers)
            if changed and before is not None and before.ends_at_ms > now_ms:
                self._write_silence(replace(before, ends_at_ms=now_ms, updated_at_ms=now_ms))
            new_id = silence.id if silence.id and not changed else str(uuid.uuid4())
            starts = silence.starts_at_ms if before is not None and not changed else max(silence.starts_at_ms, now_ms)
            self._write_silence(replace(silence, id=new_id, starts_at_ms=starts, updated_at_ms=now_ms))
            self._recheck(now_ms)
        self.wake()
        return new_id

    def expire_silence(self, silence_id: str, now_ms: int) -> None:
        with self._lock:
            silence = self._silences.get(silence_id)
            if silence is None:
                raise InvalidInput(Problem(f"no silence {silence_id}", fix="`observe silence list` shows them"))
            if silence.ends_at_ms <= now_ms:
                raise InvalidInput(Problem(f"silence {silence_id} is over already"))
            starts = min(silence.starts_at_ms, now_ms)
            self._write_silence(replace(silence, starts_at_ms=starts, ends_at_ms=now_ms, updated_at_ms=now_ms))
            self._recheck(now_ms)
        self.wake()

    def _write_silence(self, silence: Silence) -> None:
        self._ledger.keep_silence(silence)
        self._silences[silence.id] = silence

    def _recheck(self, now_ms: int) -> None:
        """A silence came or went: look at every group that holds something back."""
        for group in self._groups.values():
            if group.last_held:
                group.due_ms = min(group.due_ms, now_ms)

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        with self._lock:
            active = [one for one in self._silences.values() if one.starts_at_ms <= now_ms < one.ends_at_ms]
        return [one.id for one in active if matches(one.matchers, labels)]

    def inhibited_by(self, alert: Alert) -> list[str]:
        """Fingerprints of the firing alerts that hold this one back."""
        return [source.fingerprint for rule in self.settings.inhibitions
                for source in self.firing() if inhibits(rule, source, alert)]

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]:
        return self._ledger.deliveries(fingerprint, since_ms, limit)

    def open_alerts(self) -> list[Alert]:
        with self._lock:
            return list(self._open.values())

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        return self._ledger.history(since_ms, fingerprint, limit)

    def evidence_of(self, alert: Alert) -> Mapping[str, str]:
        """What was found for this alert when it was paged."""
        return self._found.get(identity(alert), {})

    # ------------------------------------------------------------ test page, upkeep

    async def send_test(self, now_ms: int, receiver: str | None = None) -> list[Delivery]:
        """A page that says it is a test, to one receiver or to all. Not retried: who asks wants to see the answer."""
        names = [receiver] if receiver is not None else sorted(self._receivers)
        done = []
        for name in names:
            notification = page(name, self.settings.external_url, now_ms)
            receipt = await self.receiver(name).deliver(notification)
            delivery = Delivery(now_ms, name, "{test}", "firing", "test", receipt.ok, receipt.detail, 1,
                                tuple(alert.fingerprint for alert in notification.alerts))
            self._delivered.labels(name, "ok" if receipt.ok else "failed").inc()
            await self.record(delivery, None)
            done.append(delivery)
        return done

    def wake(self) -> None:
        """Look at once whether something is due. Safe from any thread."""
        loop, event = self._loop, self._wake
        if loop is not None and event is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closing: there is nothing to wake
                loop.call_soon_threadsafe(event.set)

    def _upkeep(self, now_ms: int) -> None:
        if now_ms < self._upkeep_at_ms:
            return
        self._upkeep_at_ms = now_ms + _UPKEEP_MS
        before_ms = now_ms - self.settings.retention_ms
        self._in_thread(lambda: self._ledger.forget(before_ms))
        with self._lock:
            self._sent = {key: sent for key, sent in self._sent.items() if sent.at_ms >= before_ms or sent.firing}
            self._silences = {key: one for key, one in self._silences.items() if one.ends_at_ms >= before_ms}

    def _in_thread(self, work: Callable[[], None]) -> None:
        async def guarded() -> None:
            try:
                await asyncio.get_running_loop().run_in_executor(self._writing, work)
            except StorageError as error:
                self._ledger_errors.inc()
                _log.error("the ledger cannot be tidied: %s", error)

        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close_receivers(self) -> None:
        for receiver in [*self._receivers.values(), *self._retired]:
            close = getattr(receiver, "close", None)
            if close is not None:
                await close()

    def close(self) -> None:
        self._looking.shutdown(wait=False, cancel_futures=True)
        self._writing.shutdown()
        self._ledger.close()
