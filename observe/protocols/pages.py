"""The seams around pages: receivers and what they answer, silences, deliveries, and who knows of what."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from observe.model import Alert, Labels, Matcher


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receiver answered."""

    ok: bool
    retryable: bool
    detail: str
    """Status and first words of the answer, or the error; no secrets."""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One group of alerts on its way to one receiver."""

    receiver: str
    group_key: str
    group_labels: Labels
    status: Literal["firing", "resolved"]
    reason: str
    alerts: tuple[Alert, ...]
    external_url: str = ""
    truncated: int = 0
    test: bool = False
    extra: dict[str, str] = field(default_factory=dict)


class Receiver(Protocol):
    """One way to reach people. One file each in `observe.notify.receivers`."""

    name: str

    async def deliver(self, notification: Notification) -> Receipt:
        """Try once. Never raises for the other side's faults."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that match every matcher are held back until `ends_at_ms`."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at_ms: int
    ends_at_ms: int
    created_by: str
    comment: str
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of the ledger: who was told what, when, why, and what they answered; or why not."""

    at_ms: int
    receiver: str
    group_key: str
    status: Literal["firing", "resolved"]
    reason: str
    ok: bool
    detail: str
    attempts: int
    fingerprints: tuple[str, ...]


class PageState(StrEnum):
    """How it stands with telling one receiver of one alert."""

    NO_RECEIVER = "no receiver"
    """Nobody is configured to hear of it."""
    PENDING = "pending"
    """It does not fire yet."""
    WAITS = "group waits"
    """It is told with its group, at `PageStatus.at_ms`."""
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    RETRYING = "retrying"
    """It could not be delivered; `PageStatus.detail` is the last error, `at_ms` the next try."""
    TOLD = "told"
    HANDED_OVER = "handed over"
    """An attached Alertmanager has it; what becomes of it there is not known to us."""


@dataclass(frozen=True, slots=True)
class PageStatus:
    """What one receiver knows of one alert, or why it does not."""

    receiver: str
    """Its name; empty where it concerns nobody in particular."""
    state: PageState
    detail: str
    """A clause for people: ids, names, the last error; no secrets."""
    at_ms: int | None = None
    """When it was told; of what waits or is tried again: when it is its turn; of a silence: its end."""


class PageDesk(Protocol):
    """Silences, the ledger, and who knows of what. Safe from any thread."""

    def page_status(self, alert: Alert, now_ms: int) -> list[PageStatus]:
        """How it stands with telling each receiver of this alert; never empty. The most urgent first."""

    def silences(self, now_ms: int) -> list[Silence]: ...

    def set_silence(self, silence: Silence, now_ms: int) -> str:
        """Create (empty id) or replace; returns the id."""

    def expire_silence(self, silence_id: str, now_ms: int) -> None: ...

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        """Ids of the silences that hold this alert back now."""

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]: ...
