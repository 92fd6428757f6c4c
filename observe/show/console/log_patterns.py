"""What the logs say: shapes of lines that are new or more frequent than in the time before."""

import re
from typing import Final

from observe.model import LogRecord
from observe.protocols import SignalStore
from observe.trace import patterns
from observe.trace.patterns import Pattern

__all__ = ["Pattern", "patterns_of", "strongest", "template_of"]

_VARIABLE: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27,}|\b[0-9a-fA-F]{16,}\b|\b0x[0-9a-fA-F]+\b|\b\d+(?:[.:]\d+)*(?:ms|s|%|[kMG]i?B)?\b"
)
_MOST_SHOWN: Final = 8
_LOUD: Final = ("fatal", "error", "warn")


def template_of(line: LogRecord) -> str:
    """The line with its variable words as ``*``.

    >>> template_of(LogRecord(0, "", "", "took 31 ms for 4bf92f3577b34da6a3ce929d0e0e4736"))
    'took * ms for *'
    """
    return _VARIABLE.sub("*", line.error_msg or line.message)[:200]


def patterns_of(store: SignalStore, service: str | None, start_ms: int, end_ms: int) -> list[Pattern]:
    """Patterns of warnings and errors in the range that are new, or surged against the hour before it."""
    return patterns.new_patterns(store, start_ms, end_ms, service, levels=_LOUD, limit=_MOST_SHOWN)


def strongest(found: list[Pattern]) -> list[Pattern]:
    """Errors before warnings, the new before the more frequent, and only a few."""
    return patterns.strongest(found)[:_MOST_SHOWN]
