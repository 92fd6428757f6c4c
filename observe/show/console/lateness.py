"""Whether a target is still asked: "up" is what the last scrape said, and that may be long ago."""

from typing import Final

from observe.protocols import TargetHealth

_LEAST_MS: Final = 30_000
_UNKNOWN_INTERVAL_MS: Final = 300_000


def is_late(target: TargetHealth, now_ms: int) -> bool:
    """True where several scrapes in a row did not happen: the machine is overloaded, or the collection hangs."""
    if target.last_scrape_ms is None:
        return False
    patience_ms = max(_LEAST_MS, 4 * target.interval_ms) if target.interval_ms else _UNKNOWN_INTERVAL_MS
    return now_ms - target.last_scrape_ms > patience_ms
