"""How answers about lines and spans are put together: the same for the embedded store and for Elasticsearch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from observe.model import Span
from observe.protocols import LogQuery, TraceQuery, TraceSummary
from observe.store.signal_tags import span_endpoint, span_failed, span_status

PAGE_LIMIT: Final = 10_000
"""Hits of one answer, whatever is asked for."""


def summary(root: Span) -> TraceSummary:
    return TraceSummary(
        root.trace_id, root.service, root.name, span_endpoint(root), root.start_ns, root.duration_ms, span_failed(root),
        span_status(root),
    )


def ranked(found: Iterable[TraceSummary]) -> list[TraceSummary]:
    """Failed first, then slowest; the id decides between equals, so that every store gives one order."""
    return sorted(found, key=lambda one: (not one.failed, -one.duration_ms, one.trace_id))


def best_traces(
    query: TraceQuery, ranked_ids: Callable[[str | None, int], Sequence[str]],
    roots: Callable[[Sequence[str]], Mapping[str, TraceSummary]], most: int,
) -> list[TraceSummary]:
    """The traces asked for, the failed and the slow first. Traces whose root is not there make it look further.

    `ranked_ids` gives the best so many by their spans with a tag (None: any span), `roots` what has a root; at most
    64 times what is asked for, and `most`, are looked at.
    """
    limit = max(1, min(query.limit, 1000))
    most = min(limit * 64, most)
    by_service = query.service is not None or query.endpoint is not None
    wanted = limit * 4
    while True:
        ids = ranked_ids("entry" if by_service else "root", wanted)
        if not ids and by_service:
            ids = ranked_ids(None, wanted)
        found = roots(ids)
        if len(found) >= limit or len(ids) < wanted or wanted >= most:
            return ranked(found.values())[:limit]
        wanted = min(wanted * 4, most)


def histogram_grid(query: LogQuery, buckets: int) -> tuple[int, int]:
    """Start and width (ms) of the buckets that cover both ends of the range."""
    start_ms = query.start_ns // 1_000_000
    return start_ms, max(1, (query.end_ns // 1_000_000 - start_ms) // buckets + 1)


def histogram_place(key: float, start_ms: int, width_ms: int, buckets: int) -> int:
    return max(0, min(int((key - start_ms) // width_ms), buckets - 1))
