"""What the logs say: shapes of lines that are new or more frequent than in the time before."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from observe.model import LogRecord
from observe.protocols import LogQuery, SignalStore

_VARIABLE: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27,}|\b[0-9a-fA-F]{16,}\b|\b0x[0-9a-fA-F]+\b|\b\d+(?:[.:]\d+)*(?:ms|s|%|[kMG]i?B)?\b"
)
_MOST_LINES: Final = 2000
_MOST_SHOWN: Final = 8
_LOUD: Final = ("fatal", "error", "warn")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One shape of line: how often now, how often in as much time before, and an example."""

    template: str
    level: str
    now: int
    before: float
    """Scaled to the same length of time."""
    example: LogRecord

    @property
    def is_new(self) -> bool:
        return self.before == 0

    @property
    def times(self) -> float:
        return self.now / self.before if self.before else float("inf")


def template_of(line: LogRecord) -> str:
    """The line with its variable words as ``*``.

    >>> template_of(LogRecord(0, "", "", "took 31 ms for 4bf92f3577b34da6a3ce929d0e0e4736"))
    'took * ms for *'
    """
    return _VARIABLE.sub("*", line.error_msg or line.message)[:200]


def patterns_of(store: SignalStore, service: str | None, start_ms: int, end_ms: int) -> list[Pattern]:
    """Patterns of warnings and errors in the range that are new, or surged against the hour before it."""
    length_ms, before_ms = max(1, end_ms - start_ms), 3_600_000
    now = _lines(store, service, start_ms, end_ms)
    before = Counter(template_of(line) for line in _lines(store, service, start_ms - before_ms, start_ms - 1))
    counts = Counter(template_of(line) for line in now)
    examples = {template_of(line): line for line in reversed(now)}
    scale = length_ms / before_ms
    found = [
        Pattern(template, examples[template].level, count, before[template] * scale, examples[template])
        for template, count in counts.items() if before[template] * scale * 2 < count
    ]
    return strongest(found)


def strongest(found: Iterable[Pattern]) -> list[Pattern]:
    """Errors before warnings, the new before the more frequent, and only a few."""
    return sorted(found, key=lambda p: (_LOUD.index(p.level), not p.is_new, -p.now))[:_MOST_SHOWN]


def _lines(store: SignalStore, service: str | None, start_ms: int, end_ms: int) -> list[LogRecord]:
    found: list[LogRecord] = []
    for level in _LOUD:
        query = LogQuery(start_ms * 1_000_000, end_ms * 1_000_000, service=service, level=level, limit=_MOST_LINES)
        found += store.search(query).lines
    return found
