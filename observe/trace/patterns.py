"""What the logs say, as templates: which are new, or come much more often, than in the hour before.

Drain (He et al., ICWS 2017) cuts lines into templates by their length and leading words; drain3 implements it. For a
page the two windows are read from the store and mined together, so nothing has to be remembered between pages and a
restart changes nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from observe.model import LogRecord
from observe.protocols import LogQuery, SignalStore
from observe.store.words import words

SAMPLE_LINES: Final = 5000
"""Lines read of each window, the newest; counts are scaled to the window's total."""
LOUD: Final = ("fatal", "error", "warn")
"""Levels that somebody who was paged wants to read."""
CLUSTERS: Final = 1000
"""Templates kept while mining; the least recently seen go first."""
_CHARS: Final = 400
"""Of a message: templates differ early, stack traces are long."""
_SHOWN: Final = 200
_SURGE: Final = 3.0
_NS_PER_MS: Final = 1_000_000

_VARIABLE: Final = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    r"\b(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}\b",
    r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b",
    r"(?<![a-z])[-+]?\d+(?:[.,:]\d+)*(?=[a-zµ%]{0,3}\b|[^a-z]|$)",
))
"""Ids, addresses, numbers with or without a unit."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One template in the window asked for."""

    template: str
    level: str
    now: int
    before: float
    """Lines expected from the hour before, scaled to the window's length; 0 for a new one."""
    example: LogRecord

    @property
    def is_new(self) -> bool:
        return self.before == 0

    @property
    def times(self) -> float:
        """How many times as often as before."""
        return self.now / self.before if self.before else float("inf")


def new_patterns(
    store: SignalStore, start_ms: int, end_ms: int, service: str | None = None, *,
    levels: Sequence[str | None] = (None,), before_ms: int = 3_600_000, limit: int = 10,
) -> list[Pattern]:
    """Templates in [start, end] that are new or surged against the time before it; the worst first.

    A surge is three times what the time before would give, and at least five lines. Levels are read each by itself, so
    that many lines of one do not hide another; (None,) reads all together.
    """
    start_ns, end_ns = start_ms * _NS_PER_MS, end_ms * _NS_PER_MS + _NS_PER_MS - 1
    share = max(1, end_ms - start_ms) / max(1, before_ms)
    found: list[Pattern] = []
    for level in levels:
        window = LogQuery(start_ns, end_ns, service=service, level=level, limit=SAMPLE_LINES)
        hour = replace(window, start_ns=start_ns - before_ms * _NS_PER_MS, end_ns=start_ns - 1)
        now, earlier = store.search(window), store.search(hour)
        if not now.lines:
            continue
        scales = (_scale(earlier.total, len(earlier.lines)) * share, _scale(now.total, len(now.lines)))
        some = surged(earlier.lines, now.lines, *scales)
        if earlier.total > len(earlier.lines):
            some = [one for one in some[: 4 * limit] if not one.is_new or _is_unseen(one, store, hour)]
        found += some[:limit]
    return strongest(found)[:limit]


def _is_unseen(pattern: Pattern, store: SignalStore, hour: LogQuery) -> bool:
    """Ask the whole hour where only its newest lines were read: was there any line with the template's words?"""
    kept = [word for part in pattern.template.split("*") for word in words(part)]
    text = " ".join(f'"{word}"' for word in dict.fromkeys(kept[:20]))
    return not text or store.search(replace(hour, text=text, limit=1)).total == 0


def _scale(total: int, read: int) -> float:
    return total / read if read else 1.0


def surged(
    earlier: Iterable[LogRecord], now: Iterable[LogRecord], earlier_scale: float = 1.0, now_scale: float = 1.0,
) -> list[Pattern]:
    """The templates of `now` that stand out against `earlier`; counts are multiplied by the scales."""
    miner = _miner()
    before: dict[int, int] = {}
    for record in earlier:
        cluster = miner.add_log_message(template_of(record))[0].cluster_id
        before[cluster] = before.get(cluster, 0) + 1
    counts: dict[int, int] = {}
    examples: dict[int, LogRecord] = {}
    templates: dict[int, str] = {}
    for record in now:
        found = miner.add_log_message(template_of(record))[0]
        counts[found.cluster_id] = counts.get(found.cluster_id, 0) + 1
        examples.setdefault(found.cluster_id, record)
        templates[found.cluster_id] = found.get_template().replace("<*>", "*")
    patterns = [
        Pattern(templates[cluster][:_SHOWN], examples[cluster].level, round(count * now_scale),
                before.get(cluster, 0) * earlier_scale, examples[cluster])
        for cluster, count in counts.items()
    ]
    return strongest(one for one in patterns if one.is_new or (one.now >= 5 and one.now >= _SURGE * one.before))


def strongest(found: Iterable[Pattern]) -> list[Pattern]:
    """Errors before warnings before the rest, the new before the surged, many before few."""
    weight = {"fatal": 0, "error": 1, "warn": 2}
    return sorted(found, key=lambda one: (weight.get(one.level, 3), not one.is_new, -one.now, one.template))


def template_of(record: LogRecord) -> str:
    """What a line complains of, masked: its error where it has one, for the message around it is often always the same.

    >>> template_of(LogRecord(0, "", "", "took 31 ms for 4bf92f3577b34da6a3ce929d0e0e4736"))
    'took * ms for *'
    """
    return masked(record.error_msg or record.message)


def masked(message: str) -> str:
    """A message with ``*`` for what varies by nature: ids, addresses, numbers.

    >>> masked("took 512ms for 10.0.0.7:80, request 4bf92f3577b34da6a3ce929d0e0e4736 of u7")
    'took *ms for *, request * of u7'
    """
    text = message[:_CHARS].split("\n", 1)[0]
    for pattern in _VARIABLE:
        text = pattern.sub("*", text)
    return text


def _miner() -> Any:
    from drain3.drain import Drain

    return Drain(depth=4, sim_th=0.5, max_children=100, max_clusters=CLUSTERS)
