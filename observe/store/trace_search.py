"""Traces out of a shelf of spans and one of lines: one with all that belongs to it, and the ones worth a look."""

import heapq
from collections.abc import Sequence
from typing import Any, Final

from observe.protocols import TraceQuery, TraceSignals, TraceSummary
from observe.store.answers import best_traces, summary
from observe.store.index import SegmentIndex, all_of
from observe.store.rows import END_NS
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
            hits = [
                (segment, seq)
                for segment, page in shelf.ask(-END_NS, END_NS, lambda index: index.top(
                    index.term("trace_id", trace_id), "seq", self._most, descending=False))
                for _, seq in page
            ]
            if len(hits) > self._most:
                self._telemetry.dropped("trace", "too many spans", len(hits) - self._most)
            found.append(shelf.records(hits[: self._most]))
        return TraceSignals(tuple(found[0]), tuple(found[1]))

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        return best_traces(query, lambda tag, limit: self._ranked_ids(query, tag, limit), self._roots, _MOST_TRACES)

    def _ranked_ids(self, query: TraceQuery, tag: str | None, limit: int) -> list[str]:
        """Ids of the traces that the query asks for, the failed and the slow first."""

        def one(index: SegmentIndex) -> list[tuple[int, int]]:
            parts = [index.between("start_ns", None, query.end_ns), index.between("end_ns", query.start_ns, None)]
            if tag is not None:
                parts.append(index.term("tags", tag))
            if query.service is not None:
                parts.append(index.term("service", query.service))
            if query.endpoint is not None:
                parts.append(index.term("tags", f"endpoint={query.endpoint}"))
            if query.failed_only:
                parts.append(index.term("tags", "failed"))
            if query.min_duration_ms is not None:
                parts.append(index.between("duration_us", int(query.min_duration_ms * 1000), None))
            return index.top(all_of(parts), "rank", limit)

        # A segment knows when its spans began; one that began long before may still overlap.
        hits = [
            (rank, segment, seq)
            for segment, page in self._spans.ask(-END_NS, query.end_ns, one)
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
        hits = [
            (segment, seq)
            for segment, page in self._spans.ask(-END_NS, END_NS, lambda index: index.top(
                all_of([index.term("tags", "root"), index.one_of("trace_id", ids)]), "start_ns", 4 * len(ids),
                descending=False))
            for _, seq in page
        ]
        found: dict[str, TraceSummary] = {}
        for root in self._spans.records(hits):
            known = found.get(root.trace_id)
            if known is None or root.start_ns < known.start_ns:
                found[root.trace_id] = summary(root)
        return found
