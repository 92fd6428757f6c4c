"""How an attempt to get a target's page ends: what whoever fetches pages says to whoever wants them."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from observe.errors import LimitExceeded, MalformedData

_GZIP: Final = 31
"""What zlib calls the format."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came. Call `release` when its bytes have been read."""

    body: memoryview
    gzip: bool
    openmetrics: bool
    release: Callable[[], None]

    def page(self, limit: int) -> memoryview | bytes:
        """The page itself, decompressed, but never to more than `limit` bytes."""
        return _inflated(self.body, limit) if self.gzip else self.body


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


def _inflated(body: memoryview, limit: int) -> bytes:
    engine = zlib.decompressobj(_GZIP)
    try:
        page = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedData(f"the page is not valid gzip: {error}", "gzip") from error
    if len(page) > limit:
        raise LimitExceeded(f"the page is larger than {limit} bytes; raise body_size_limit if it should be",
                            "body_size")
    if not engine.eof:
        raise MalformedData("the gzip page is cut short", "gzip")
    return page
