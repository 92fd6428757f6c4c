"""Alert events to a cluster of Alertmanagers, as its clients must: to every peer, again and again until resolved.

Grouping, silences and delivery are theirs. What is ours is to keep telling: firing alerts every `resend_ms` with an end
that moves ahead, resolved ones for five minutes, each peer on its own, so that one that is down misses nothing.
"""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from observe._version import __version__
from observe.alert.evidence import FindTraces, annotations, traces
from observe.clock import Clock
from observe.errors import InvalidInput, Problem, StorageError, Unavailable
from observe.model import Alert, AlertState, Labels, Matcher, MatchOp
from observe.notify import standing
from observe.notify.dedup import Identity, identity
from observe.notify.ledger import Ledger
from observe.notify.matching import matches
from observe.notify.receivers.webhook import masked, rfc3339
from observe.protocols import Delivery, PageState, PageStatus, Silence
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

_RESOLVED_FOR_MS = 300_000
"""How long a resolved alert is told: a peer that was away for less hears of it."""
_EVIDENCE_S = 5.0
_UPKEEP_MS = 3_600_000
_IDLE_S = 1.0
_SILENCES_FOR_S = 5.0


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """The cluster, and how it is told."""

    urls: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    resend_ms: int = 60_000
    """How often a firing alert is told again. Its end is four times as far ahead, as with Prometheus."""
    timeout_s: float = 10.0
    batch: int = 64
    """Alerts in one request."""
    max_alerts: int = 50_000
    retry_first_ms: int = 500
    retry_most_ms: int = 30_000
    retention_ms: int = 120 * 24 * 3_600_000


@dataclass
class _Peer:
    url: str
    told: dict[Identity, tuple[AlertState, int]] = field(default_factory=dict)
    """What this peer took last: state, and when."""
    failures: int = 0
    next_ms: int = 0
    was_down: bool = False


class AlertmanagerCluster:
    """`AlertSink` and `PageDesk` of the attached side. The ledger is kept here too: what fired survives kill -9."""

    def __init__(
        self, settings: AlertmanagerSettings, folder: Path, clock: Clock, telemetry: Telemetry, *,
        find_traces: FindTraces | None = None, transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._find_traces = find_traces
        self._transport = transport
        self._ledger = Ledger(folder / "alerts.sqlite")
        self._lock = threading.RLock()
        self._alerts: dict[Identity, Alert] = {}
        self._newest: dict[Labels, Identity] = {}
        self._found: dict[Identity, Mapping[str, str]] = {}
        self._peers = [_Peer(url.rstrip("/")) for url in settings.urls]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._client: httpx.AsyncClient | None = None
        # Threads of their own: a trace store that hangs must take none from the ledger.
        self._looking = ThreadPoolExecutor(2, thread_name_prefix="evidence")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._upkeep_at_ms = 0
        self._silences: tuple[float, list[Silence]] = (float("-inf"), [])
        self._sent = telemetry.counter(
            "observe_alertmanager_alerts_total", "Alerts told to an Alertmanager, by result.", ("peer", "result"))
        self._up = telemetry.gauge("observe_alertmanager_up", "1 if the last request to it succeeded.", ("peer",))
        self._ledger_errors = telemetry.counter(
            "observe_ledger_failures_total", "Writes that the ledger refused; they are tried again.")
        self._restore()

    def _restore(self) -> None:
        now_ms = self._clock.now_ms()
        for alert in [*self._ledger.open_alerts(), *self._ledger.ended_since(now_ms - _RESOLVED_FOR_MS)]:
            self._take(alert)

    # ------------------------------------------------------------ AlertSink

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:  # noqa: ARG002 - peers are told by their own clock
        """Firing and resolved alerts; news is durable when this returns. A refusing disk delays no page."""
        with self._lock:
            news = [alert for alert in alerts if self._is_news(alert)]
            room = self.settings.max_alerts - len(self._alerts)
            fresh = [alert for alert in news if identity(alert) not in self._alerts]
            if len(fresh) > room:
                refused = {identity(alert) for alert in fresh[max(0, room):]}
                self._telemetry.dropped("notify", "alert limit", len(refused))
                news = [alert for alert in news if identity(alert) not in refused]
                alerts = [alert for alert in alerts if identity(alert) not in refused]
            if news:
                try:
                    self._ledger.keep(news)
                except StorageError as error:
                    self._ledger_errors.inc()
                    _log.error("alerts are sent without being written down: %s", error)
            for alert in alerts:
                self._take(alert)
        if news:
            self.wake()

    def _take(self, alert: Alert) -> None:
        """An Alertmanager knows alerts by their labels alone: of two with the same labels only the newer is told."""
        one = identity(alert)
        before = self._newest.get(alert.labels)
        if before is not None and before != one:
            known = self._alerts.get(before)
            if known is not None and known.starts_at_ms > alert.starts_at_ms:
                return
            self._alerts.pop(before, None)
        self._newest[alert.labels] = one
        self._alerts[one] = alert

    def _is_news(self, alert: Alert) -> bool:
        known = self._alerts.get(identity(alert))
        return known is None or known.state is not alert.state

    # ------------------------------------------------------------ telling

    async def run(self, stop: asyncio.Event) -> None:
        """Tell every peer until `stop` is set."""
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self.flush_due(self._clock.now_ms())
                await self._upkeep(self._clock.now_ms())
                waking = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({waking, stopping}, timeout=_IDLE_S, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
        finally:
            stopping.cancel()
            self._loop = self._wake = None
            if self._client is not None:
                await self._client.aclose()
                self._client = None

    async def _upkeep(self, now_ms: int) -> None:
        """Let the ledger forget what ended long ago."""
        if now_ms < self._upkeep_at_ms:
            return
        self._upkeep_at_ms = now_ms + _UPKEEP_MS
        try:
            before_ms = now_ms - self.settings.retention_ms
            await asyncio.get_running_loop().run_in_executor(self._writing, self._ledger.forget, before_ms)
        except StorageError as error:
            self._ledger_errors.inc()
            _log.error("the ledger cannot be tidied: %s", error)

    async def flush_due(self, now_ms: int) -> int:
        """Tell each peer what it does not know or must hear again. Returns how many requests were made."""
        with self._lock:
            for one in [one for one, alert in self._alerts.items() if _is_past(alert, now_ms)]:
                self._newest.pop(self._alerts.pop(one).labels, None)
                self._found.pop(one, None)
                for peer in self._peers:
                    peer.told.pop(one, None)
        made = await asyncio.gather(*(self._tell(peer, now_ms) for peer in self._peers if peer.next_ms <= now_ms))
        return sum(made)

    async def _tell(self, peer: _Peer, now_ms: int) -> int:
        with self._lock:
            due = [alert for one, alert in self._alerts.items() if self._is_due(peer.told.get(one), alert, now_ms)]
        made = 0
        for start in range(0, len(due), self.settings.batch):
            part = due[start : start + self.settings.batch]
            body = [self._told(alert, await self._evidence(alert, now_ms), now_ms) for alert in part]
            made += 1
            problem = await self._post(peer, body)
            await self._record(peer, part, problem, now_ms)
            if problem is not None and not problem.startswith("400"):
                return made
            for alert in part:  # what is refused for good (400) would be refused again: it is counted, and left
                peer.told[identity(alert)] = (alert.state, now_ms)
        return made

    def _is_due(self, told: tuple[AlertState, int] | None, alert: Alert, now_ms: int) -> bool:
        if told is None or told[0] is not alert.state:
            return True
        return now_ms - told[1] >= self.settings.resend_ms

    async def _post(self, peer: _Peer, body: list[dict[str, Any]]) -> str | None:
        try:
            answer = await self._http().post(peer.url + "/api/v2/alerts", content=json.dumps(body).encode())
        except httpx.HTTPError as error:
            return f"{masked(peer.url)}: {str(error) or type(error).__name__}"
        if answer.is_success:
            return None
        return f"{answer.status_code} {answer.text[:200]}"

    async def _record(self, peer: _Peer, part: Sequence[Alert], problem: str | None, now_ms: int) -> None:
        name = masked(peer.url)
        self._sent.labels(name, "ok" if problem is None else "failed").inc(len(part))
        self._up.labels(name).set(problem is None)
        fresh = [alert for alert in part
                 if (told := peer.told.get(identity(alert))) is None or told[0] is not alert.state]
        changed = peer.was_down != (problem is not None)
        peer.was_down = problem is not None
        if problem is None:
            peer.failures, peer.next_ms = 0, 0
        else:
            peer.failures += 1
            peer.next_ms = now_ms + min(
                self.settings.retry_most_ms, self.settings.retry_first_ms << min(peer.failures - 1, 20))
            if changed:
                _log.warning("Alertmanager %s does not take alerts: %s", name, problem)
        if not changed and (problem is not None or not fresh):
            return  # a peer that stays down is one line of the ledger, not one each try
        firing = any(alert.state is AlertState.FIRING for alert in part)
        delivery = Delivery(
            now_ms, name, "{alertmanager}", "firing" if firing else "resolved", "handed to Alertmanager",
            problem is None, problem or "200", peer.failures + 1, tuple(alert.fingerprint for alert in fresh),
        )
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, self._ledger.record, delivery, None)
        except StorageError as error:
            self._ledger_errors.inc()
            _log.error("a delivery is not written down: %s", error)

    async def _evidence(self, alert: Alert, now_ms: int) -> Mapping[str, str]:
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
            if one in self._alerts:
                self._found[one] = found
        return found

    def _told(self, alert: Alert, found: Mapping[str, str], now_ms: int) -> dict[str, Any]:
        resolved = alert.state is AlertState.RESOLVED
        ends = alert.ends_at_ms if resolved and alert.ends_at_ms is not None else now_ms + 4 * self.settings.resend_ms
        notes = annotations(alert, found)
        if resolved:
            notes["resolved_reason"] = str(alert.reason)
        return {
            "labels": dict(alert.labels), "annotations": notes, "startsAt": rfc3339(alert.starts_at_ms),
            "endsAt": rfc3339(ends), "generatorURL": alert.generator_url,
        }

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self.settings.timeout_s, trust_env=False, transport=self._transport, follow_redirects=False,
                headers={**self.settings.headers, "Content-Type": "application/json",
                         "User-Agent": f"observe/{__version__}"},
            )
        return self._client

    def wake(self) -> None:
        """Look at once whether something is to be told. Safe from any thread."""
        loop, event = self._loop, self._wake
        if loop is not None and event is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closing
                loop.call_soon_threadsafe(event.set)

    # ------------------------------------------------------------ PageDesk and the ledger

    def silences(self, now_ms: int) -> list[Silence]:  # noqa: ARG002
        """The cluster's silences, asked at most every few seconds. None while no peer answers."""
        at_s, known = self._silences
        if self._clock.monotonic() - at_s < _SILENCES_FOR_S:
            return known
        try:
            found = [_silence_in(one) for one in self._ask("GET", "/api/v2/silences")]
        except Unavailable as error:
            _log.warning("the cluster's silences are not known: %s", error)
            found = known
        self._silences = (self._clock.monotonic(), found)
        return found

    def set_silence(self, silence: Silence, now_ms: int) -> str:  # noqa: ARG002
        body = {
            "matchers": [
                {"name": one.name, "value": one.value, "isRegex": one.op in {"=~", "!~"},
                 "isEqual": one.op in {"=", "=~"}}
                for one in silence.matchers
            ],
            "startsAt": rfc3339(silence.starts_at_ms), "endsAt": rfc3339(silence.ends_at_ms),
            "createdBy": silence.created_by, "comment": silence.comment, **({"id": silence.id} if silence.id else {}),
        }
        made: str = self._ask("POST", "/api/v2/silences", body)["silenceID"]
        self._silences = (float("-inf"), [])
        return made

    def expire_silence(self, silence_id: str, now_ms: int) -> None:  # noqa: ARG002
        self._ask("DELETE", "/api/v2/silence/" + quote(silence_id, safe=""))
        self._silences = (float("-inf"), [])

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        return [one.id for one in self.silences(now_ms)
                if one.starts_at_ms <= now_ms < one.ends_at_ms and matches(one.matchers, labels)]

    def page_status(self, alert: Alert, now_ms: int) -> list[PageStatus]:
        """How it stands with telling each receiver of this alert; never empty. The most urgent first."""
        if alert.state is AlertState.PENDING:
            return [standing.pending(alert)]
        silences = [one for one in self.silences(now_ms)
                    if one.starts_at_ms <= now_ms < one.ends_at_ms and matches(one.matchers, alert.labels)]
        if silences and alert.state is AlertState.FIRING:
            return [standing.silenced("", silences)]
        told = [at for peer in self._peers if (at := peer.told.get(identity(alert))) is not None]
        if told:
            return [PageStatus("Alertmanager", PageState.HANDED_OVER, "it routes and sends", max(at for _, at in told))]
        failing = [peer for peer in self._peers if peer.failures]
        if failing:
            return [PageStatus("Alertmanager", PageState.RETRYING, f"attempt {failing[0].failures} failed",
                               failing[0].next_ms)]
        return [PageStatus("Alertmanager", PageState.WAITS, "it is on its way", now_ms)]

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]:
        return self._ledger.deliveries(fingerprint, since_ms, limit)

    def open_alerts(self) -> list[Alert]:
        with self._lock:
            return [alert for alert in self._alerts.values() if alert.state is AlertState.FIRING]

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        return self._ledger.history(since_ms, fingerprint, limit)

    def evidence_of(self, alert: Alert) -> Mapping[str, str]:
        return self._found.get(identity(alert), {})

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """One question to the first peer that answers. Blocks: for query threads."""
        problems: list[str] = []
        for peer in self._peers:
            try:
                answer = httpx.request(
                    method, peer.url + path, json=body, timeout=self.settings.timeout_s, trust_env=False,
                    headers=dict(self.settings.headers),
                )
            except httpx.HTTPError as error:
                problems.append(f"{masked(peer.url)}: {str(error) or type(error).__name__}")
                continue
            if answer.is_success:
                return answer.json() if answer.content.strip() else None
            if answer.status_code < 500:
                raise InvalidInput(Problem(f"Alertmanager {masked(peer.url)} answered {answer.status_code}: "
                                           f"{answer.text[:200].strip()}"))
            problems.append(f"{masked(peer.url)}: {answer.status_code}")
        raise Unavailable("no Alertmanager of the cluster answers: " + "; ".join(problems))

    def close(self) -> None:
        self._looking.shutdown(wait=False, cancel_futures=True)
        self._writing.shutdown()
        self._ledger.close()


def _is_past(alert: Alert, now_ms: int) -> bool:
    return alert.state is AlertState.RESOLVED and alert.ends_at_ms is not None \
        and now_ms - alert.ends_at_ms > _RESOLVED_FOR_MS


def _silence_in(told: Mapping[str, Any]) -> Silence:
    found: list[Matcher] = []
    for one in told["matchers"]:
        equal = one.get("isEqual", True)
        op: MatchOp = ("=~" if equal else "!~") if one["isRegex"] else ("=" if equal else "!=")
        found.append(Matcher(one["name"], op, one["value"]))
    return Silence(
        told["id"], tuple(found), _ms(told["startsAt"]), _ms(told["endsAt"]), told.get("createdBy", ""),
        told.get("comment", ""), _ms(told["updatedAt"]),
    )


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


