"""Moments as machines write them: RFC 3339 in UTC with milliseconds, as Go's JSON has it."""

import re
from datetime import UTC, datetime
from typing import Final

NEVER: Final = "0001-01-01T00:00:00Z"
"""How Go writes a time that is not set, such as the end of an alert that fires."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FINER: Final = re.compile(r"(\.\d{6})\d+")


def rfc3339(time_ms: int) -> str:
    """A time since the epoch in words.

    >>> rfc3339(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_or_never(time_ms: int | None) -> str:
    """A time in words, as Go writes one that may not be set.

    >>> rfc3339_or_never(None)
    '0001-01-01T00:00:00Z'
    """
    return NEVER if time_ms is None else rfc3339(time_ms)


def parse_moment_ms(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time; one without a zone is in UTC. Raises ValueError.

    >>> parse_moment_ms("2023-11-14T22:13:20.123456789Z"), parse_moment_ms("2023-11-14T23:13+01:00")
    (1700000000123, 1699999980000)
    """
    try:
        moment = datetime.fromisoformat(_FINER.sub(r"\1", text.strip()))  # Go writes nanoseconds, Python reads µs
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write it as 2026-01-31T12:00:00Z") from None
    return round(((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds() * 1000)
