"""What a cluster of Alertmanagers knows: its silences, and what became of our alerts there. For query threads."""

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from observe._version import __version__
from observe.clock import Clock
from observe.errors import InvalidInput, ObserveError, Problem, Unavailable
from observe.model import Labels
from observe.notify.alertmanager_json import silence_in, silence_out
from observe.notify.matching import matches
from observe.notify.peers import AlertmanagerSettings, meaning
from observe.notify.receivers.webhook import masked
from observe.protocols import Silence

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)
Found = TypeVar("Found")

_FRESH_S = 5.0
"""How long an answer is good for: pages of the console ask for each alert."""
_NAMES_AT_ONCE = 200
"""More names of alerts than that do not fit into an address: then all alerts of the cluster are asked for."""
_MOST_NAMES = 100_000
"""Names of alerts by their fingerprints, of all answers so far: beyond that they are learned anew."""


@dataclass(frozen=True, slots=True)
class There:
    """One of our alerts as the cluster has it."""

    state: str
    """unprocessed, active or suppressed."""
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]
    """Names of the alerts that hold it back, fingerprints where the names are not known."""
    inhibitors: tuple[str, ...]
    """Their fingerprints, as Alertmanager counts them."""
    receivers: tuple[str, ...]


class ClusterApi:
    """Asks the first peer that answers, and starts with the one that answered last. Safe from any thread."""

    def __init__(
        self, settings: AlertmanagerSettings, clock: Clock, transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        import httpx  # heavy, and not needed where no cluster is attached

        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._urls = [url.rstrip("/") for url in settings.urls]
        self._client = httpx.Client(
            timeout=settings.ask_timeout_s, trust_env=False, follow_redirects=False, transport=transport,
            headers={**settings.headers, "User-Agent": f"observe/{__version__}"},
        )
        self._silences = _Remembered[list[Silence]](clock, [])
        self._alerts = _Remembered[dict[Labels, There]](clock, {})
        self._names: frozenset[str] = frozenset()
        self._inhibitor_names: dict[str, str] = {}

    def silences(self) -> list[Silence]:
        """The cluster's silences, asked at most every few seconds. The last known while no peer answers."""
        return self._silences.get(lambda: [silence_in(one) for one in self.ask("GET", "/api/v2/silences")],
                                  "the cluster's silences are not known")

    def silencing(self, labels: Labels, now_ms: int) -> list[Silence]:
        """The silences that hold an alert with these labels back now."""
        return [one for one in self.silences()
                if one.starts_at_ms <= now_ms < one.ends_at_ms and matches(one.matchers, labels)]

    def set_silence(self, silence: Silence) -> str:
        body = {**silence_out(silence), **({"id": silence.id} if silence.id else {})}
        made: str = self.ask("POST", "/api/v2/silences", body)["silenceID"]
        self.forget()
        return made

    def expire_silence(self, silence_id: str) -> None:
        self.ask("DELETE", "/api/v2/silence/" + quote(silence_id, safe=""))
        self.forget()

    def there(self, labels: Labels, names: Iterable[str]) -> There | None:
        """What became of the alert with these labels; None where the cluster does not have it as firing.

        `names` are the alertnames worth asking for at once. Raises `Unavailable` where no peer answers.
        """
        wanted = frozenset(names) | {labels.get("alertname", "")}
        if not wanted <= self._names:
            self._names = wanted
            self._alerts.forget()
        found = self._alerts.get(self.firing, "what became of the alerts is not known")
        if self._alerts.problem:
            raise Unavailable(self._alerts.problem)
        return found.get(labels)

    def firing(self, names: frozenset[str] | None = None) -> dict[Labels, There]:
        """The cluster's firing alerts with these names, asked now."""
        names = self._names if names is None else names
        query = ""
        if 0 < len(names) <= _NAMES_AT_ONCE:
            query = "?" + urlencode({"filter": f'alertname=~"{_alternatives(names)}"'})
        told = self.ask("GET", "/api/v2/alerts" + query)
        if len(self._inhibitor_names) > _MOST_NAMES:
            self._inhibitor_names.clear()
        for one in told:
            self._inhibitor_names[one["fingerprint"]] = one["labels"].get("alertname", one["fingerprint"])
        return {Labels(one["labels"]): self._there(one) for one in told}

    def _there(self, told: Mapping[str, Any]) -> There:
        status = told["status"]
        by = tuple(status.get("inhibitedBy") or ())
        return There(
            status["state"], tuple(status.get("silencedBy") or ()),
            tuple(self._inhibitor_names.get(one, one) for one in by), by,
            tuple(one["name"] for one in told.get("receivers") or ()),
        )

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One question to the first peer that answers, as JSON. Blocks."""
        import httpx

        problems: list[str] = []
        for url in self._in_turn():
            try:
                answer = self._client.request(method, url + path, json=body)
                told = answer.json() if answer.is_success and answer.content.strip() else None
            except httpx.TimeoutException:
                problems.append(f"{masked(url)}: no answer within {self._settings.ask_timeout_s:g} s")
                continue
            except httpx.HTTPError as error:
                problems.append(f"{masked(url)}: {str(error) or type(error).__name__}")
                continue
            except ValueError:
                problems.append(f"{masked(url)}:{meaning(200, '', page=True)}")
                continue
            if answer.is_success:
                self._answered(url)
                return told
            said = f"{masked(url)}: {answer.status_code}{meaning(answer.status_code, answer.text)}"
            if answer.status_code in {400, 422} or (answer.status_code == 404 and path.startswith("/api/v2/silence/")):
                raise InvalidInput(Problem(f"Alertmanager {said}"))
            problems.append(said)
        raise Unavailable("no Alertmanager of the cluster answers: " + "; ".join(problems))

    def pass_on(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """A request of Alertmanager's API as it is, to the first peer that answers: its status and its JSON."""
        import httpx

        problems: list[str] = []
        for url in self._in_turn():
            try:
                answer = self._client.request(
                    method, url + path, content=body or None, headers={"Content-Type": "application/json"})
            except httpx.HTTPError as error:
                problems.append(f"{masked(url)}: {str(error) or type(error).__name__}")
                continue
            if answer.status_code >= 500:
                problems.append(f"{masked(url)}: {answer.status_code}")
                continue
            self._answered(url)
            if method != "GET":
                self.forget()
            return answer.status_code, answer.content
        raise Unavailable("no Alertmanager of the cluster answers: " + "; ".join(problems))

    def tell_all(self, body: Sequence[Mapping[str, Any]]) -> None:
        """Alerts to every member, as the cluster wants them. Raises `Unavailable` where none takes them."""
        import httpx

        problems: list[str] = []
        for url in self._in_turn():
            try:
                answer = self._client.post(url + "/api/v2/alerts", json=body)
            except httpx.HTTPError as error:
                problems.append(f"{masked(url)}: {str(error) or type(error).__name__}")
                continue
            if answer.status_code in {400, 422}:
                raise InvalidInput(Problem(f"Alertmanager {masked(url)}: {answer.text[:200].strip()}"))
            if not answer.is_success:
                problems.append(f"{masked(url)}: {answer.status_code}{meaning(answer.status_code, answer.text)}")
        if len(problems) == len(self._settings.urls):
            raise Unavailable("no Alertmanager of the cluster takes alerts: " + "; ".join(problems))

    def _in_turn(self) -> Sequence[str]:
        with self._lock:
            return tuple(self._urls)

    def _answered(self, url: str) -> None:
        with self._lock:
            if self._urls[0] != url:
                self._urls.remove(url)
                self._urls.insert(0, url)

    def forget(self) -> None:
        """Something changed there: ask anew."""
        self._silences.forget()
        self._alerts.forget()

    def close(self) -> None:
        self._client.close()


class _Remembered(Generic[Found]):
    """An answer that is good for a few seconds, a failure too: a cluster that hangs must not hang every page."""

    def __init__(self, clock: Clock, nothing: Found) -> None:
        self.problem = ""
        """Why the last asking failed; empty where it did not."""
        self._clock = clock
        self._known = nothing
        self._at_s = float("-inf")
        self._lock = threading.Lock()

    def get(self, ask: Callable[[], Found], otherwise: str) -> Found:
        """What is known, asked for where it is not fresh; the last known where nobody answers."""
        with self._lock:
            if self._clock.monotonic() - self._at_s >= _FRESH_S:
                try:
                    self._known, self.problem = ask(), ""
                except (ObserveError, LookupError, TypeError, ValueError) as error:
                    if not self.problem:
                        _log.warning("%s: %s", otherwise, error)
                    self.problem = str(error) or type(error).__name__
                self._at_s = self._clock.monotonic()
            return self._known

    def forget(self) -> None:
        self._at_s = float("-inf")


def _alternatives(names: Iterable[str]) -> str:
    """A pattern that any of the names matches, as a quoted matcher wants it."""
    return "|".join(re.escape(name) for name in sorted(names)).replace("\\", "\\\\").replace('"', '\\"')
