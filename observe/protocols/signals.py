"""The seams around log lines and spans: where they go, and how they are searched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from observe.model import LogRecord, Span


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A search for log lines. `text` is the query language of the search field (docs/logs.md)."""

    start_ns: int
    end_ns: int
    text: str = ""
    service: str | None = None
    level: str | None = None
    trace_id: str | None = None
    limit: int = 100
    cursor: str | None = None
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class LogPage:
    lines: tuple[LogRecord, ...]
    total: int
    """How many lines match; a lower bound where `total_is_exact` is False."""
    total_is_exact: bool = True
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class LogHistogram:
    """Counts of matching lines by time and level."""

    starts_ns: NDArray[np.int64]
    """[T]."""
    counts: dict[str, NDArray[np.int64]]
    """level -> [T]."""


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces: those overlapping the range, failed first, then slowest."""

    start_ns: int
    end_ns: int
    service: str | None = None
    endpoint: str | None = None
    failed_only: bool = False
    min_duration_ms: float | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace by its root span."""

    trace_id: str
    service: str
    name: str
    endpoint: str | None
    start_ns: int
    duration_ms: float
    failed: bool
    status: str = ""


@dataclass(frozen=True, slots=True)
class TraceSignals:
    """All that is stored of one trace, unordered."""

    spans: tuple[Span, ...] = ()
    logs: tuple[LogRecord, ...] = ()


class SignalSink(Protocol):
    """Where log lines and spans go."""

    def append(self, logs: Sequence[LogRecord], spans: Sequence[Span]) -> None:
        """Durable (fsynced, perhaps with others) when it returns. Safe from any thread.

        Raises `LimitExceeded` when the spool is full and `StorageError` when the disk refuses.
        """


class SignalStore(SignalSink, Protocol):
    """Logs and spans that can be searched: embedded (tantivy over a spool) or attached (Elasticsearch)."""

    def search(self, query: LogQuery) -> LogPage: ...

    def histogram(self, query: LogQuery, buckets: int) -> LogHistogram: ...

    def trace(self, trace_id: str) -> TraceSignals: ...

    def traces(self, query: TraceQuery) -> list[TraceSummary]: ...

    def services(self, start_ns: int, end_ns: int) -> list[str]: ...
