"""How answers about lines and spans are put together: the same for the embedded store and for Elasticsearch."""

from collections.abc import Iterable

from observe.model import Span
from observe.protocols import LogQuery, TraceSummary
from observe.store.index import span_endpoint, span_failed, span_status


def summary(root: Span) -> TraceSummary:
    return TraceSummary(
        root.trace_id, root.service, root.name, span_endpoint(root), root.start_ns, root.duration_ms, span_failed(root),
        span_status(root),
    )


def ranked(found: Iterable[TraceSummary]) -> list[TraceSummary]:
    """Failed first, then slowest; the id decides between equals, so that every store gives one order."""
    return sorted(found, key=lambda one: (not one.failed, -one.duration_ms, one.trace_id))


def histogram_grid(query: LogQuery, buckets: int) -> tuple[int, int]:
    """Start and width (ms) of the buckets that cover both ends of the range."""
    start_ms = query.start_ns // 1_000_000
    return start_ms, max(1, (query.end_ns // 1_000_000 - start_ms) // buckets + 1)


def histogram_place(key: float, start_ms: int, width_ms: int, buckets: int) -> int:
    return max(0, min(int((key - start_ms) // width_ms), buckets - 1))
