"""Traces out of a shelf of spans and one of lines: one with all that belongs to it, and the ones worth a look."""

import heapq
from collections.abc import Sequence
from typing import Any, Final

import tantivy

from observe.protocols import TraceQuery, TraceSignals, TraceSummary
from observe.store.answers import best_traces, summary
from observe.store.index_queries import IndexQueries, all_of
from observe.store.rows import END_NS
from observe.store.segment import Segment
from observe.store.shelf import Shelf
from observe.telemetry import Telemetry

_MOST_TRACES: Final = 64_000


class TraceSearch:
    """Of one trace at most `most` spans, and lines, are read. From any thread."""

    def __init__(self, spans: Shelf, logs: Shelf, most: int, telemetry: Telemetry) -> None:
        self._spans = spans
        self._logs = logs
        self._most = most
        self._telemetry = telemetry

    def trace(self, trace_id: str) -> TraceSignals:
        found: list[list[Any]] = []
        for shelf in (self._spans, self._logs):
            hits = self._hits(shelf, shelf.kind.queries.term("trace_id", trace_id), "seq", self._most)
            if len(hits) > self._most:
                self._telemetry.dropped("trace", "too many spans", len(hits) - self._most)
            found.append(shelf.records(hits[: self._most]))
        return TraceSignals(tuple(found[0]), tuple(found[1]))

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        return best_traces(query, lambda tag, limit: self._ranked_ids(query, tag, limit), self._roots, _MOST_TRACES)

    def _ranked_ids(self, query: TraceQuery, tag: str | None, limit: int) -> list[str]:
        """Ids of the traces that the query asks for, the failed and the slow first."""
        condition = _condition(self._spans.kind.queries, query, tag)
        # A segment knows when its spans began; one that began long before may still overlap.
        hits = [
            (rank, segment, seq)
            for segment, page in self._spans.ask(
                -END_NS, query.end_ns, lambda index: index.top(condition, "rank", limit))
            for rank, seq in page
        ]
        best = heapq.nlargest(limit, hits, key=lambda hit: hit[0])
        spans = self._spans.records((segment, seq) for _, segment, seq in best)
        return list(dict.fromkeys(span.trace_id for span in spans))

    def _roots(self, trace_ids: Sequence[str]) -> dict[str, TraceSummary]:
        """Summaries of those traces whose root span can be found."""
        ids = list(trace_ids)
        if not ids:
            return {}
        queries = self._spans.kind.queries
        condition = all_of([queries.term("tags", "root"), queries.one_of("trace_id", ids)])
        found: dict[str, TraceSummary] = {}
        for root in self._spans.records(self._hits(self._spans, condition, "start_ns", 4 * len(ids))):
            known = found.get(root.trace_id)
            if known is None or root.start_ns < known.start_ns:
                found[root.trace_id] = summary(root)
        return found

    @staticmethod
    def _hits(shelf: Shelf, condition: tantivy.Query, by: str, limit: int) -> list[tuple[Segment, int]]:
        """The first so many of each segment, whenever they were, in ascending order of `by`."""
        return [
            (segment, seq)
            for segment, page in shelf.ask(
                -END_NS, END_NS, lambda index: index.top(condition, by, limit, descending=False))
            for _, seq in page
        ]


def _condition(queries: IndexQueries, query: TraceQuery, tag: str | None) -> tantivy.Query:
    parts = [queries.between("start_ns", None, query.end_ns), queries.between("end_ns", query.start_ns, None)]
    if tag is not None:
        parts.append(queries.term("tags", tag))
    if query.service is not None:
        parts.append(queries.term("service", query.service))
    if query.endpoint is not None:
        parts.append(queries.term("tags", f"endpoint={query.endpoint}"))
    if query.failed_only:
        parts.append(queries.term("tags", "failed"))
    if query.min_duration_ms is not None:
        parts.append(queries.between("duration_us", int(query.min_duration_ms * 1000), None))
    return all_of(parts)
