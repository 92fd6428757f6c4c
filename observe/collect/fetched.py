"""How an attempt to get a target's page ends: what whoever fetches pages says to whoever wants them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came. Call `release` when its bytes have been read."""

    body: memoryview
    gzip: bool
    openmetrics: bool
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no page. `reason` is a short word and a metric label."""

    reason: str
    message: str


Done = Callable[[Fetched | Failed], None]


class PageSource(Protocol):
    """Where one target's pages come from. Used on the event loop, one fetch at a time."""

    def fetch(self, done: Done, timeout_s: float) -> None:
        """Begin to get the page. Calls `done` exactly once, and never later than the timeout."""

    def close(self) -> None:
        """End now; a fetch in progress is not called back."""
