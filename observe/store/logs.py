"""Logs and spans, embedded: accepted into a spool (synced), searchable within a second, joined by `trace_id`.

Two shelves, one for lines and one for spans, each with its own retention and disk cap. Partitions are segments of the
spool by arrival: retention drops a folder, one index is written at a time, and a late line needs no old index opened.
Each segment knows the span of its records' times, so a search opens only what can hold answers.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tantivy

from observe.clock import Clock
from observe.errors import ObserveError
from observe.model import LogRecord, Span
from observe.protocols import LogHistogram, LogPage, LogQuery, TraceQuery, TraceSignals, TraceSummary
from observe.store import records
from observe.store.index import SegmentIndex
from observe.store.index_kinds import LOGS, SPANS
from observe.store.index_queries import all_of
from observe.store.line_search import LineSearch
from observe.store.rows import END_NS, log_rows, span_rows
from observe.store.shelf import Shelf
from observe.store.spool import Spool
from observe.store.spool_settings import SpoolSettings
from observe.store.trace_search import TraceSearch
from observe.telemetry import Telemetry

logger = logging.getLogger(__name__)

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
        self._logs = Shelf(logs, LOGS, records.unpack_log, self._wake, telemetry)
        self._spans = Shelf(spans, SPANS, lambda entry, _seq: records.unpack_span(entry), self._wake, telemetry)
        self._shelves = (self._logs, self._spans)
        self._lines = LineSearch(self._logs)
        self._traces = TraceSearch(self._spans, self._logs, settings.trace_spans, telemetry)
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

    def _wake(self) -> None:
        """There is something to index."""
        with self._changed:
            self._dirty = True
            self._changed.notify_all()

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

    # ------------------------------------------------------------ reading

    def search(self, query: LogQuery) -> LogPage:
        return self._lines.search(query)

    def histogram(self, query: LogQuery, buckets: int) -> LogHistogram:
        return self._lines.histogram(query, buckets)

    def trace(self, trace_id: str) -> TraceSignals:
        return self._traces.trace(trace_id)

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        return self._traces.traces(query)

    def services(self, start_ns: int, end_ns: int) -> list[str]:
        wanted = {"service": {"terms": {"field": "service", "size": 1000}}}
        found: set[str] = set()
        for shelf, first, last in ((self._logs, "time_ns", "time_ns"), (self._spans, "start_ns", "end_ns")):
            from_ns = start_ns if shelf is self._logs else -END_NS
            between = shelf.kind.queries.between
            inside = all_of([between(first, None, end_ns), between(last, start_ns, None)])

            def one(index: SegmentIndex, inside: tantivy.Query = inside) -> dict[str, Any]:
                return index.aggregate(inside, wanted)

            for _, answer in shelf.ask(from_ns, end_ns, one):
                found.update(bucket["key"] for bucket in answer["service"]["buckets"])
        return sorted(found - {""})
