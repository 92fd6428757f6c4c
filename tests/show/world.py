"""A small world behind the web side: seams that answer from memory, filled with a believable incident.

An hour of a gateway's series at 15 s; its latency leaves its band eight minutes before "now".
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from observe.errors import QueryError, Unavailable
from observe.model import ABSENT_NAN, Alert, Labels, LogRecord, Matcher, Matrix, Samples, Span, Vector
from observe.protocols import (
    Delivery,
    LogHistogram,
    LogPage,
    LogQuery,
    OddSeries,
    RuleStatus,
    Silence,
    TraceQuery,
    TraceSignals,
    TraceSummary,
)
from observe.show.expressions import parse_selector

NOW_MS = 1_763_697_600_000  # 2025-11-21T04:00:00Z
STEP_MS = 15_000


def matches(labels: Labels, matchers: Sequence[Matcher]) -> bool:
    def one(m: Matcher) -> bool:
        value = labels.get(m.name, "")
        match m.op:
            case "=":
                return value == m.value
            case "!=":
                return value != m.value
            case "=~":
                return re.fullmatch(m.value, value) is not None
            case _:
                return re.fullmatch(m.value, value) is None

    return all(one(m) for m in matchers)


@dataclass
class MemorySource:
    """`SampleSource` over lists of (time, value)."""

    rows: dict[Labels, list[tuple[int, float]]] = field(default_factory=dict)

    def add(self, labels: Labels, values: Sequence[float], end_ms: int = NOW_MS, step_ms: int = STEP_MS) -> None:
        first = end_ms - step_ms * (len(values) - 1)
        self.rows[labels] = [(first + i * step_ms, v) for i, v in enumerate(values) if not is_gap(v)]

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
        names, times, values, offsets = [], [], [], [0]
        for labels in sorted(self.rows):
            inside = [(t, v) for t, v in self.rows[labels] if start_ms <= t <= end_ms]
            if inside and matches(labels, matchers):
                names.append(labels)
                times += [t for t, _ in inside]
                values += [v for _, v in inside]
                offsets.append(len(times))
        return Samples(tuple(names), np.array(offsets), np.array(times, np.int64), np.array(values, np.float64))

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        return list(self.select(matchers, start_ms, end_ms).labels)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({name for labels in self.series(matchers, start_ms, end_ms) for name in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        return sorted({labels[name] for labels in self.series(matchers, start_ms, end_ms) if name in labels})


def is_gap(value: float) -> bool:
    return math.isnan(value) and np.float64(value).view(np.uint64) == np.float64(ABSENT_NAN).view(np.uint64)


@dataclass
class SelectorEngine:
    """`QueryEngine` that knows selectors, and longer expressions by heart (`known`: expression -> selector)."""

    source: MemorySource
    known: dict[str, str] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _: None

    def check(self, expr: str) -> None:
        self._matchers(expr)

    def _matchers(self, expr: str) -> list[Matcher]:
        if expr == "down":
            raise Unavailable("cannot reach the metrics engine at http://metrics:9090: connection refused")
        return parse_selector(self.known.get(expr, expr))

    def instant(self, expr: str, time_ms: int) -> Vector:
        self.before(expr)
        found = self.source.select(self._matchers(expr), time_ms - 299_999, time_ms)
        last = found.offsets[1:] - 1
        return Vector(time_ms, found.labels, found.values[last], found.timestamps[last])

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        self.before(expr)
        if (end_ms - start_ms) / step_ms > 100_000:
            raise QueryError("too many points")
        times = np.arange(start_ms, end_ms + 1, step_ms)
        found = self.source.select(self._matchers(expr), start_ms - 299_999, end_ms)
        values = np.full((len(found), len(times)), ABSENT_NAN)
        for s in range(len(found)):
            span = slice(found.offsets[s], found.offsets[s + 1])
            at = np.searchsorted(found.timestamps[span], times, side="right") - 1
            ok = (at >= 0) & (times - found.timestamps[span][at] < 300_000)
            values[s, ok] = found.values[span][at[ok]]
        kept = [s for s in range(len(found)) if not all(is_gap(v) for v in values[s])]
        return Matrix(times, tuple(found.labels[s] for s in kept), values[kept])


@dataclass
class MemorySignals:
    """`SignalStore` over lists."""

    logs: list[LogRecord] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def append(self, logs: Sequence[LogRecord], spans: Sequence[Span]) -> None:
        self.logs += logs
        self.spans += spans

    def _matching(self, query: LogQuery) -> list[LogRecord]:
        if query.text.count('"') % 2:
            from observe.errors import Problem

            raise QueryError(Problem("the quote is never closed", source=query.text, column=query.text.rindex('"') + 1,
                                     fix='write "two words" with both quotes'))
        words = [w.strip('"').lower() for w in query.text.split()]
        found = [
            line for line in self.logs
            if query.start_ns <= line.timestamp_ns <= query.end_ns
            and (not query.service or line.service == query.service)
            and (not query.level or line.level == query.level)
            and (not query.trace_id or line.trace_id == query.trace_id)
            and all(w in line.message.lower() or w in (line.error_msg or "").lower() for w in words)
        ]
        return sorted(found, key=lambda line: line.timestamp_ns, reverse=query.newest_first)

    def search(self, query: LogQuery) -> LogPage:
        found = self._matching(query)
        start = int(query.cursor or 0)
        page = found[start : start + query.limit]
        more = start + query.limit < len(found)
        return LogPage(tuple(page), len(found), cursor=str(start + query.limit) if more else None)

    def histogram(self, query: LogQuery, buckets: int) -> LogHistogram:
        edges = np.linspace(query.start_ns, query.end_ns, buckets + 1).astype(np.int64)
        counts: dict[str, np.ndarray] = {}
        for line in self._matching(query):
            row = counts.setdefault(line.level, np.zeros(buckets, np.int64))
            row[min(buckets - 1, int(np.searchsorted(edges, line.timestamp_ns, side="right")) - 1)] += 1
        return LogHistogram(edges[:-1], counts)

    def trace(self, trace_id: str) -> TraceSignals:
        return TraceSignals(
            tuple(s for s in self.spans if s.trace_id == trace_id),
            tuple(r for r in self.logs if r.trace_id == trace_id),
        )

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        roots = [
            s for s in self.spans
            if s.parent_span_id is None and s.start_ns <= query.end_ns and s.end_ns >= query.start_ns
            and (not query.service or s.service == query.service)
            and (not query.endpoint or s.attributes.get("http.route") == query.endpoint)
            and (not query.failed_only or s.status == "error")
            and (query.min_duration_ms is None or s.duration_ms >= query.min_duration_ms)
        ]
        roots.sort(key=lambda s: (s.status != "error", -s.duration_ms))
        return [
            TraceSummary(s.trace_id, s.service, s.name, s.attributes.get("http.route"), s.start_ns, s.duration_ms,
                         s.status == "error", str(s.attributes.get("http.response.status_code", "")))
            for s in roots[: query.limit]
        ]

    def services(self, start_ns: int, end_ns: int) -> list[str]:
        return sorted({s.service for s in self.spans} | {r.service for r in self.logs})


@dataclass
class MemoryBook:
    """`AlertBook` that says what it was given."""

    rule_list: list[RuleStatus] = field(default_factory=list)
    odd_list: list[OddSeries] = field(default_factory=list)
    past: list[Alert] = field(default_factory=list)

    def rules(self) -> list[RuleStatus]:
        return self.rule_list

    def active(self) -> list[Alert]:
        return [alert for rule in self.rule_list for alert in rule.alerts]

    def odd(self) -> list[OddSeries]:
        return self.odd_list

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        chosen = [a for a in self.past if a.starts_at_ms >= since_ms and fingerprint in {None, a.fingerprint}]
        return sorted(chosen, key=lambda a: -a.starts_at_ms)[:limit]


@dataclass
class MemoryDesk:
    """`PageDesk` over lists."""

    silence_list: list[Silence] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)

    def silences(self, now_ms: int) -> list[Silence]:
        return [s for s in self.silence_list if s.ends_at_ms > now_ms]

    def set_silence(self, silence: Silence, now_ms: int) -> str:
        from dataclasses import replace

        chosen = replace(silence, id=silence.id or f"silence-{len(self.silence_list)}", updated_at_ms=now_ms)
        self.silence_list = [s for s in self.silence_list if s.id != chosen.id] + [chosen]
        return chosen.id

    def expire_silence(self, silence_id: str, now_ms: int) -> None:
        from dataclasses import replace

        self.silence_list = [replace(s, ends_at_ms=now_ms) if s.id == silence_id else s for s in self.silence_list]

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        return [s.id for s in self.silences(now_ms) if s.starts_at_ms <= now_ms and matches(labels, s.matchers)]

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]:
        return [d for d in self.told if fingerprint is None or fingerprint in d.fingerprints][:limit]


def wavy(count: int, level: float, swing: float, seed: int, noise: float = 0.05) -> list[float]:
    dice = random.Random(seed)
    return [level + swing * math.sin(i / 40) + level * noise * dice.gauss(0, 1) for i in range(count)]
