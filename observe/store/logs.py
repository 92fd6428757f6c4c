"""Logs and spans, embedded: accepted into a spool (synced), searchable within a second, joined by `trace_id`.

Two shelves, one for lines and one for spans, each with its own retention and disk cap. Partitions are segments of the
spool by arrival: retention drops a folder, one index is written at a time, and a late line needs no old index opened.
Each segment knows the span of its records' times, so a search opens only what can hold answers.
"""

import heapq
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import tantivy

from observe.clock import Clock
from observe.errors import ObserveError, Problem, QueryError
from observe.model import LogRecord, Span
from observe.protocols import LogHistogram, LogPage, LogQuery, TraceQuery, TraceSignals, TraceSummary
from observe.store import records
from observe.store.answers import histogram_grid, histogram_place, ranked, summary
from observe.store.index import (
    LOGS,
    SPANS,
    IndexDamaged,
    SegmentIndex,
    all_of,
)
from observe.store.language import Node, parse
from observe.store.rows import END_NS, clamped, log_rows, span_rows
from observe.store.segment import Segment
from observe.store.shelf import Shelf
from observe.store.spool import Spool
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAGE_LIMIT: Final = 10_000
_RETENTION_EVERY_S: Final = 600.0
"""How often an idle store looks whether something is too old; a busy one looks at each new segment."""


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """Retention, caps and pace of the embedded store."""

    logs: SpoolSettings = field(default_factory=SpoolSettings)
    spans: SpoolSettings = field(default_factory=SpoolSettings)
    index_every_s: float = 0.5
    """The shortest time between two commits of the index."""
    rest_after_s: float = 30.0
    """Without new records for so long, the index writers' memory is freed."""
    trace_spans: int = 20_000
    """Spans, and lines, of one trace that are read."""


class SignalIndex:
    """The embedded `SignalStore`."""

    def __init__(self, folder: Path, settings: SignalSettings, clock: Clock, telemetry: Telemetry) -> None:
        self.settings = settings
        self._telemetry = telemetry
        logs = Spool(folder / "logs", settings.logs, clock, telemetry, "logs")
        spans = Spool(folder / "spans", settings.spans, clock, telemetry, "spans")
        self._logs = Shelf(logs, LOGS, records.unpack_log, telemetry)
        self._spans = Shelf(spans, SPANS, lambda entry, _seq: records.unpack_span(entry), telemetry)
        self._shelves = (self._logs, self._spans)
        self._changed = threading.Condition()
        self._dirty = True  # what an earlier process left unindexed
        self._stopping = False
        self._indexing = threading.Thread(target=self._index_loop, name="signal-index", daemon=True)
        self._indexing.start()

    # ------------------------------------------------------------ writing

    def append(self, logs: Sequence[LogRecord], spans: Sequence[Span]) -> None:
        """Durable when it returns; searchable within a second. What is already kept is not kept twice."""
        if logs:
            self._logs.spool.append(*log_rows(logs))
        if spans:
            self._spans.spool.append(*span_rows(spans))
        with self._changed:
            if not self._dirty:
                self._dirty = True
                self._changed.notify_all()

    def _index_loop(self) -> None:
        """Index when something is new; sleep without a timer that ticks otherwise."""
        failures = 0
        while True:
            if not self._woken(self.settings.rest_after_s):
                self._rest()
                self._woken(_RETENTION_EVERY_S)
            with self._changed:
                if self._stopping:
                    return
                dirty, self._dirty = self._dirty, False
            try:
                if dirty:
                    for shelf in self._shelves:
                        shelf.catch_up(stop=lambda: self._stopping)
                else:
                    for shelf in self._shelves:
                        shelf.spool.enforce()
                failures = 0
            except Exception as error:
                # A full disk, or a damaged index found while writing: the lines are safe in the spool. Again, later.
                failures += 1
                logger.error("indexing failed (%d in a row), tried again: %s", failures, error)  # noqa: TRY400
                self._telemetry.dropped("index", "failed attempt")
                with self._changed:
                    self._dirty = True
            with self._changed:
                self._changed.notify_all()
                pause = self.settings.index_every_s * min(60, 2**failures if failures else 1)
                # Paced on real time whatever the clock: this is about the disk, not about what is stored.
                self._changed.wait_for(lambda: self._stopping, timeout=pause)

    def _woken(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._dirty or self._stopping, timeout_s)

    def _rest(self) -> None:
        for shelf in self._shelves:
            try:
                shelf.rest()
            except ObserveError as error:
                logger.error("closing an index writer failed: %s", error)  # noqa: TRY400
                self._dirty = True

    def wait_indexed(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything accepted so far can be found; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._dirty and not any(shelf.behind for shelf in self._shelves), timeout_s)

    def close(self) -> None:
        """Stop indexing; what was accepted is on the disk."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._indexing.join()
        for shelf in self._shelves:
            shelf.spool.close()
        self._rest()

    # ------------------------------------------------------------ log lines

    def search(self, query: LogQuery) -> LogPage:
        node = parse(query.text)
        limit = max(1, min(query.limit, PAGE_LIMIT))
        after = _cursor(query.cursor)
        counts = self._ask(
            self._logs, query.start_ns, query.end_ns, lambda index: index.count(_logs(index, query, node)))
        hits = self._page(query, node, after, limit)
        lines = tuple(self._logs.records((segment, seq) for _, seq, segment in hits))
        more = len(hits) == limit
        return LogPage(
            lines, sum(counts), self._logs.is_whole(query.start_ns, query.end_ns),
            f"{hits[-1][0]}.{hits[-1][1]}" if more else None,
        )

    def _page(
        self, query: LogQuery, node: Node, after: tuple[int, int] | None, limit: int,
    ) -> list[tuple[int, int, Segment]]:
        """(time, seq, segment) in the order of time, and of arrival within the same nanosecond."""
        newest = query.newest_first
        hits = self._same_time(query, node, after[0], after[1], limit) if after is not None else []
        if len(hits) == limit:
            return hits
        start, end = query.start_ns, query.end_ns
        if after is not None:
            start, end = (start, min(end, after[0] - 1)) if newest else (max(start, after[0] + 1), end)
        if start > end:
            return hits
        rest = replace(query, start_ns=start, end_ns=end)
        wanted = limit - len(hits)
        found = sorted(self._ordered(rest, node, "time_ns", wanted), key=lambda hit: hit[:2], reverse=newest)[:wanted]
        if len(found) == wanted:
            # The cut may go through lines of one nanosecond, which the index gives in no order: take those by arrival.
            edge = found[-1][0]
            found = [hit for hit in found if hit[0] != edge]
            found += self._same_time(query, node, edge, None, wanted - len(found))
        return hits + found

    def _same_time(
        self, query: LogQuery, node: Node, time_ns: int, after_seq: int | None, limit: int,
    ) -> list[tuple[int, int, Segment]]:
        exact = replace(query, start_ns=time_ns, end_ns=time_ns)
        found = self._ordered(exact, node, "seq", limit, after_seq)
        ordered = sorted(found, key=lambda hit: hit[1], reverse=query.newest_first)[:limit]
        return [(time_ns, seq, segment) for _, seq, segment in ordered]

    def _ordered(
        self, query: LogQuery, node: Node, by: str, limit: int, after_seq: int | None = None,
    ) -> list[tuple[int, int, Segment]]:
        found: list[tuple[int, int, Segment]] = []

        def one(index: SegmentIndex) -> list[tuple[int, int]]:
            condition = _logs(index, query, node)
            if after_seq is not None:
                beyond = index.between("seq", None, after_seq - 1) if query.newest_first else index.between(
                    "seq", after_seq + 1, None)
                condition = all_of([condition, beyond])
            return index.top(condition, by, limit, descending=query.newest_first)

        for segment, hits in self._ask_each(self._logs, query.start_ns, query.end_ns, one):
            found.extend((value, seq, segment) for value, seq in hits)
        return found

    def histogram(self, query: LogQuery, buckets: int) -> LogHistogram:
        node = parse(query.text)
        buckets = max(1, min(buckets, 1000))
        start_ms, width_ms = histogram_grid(query, buckets)
        counts: dict[str, Any] = {}
        times = {"field": "time_ms", "interval": float(width_ms), "offset": float(start_ms % width_ms)}
        wanted = {"level": {"terms": {"field": "level", "size": 100}, "aggs": {"time": {"histogram": times}}}}
        for found in self._ask(self._logs, query.start_ns, query.end_ns,
                               lambda index: index.aggregate(_logs(index, query, node), wanted)):
            for level in found["level"]["buckets"]:
                row = counts.setdefault(level["key"], np.zeros(buckets, np.int64))
                for bucket in level["time"]["buckets"]:
                    row[histogram_place(bucket["key"], start_ms, width_ms, buckets)] += int(bucket["doc_count"])
        starts = (start_ms + width_ms * np.arange(buckets, dtype=np.int64)) * 1_000_000
        return LogHistogram(starts, counts)

    # ------------------------------------------------------------ traces

    def trace(self, trace_id: str) -> TraceSignals:
        found: list[list[Any]] = []
        for shelf in (self._spans, self._logs):
            hits = [
                (segment, seq)
                for segment, page in self._ask_each(shelf, -END_NS, END_NS, lambda index: index.top(
                    index.term("trace_id", trace_id), "seq", self.settings.trace_spans, descending=False))
                for _, seq in page
            ]
            if len(hits) > self.settings.trace_spans:
                self._telemetry.dropped("trace", "too many spans", len(hits) - self.settings.trace_spans)
            found.append(shelf.records(hits[: self.settings.trace_spans]))
        return TraceSignals(tuple(found[0]), tuple(found[1]))

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        limit = max(1, min(query.limit, 1000))
        by_service = query.service is not None or query.endpoint is not None
        wanted = limit * 4
        while True:
            ids = self._ranked_ids(query, "entry" if by_service else "root", wanted)
            if not ids and by_service:
                ids = self._ranked_ids(query, None, wanted)
            found = self._roots(ids)
            if len(found) >= limit or len(ids) < wanted or wanted >= limit * 64:
                break
            wanted *= 4
        return ranked(found.values())[:limit]

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
            for segment, page in self._ask_each(self._spans, -END_NS, query.end_ns, one)
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
            for segment, page in self._ask_each(self._spans, -END_NS, END_NS, lambda index: index.top(
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

    def services(self, start_ns: int, end_ns: int) -> list[str]:
        wanted = {"service": {"terms": {"field": "service", "size": 1000}}}
        found: set[str] = set()
        for shelf, first, last in ((self._logs, "time_ns", "time_ns"), (self._spans, "start_ns", "end_ns")):
            from_ns = start_ns if shelf is self._logs else -END_NS


            def one(index: SegmentIndex, first: str = first, last: str = last) -> dict[str, Any]:
                inside = all_of([index.between(first, None, end_ns), index.between(last, start_ns, None)])
                return index.aggregate(inside, wanted)

            for answer in self._ask(shelf, from_ns, end_ns, one):
                found.update(bucket["key"] for bucket in answer["service"]["buckets"])
        return sorted(found - {""})

    # ------------------------------------------------------------ asking segments

    def _ask_each(
        self, shelf: Shelf, start_ns: int, end_ns: int, question: Callable[[SegmentIndex], T],
    ) -> Iterator[tuple[Segment, T]]:
        """The answers of the segments of a time; one whose index is damaged is left out and made again."""
        for segment, index in shelf.overlapping(start_ns, end_ns):
            try:
                yield segment, question(index)
            except IndexDamaged as error:
                shelf.mark_damaged(segment, error)
                with self._changed:
                    self._dirty = True
                    self._changed.notify_all()

    def _ask(
        self, shelf: Shelf, start_ns: int, end_ns: int, question: Callable[[SegmentIndex], T],
    ) -> Iterator[T]:
        return (answer for _, answer in self._ask_each(shelf, start_ns, end_ns, question))


def _logs(index: SegmentIndex, query: LogQuery, node: Node) -> tantivy.Query:
    parts = [index.between("time_ns", query.start_ns, query.end_ns)]
    if query.service is not None:
        parts.append(index.term("service", query.service))
    if query.level is not None:
        parts.append(index.term("level", query.level.lower()))
    if query.trace_id is not None:
        parts.append(index.term("trace_id", query.trace_id.lower()))
    if query.text.strip():
        parts.append(index.search_tree(node))
    return all_of(parts)


def _cursor(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        time_ns, seq = text.split(".")
        return clamped(int(time_ns)), clamped(int(seq))
    except ValueError:
        what = f"`{text[:60]}` is not a cursor that a search gave"
        raise QueryError(Problem(what, fix="search again without it")) from None
