"""Alert events to a cluster of Alertmanagers, as its clients must: to every peer, again and again until resolved.

Grouping, silences and delivery are theirs. What is ours is to keep telling: firing alerts every `resend_ms` with an end
that moves ahead, resolved ones for five minutes, each peer on its own, so that one that is down misses nothing.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observe._version import __version__
from observe.alert.evidence import FindTraces, annotations
from observe.clock import Clock
from observe.errors import Unavailable
from observe.model import Alert, AlertState, Labels
from observe.moment import rfc3339
from observe.notify import standing, testpage
from observe.notify.books import Books
from observe.notify.cluster_api import ClusterApi
from observe.notify.dedup import Identity, identity
from observe.notify.doubts import Doubts
from observe.notify.lookup import EvidenceLookup
from observe.notify.peers import AlertmanagerSettings, Answer, Peer
from observe.notify.rounds import Rounds
from observe.protocols import Delivery, PageState, PageStatus, Silence
from observe.telemetry import Telemetry

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

_RESOLVED_FOR_MS = 300_000
"""How long a resolved alert is told: a peer that was away for less hears of it."""
_UPKEEP_MS = 3_600_000
_ROUND_MS = 10_000
"""A delivery bears the time at which its round began, which may be before the alert that it still took along."""
_IDLE_S = 1.0


class AlertmanagerCluster:
    """`AlertSink` and `PageDesk` of the attached side. The ledger is kept here too: what fired survives kill -9."""

    def __init__(
        self, settings: AlertmanagerSettings, folder: Path, clock: Clock, telemetry: Telemetry, *,
        find_traces: FindTraces | None = None, transport: "httpx.MockTransport | None" = None,
    ) -> None:
        self.settings = settings
        self.api = ClusterApi(settings, clock, transport)
        self._clock = clock
        self._telemetry = telemetry
        self._transport = transport
        self._books = Books(folder, telemetry, settings.max_alerts)
        self._lookup = EvidenceLookup(find_traces, settings.max_alerts, settings.evidence_timeout_s, telemetry)
        self._rounds = Rounds()
        self._lock = threading.RLock()
        self._alerts: dict[Identity, Alert] = {}
        self._newest: dict[Labels, Identity] = {}
        self._doubts = Doubts(self.api.firing)
        self._peers = [Peer(url, settings) for url in settings.urls]
        self._client: httpx.AsyncClient | None = None
        self._upkeep_at_ms = 0
        self._sent = telemetry.counter(
            "observe_alertmanager_alerts_total", "Alerts told to an Alertmanager, by result.", ("peer", "result"))
        self._up = telemetry.gauge("observe_alertmanager_up", "1 if the last request to it succeeded.", ("peer",))
        telemetry.gauge("observe_alerts_open", "Alerts that are firing.").set_function(lambda: len(self.open_alerts()))
        self._restore()

    def _restore(self) -> None:
        """Take up what the process before told, and what it could not tell any more."""
        now_ms = self._clock.now_ms()
        ledger = self._books.ledger
        for alert in [*ledger.open_alerts(), *ledger.ended_since(now_ms - _RESOLVED_FOR_MS)]:
            self._take(alert)
            # What no Alertmanager ever took is known to nobody but us, and is told at once.
            since_ms = alert.starts_at_ms - _ROUND_MS
            if alert.state is AlertState.FIRING and ledger.was_delivered(alert.fingerprint, since_ms):
                self._doubts.add(alert)

    # ------------------------------------------------------------ AlertSink

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:  # noqa: ARG002 - peers are told by their own clock
        """Firing and resolved alerts; news is durable when this returns. A refusing disk delays no page."""
        with self._lock:
            refused = self._over_limit(alerts)
            taken = [alert for alert in alerts if identity(alert) not in refused]
            news = [alert for alert in taken if self._is_news(alert)]
            self._books.keep(news)
            spoken = self._doubts.clear(map(identity, taken))
            for alert in taken:
                self._take(alert)
        if news or spoken:
            self._rounds.wake()

    def _over_limit(self, alerts: Sequence[Alert]) -> set[Identity]:
        fresh = [one for alert in alerts if (one := identity(alert)) not in self._alerts]
        refused = set(fresh[max(0, self.settings.max_alerts - len(self._alerts)):])
        if refused:
            self._telemetry.dropped("notify", "alert limit", len(refused))
        return refused

    def _is_news(self, alert: Alert) -> bool:
        known = self._alerts.get(identity(alert))
        return known is None or known.state is not alert.state

    def _take(self, alert: Alert) -> None:
        """An Alertmanager knows alerts by their labels alone: of two with the same labels only the newer is told."""
        one = identity(alert)
        before = self._newest.get(alert.labels)
        if before is not None and before != one:
            known = self._alerts.get(before)
            if known is not None and known.starts_at_ms > alert.starts_at_ms:
                return
            self._alerts.pop(before, None)
            self._doubts.clear((before,))
        self._newest[alert.labels] = one
        self._alerts[one] = alert

    # ------------------------------------------------------------ telling

    async def run(self, stop: asyncio.Event) -> None:
        """Tell every peer until `stop` is set."""
        try:
            await self._rounds.run(stop, self._round)
        finally:
            await self._close_client()

    async def _round(self) -> float:
        now_ms = self._clock.now_ms()
        await self.flush_due(now_ms)
        if now_ms >= self._upkeep_at_ms:
            self._upkeep_at_ms = now_ms + _UPKEEP_MS
            await self._books.forget(now_ms - self.settings.retention_ms)
        return _IDLE_S

    async def flush_due(self, now_ms: int) -> int:
        """Tell each peer what it does not know or must hear again. Returns how many requests were made."""
        with self._lock:
            for one in [one for one, alert in self._alerts.items() if _is_past(alert, now_ms)]:
                self._newest.pop(self._alerts.pop(one).labels, None)
                self._lookup.forget(one)
                for peer in self._peers:
                    peer.told.pop(one, None)
        ready = [peer for peer in self._peers if peer.next_ms <= now_ms]
        doubtful = self._doubts.alerts()
        held = await self._doubts.held([one for peer in ready for one in peer.due(doubtful, now_ms)], now_ms)
        with self._lock:
            told = [alert for one, alert in self._alerts.items() if one not in held]
        due = {peer: peer.due(told, now_ms) for peer in ready}
        found = await self._lookup.of_all((alert for alerts in due.values() for alert in alerts), now_ms)
        made = await asyncio.gather(*(self._tell(peer, alerts, found, now_ms) for peer, alerts in due.items()))
        return sum(made)

    async def _tell(
        self, peer: Peer, due: Sequence[Alert], found: Mapping[Identity, Mapping[str, str]], now_ms: int,
    ) -> int:
        made = 0
        for start in range(0, len(due), self.settings.batch):
            part = due[start : start + self.settings.batch]
            body = [self._told(alert, found[identity(alert)], now_ms) for alert in part]
            made += 1
            answer = await peer.post(self._http(), body)
            await self._record(peer, part, answer, now_ms)
            if not answer.ok and not answer.final:
                return made
        return made

    async def _record(self, peer: Peer, part: Sequence[Alert], answer: Answer, now_ms: int) -> None:
        result = "ok" if answer.ok else "refused" if answer.final else "failed"
        self._sent.labels(peer.name, result).inc(len(part))
        self._up.labels(peer.name).set(answer.ok)
        fresh = peer.fresh(part)
        attempts = peer.failures + 1
        changed = peer.note(part, answer, now_ms)
        if changed and not answer.ok:
            _log.warning("Alertmanager does not take alerts: %s", answer.detail)
        if not fresh or (not answer.ok and not answer.final and not changed):
            return  # a peer that stays down is one line of the ledger, not one each try
        firing = any(alert.state is AlertState.FIRING for alert in part)
        await self._books.record(Delivery(
            now_ms, peer.name, "{alertmanager}", "firing" if firing else "resolved", "handed to Alertmanager",
            answer.ok, answer.detail, attempts, tuple(alert.fingerprint for alert in fresh),
        ), None)

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

    def _http(self) -> "httpx.AsyncClient":
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(
                timeout=self.settings.timeout_s, trust_env=False, transport=self._transport, follow_redirects=False,
                headers={**self.settings.headers, "Content-Type": "application/json",
                         "User-Agent": f"observe/{__version__}"},
            )
        return self._client

    async def _close_client(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def send_test(self, now_ms: int, receiver: str | None = None) -> list[Delivery]:
        """A test page to every peer; it ends by itself. Which receivers get it is the cluster's to say."""
        done = await testpage.to_cluster(
            self._peers, self.api, self._http(), self.settings.external_url, now_ms, receiver)
        for delivery in done:
            await self._books.record(delivery, None)
        return done

    # ------------------------------------------------------------ PageDesk

    def page_status(self, alert: Alert, now_ms: int) -> list[PageStatus]:
        """How it stands with telling the cluster, and what becomes of the alert there. The most urgent first."""
        if alert.state is AlertState.PENDING:
            return [standing.pending(alert)]
        one = identity(alert)
        told = [at for peer in self._peers if (at := peer.told.get(one)) is not None]
        failing = [peer for peer in self._peers if peer.failures]
        problems = "; ".join(peer.problem for peer in failing)
        if not told and failing:
            return [PageStatus(standing.THEIRS, PageState.RETRYING, problems, min(peer.next_ms for peer in failing))]
        if not told and one not in self._doubts:
            return [PageStatus(standing.THEIRS, PageState.WAITS, "it is on its way", now_ms)]
        at_ms = max((at for _, at in told), default=alert.updated_at_ms)
        if alert.state is AlertState.RESOLVED:
            return [PageStatus(standing.THEIRS, PageState.HANDED_OVER, "its end was told", at_ms)]
        with self._lock:
            names = {other.name for other in self._alerts.values()}
        try:
            there = self.api.there(alert.labels, names)
        except Unavailable as error:
            return [PageStatus(standing.THEIRS, PageState.HANDED_OVER,
                               f"what became of it is not known: {error}", at_ms)]
        silences = self.api.silencing(alert.labels, now_ms) if there is not None and there.silenced_by else []
        return standing.of_cluster(there, silences, problems, at_ms)

    def silences(self, now_ms: int) -> list[Silence]:  # noqa: ARG002
        return self.api.silences()

    def set_silence(self, silence: Silence, now_ms: int) -> str:  # noqa: ARG002
        return self.api.set_silence(silence)

    def expire_silence(self, silence_id: str, now_ms: int) -> None:  # noqa: ARG002
        self.api.expire_silence(silence_id)

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        return [one.id for one in self.api.silencing(labels, now_ms)]

    def inhibited_by(self, alert: Alert) -> list[str]:
        """Fingerprints, as Alertmanager counts them, of the alerts that hold this one back there."""
        try:
            there = self.api.there(alert.labels, {alert.name})
        except Unavailable:
            return []
        return list(there.inhibitors) if there is not None else []

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]:
        return self._books.ledger.deliveries(fingerprint, since_ms, limit)

    def open_alerts(self) -> list[Alert]:
        with self._lock:
            return [alert for alert in self._alerts.values() if alert.state is AlertState.FIRING]

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        return self._books.ledger.history(since_ms, fingerprint, limit)

    def evidence_of(self, alert: Alert) -> Mapping[str, str]:
        return self._lookup.known(alert)

    def close(self) -> None:
        self._lookup.close()
        self._books.close()
        self.api.close()


def _is_past(alert: Alert, now_ms: int) -> bool:
    return alert.state is AlertState.RESOLVED and alert.ends_at_ms is not None \
        and now_ms - alert.ends_at_ms > _RESOLVED_FOR_MS
