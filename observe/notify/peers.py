"""One Alertmanager of a cluster: what it was told last, what it must hear again, and when it is tried again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from observe.model import Alert, AlertState
from observe.notify.dedup import Identity, identity
from observe.notify.receivers.webhook import masked

if TYPE_CHECKING:
    import httpx

_REFUSED = {400, 413, 422}
"""What is wrong with these alerts is wrong with them tomorrow: they are counted, and left."""


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """The cluster, and how it is told."""

    urls: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request; values are secrets and never shown."""
    external_url: str = ""
    resend_ms: int = 60_000
    """How often a firing alert is told again. Its end is four times as far ahead, as with Prometheus."""
    timeout_s: float = 10.0
    ask_timeout_s: float = 3.0
    """How long a page of the console waits for what the cluster knows."""
    evidence_timeout_s: float = 5.0
    """One round of telling waits no longer for the traces of all its alerts."""
    batch: int = 64
    """Alerts in one request."""
    max_alerts: int = 50_000
    retry_first_ms: int = 500
    retry_most_ms: int = 30_000
    retention_ms: int = 120 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What an Alertmanager answered to alerts."""

    ok: bool
    detail: str
    """Status and what it means, with what to do; no secrets."""
    final: bool = False
    """Refused for good: the same alerts would be refused again."""


class Peer:
    """Never raises for the other side's faults. `told` is written by the event loop alone."""

    def __init__(self, url: str, settings: AlertmanagerSettings) -> None:
        self.url = url.rstrip("/")
        self.name = masked(self.url)
        self.told: dict[Identity, tuple[AlertState, int]] = {}
        """What this peer took last: state, and when."""
        self.failures = 0
        self.problem = ""
        self.next_ms = 0
        self.was_down = False
        self._settings = settings

    def due(self, alerts: Iterable[Alert], now_ms: int) -> list[Alert]:
        """Those that it does not know as they are, or must hear again."""
        found = []
        for alert in alerts:
            told = self.told.get(identity(alert))
            if told is None or told[0] is not alert.state or now_ms - told[1] >= self._settings.resend_ms:
                found.append(alert)
        return found

    def fresh(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Those that are news to it."""
        return [alert for alert in alerts
                if (told := self.told.get(identity(alert))) is None or told[0] is not alert.state]

    async def post(self, client: "httpx.AsyncClient", body: Sequence[Mapping[str, Any]]) -> Answer:
        """Tell it, once."""
        import httpx

        try:
            answer = await client.post(self.url + "/api/v2/alerts", content=json.dumps(body).encode())
        except httpx.TimeoutException:
            return Answer(False, f"{self.name}: no answer within {self._settings.timeout_s:g} s; it is tried again")
        except httpx.HTTPError as error:
            return Answer(False, f"{self.name}: {str(error) or type(error).__name__}; it is tried again")
        page = answer.is_success and answer.text.lstrip().startswith("<")
        detail = f"{self.name}: {answer.status_code}{meaning(answer.status_code, answer.text, page=page)}"
        return Answer(answer.is_success and not page, detail, answer.status_code in _REFUSED)

    def note(self, part: Sequence[Alert], answer: Answer, now_ms: int) -> bool:
        """Remember what came of telling these. Returns whether it came up or went down by that."""
        if answer.ok or answer.final:
            for alert in part:
                self.told[identity(alert)] = (alert.state, now_ms)
        changed = self.was_down != (not answer.ok)
        self.was_down = not answer.ok
        if answer.ok or answer.final:
            self.failures, self.problem, self.next_ms = 0, "" if answer.ok else answer.detail, 0
        else:
            self.failures += 1
            self.problem = answer.detail
            wait_ms = self._settings.retry_first_ms << min(self.failures - 1, 20)
            self.next_ms = now_ms + min(self._settings.retry_most_ms, wait_ms)
        return changed


def meaning(status: int, text: str, *, page: bool = False) -> str:
    """What an Alertmanager's answer says, and what to do about it."""
    words = " ".join(text[:200].split())
    if page or status in {301, 302, 303, 307, 308}:
        return " a web page, not an Alertmanager: correct `attach.alertmanager.urls`, or the proxy before it"
    if status in {401, 403}:
        return " it refuses us: correct `attach.alertmanager.headers`"
    if status == 404:
        return " there is no API v2 at this address: Alertmanager has it since 0.16; correct `attach.alertmanager.urls`"
    return f" {words}" if words and not 200 <= status < 300 else ""
