"""Search of the lines of one shelf: pages in the order of time, and how many there are when."""

from dataclasses import replace
from typing import Any

import numpy as np
import tantivy

from observe.errors import Problem, QueryError
from observe.protocols import LogHistogram, LogPage, LogQuery
from observe.store.answers import PAGE_LIMIT, histogram_grid, histogram_place
from observe.store.index import SegmentIndex
from observe.store.index_queries import all_of
from observe.store.language import Node, parse
from observe.store.rows import clamped
from observe.store.segment import Segment
from observe.store.shelf import Shelf


class LineSearch:
    """Answers from the segments of a shelf of lines. From any thread."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._queries = shelf.kind.queries

    def search(self, query: LogQuery) -> LogPage:
        node = parse(query.text)
        limit = max(1, min(query.limit, PAGE_LIMIT))
        after = _cursor(query.cursor)
        condition = self._condition(query, node)
        counts = self._shelf.ask(query.start_ns, query.end_ns, lambda index: index.count(condition))
        hits = self._page(query, node, after, limit)
        lines = tuple(self._shelf.records((segment, seq) for _, seq, segment in hits))
        more = len(hits) == limit
        return LogPage(
            lines, sum(count for _, count in counts), self._shelf.is_whole(query.start_ns, query.end_ns),
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
        condition = self._condition(query, node)
        if after_seq is not None:
            between = self._queries.between
            beyond = between("seq", None, after_seq - 1) if query.newest_first else between("seq", after_seq + 1, None)
            condition = all_of([condition, beyond])

        def one(index: SegmentIndex) -> list[tuple[int, int]]:
            return index.top(condition, by, limit, descending=query.newest_first)

        for segment, hits in self._shelf.ask(query.start_ns, query.end_ns, one):
            found.extend((value, seq, segment) for value, seq in hits)
        return found

    def histogram(self, query: LogQuery, buckets: int) -> LogHistogram:
        node = parse(query.text)
        buckets = max(1, min(buckets, 1000))
        start_ms, width_ms = histogram_grid(query, buckets)
        counts: dict[str, Any] = {}
        times = {"field": "time_ms", "interval": float(width_ms), "offset": float(start_ms % width_ms)}
        wanted = {"level": {"terms": {"field": "level", "size": 100}, "aggs": {"time": {"histogram": times}}}}
        inside = self._condition(query, node)
        for _, found in self._shelf.ask(query.start_ns, query.end_ns, lambda index: index.aggregate(inside, wanted)):
            for level in found["level"]["buckets"]:
                row = counts.setdefault(level["key"], np.zeros(buckets, np.int64))
                for bucket in level["time"]["buckets"]:
                    row[histogram_place(bucket["key"], start_ms, width_ms, buckets)] += int(bucket["doc_count"])
        starts = (start_ms + width_ms * np.arange(buckets, dtype=np.int64)) * 1_000_000
        return LogHistogram(starts, counts)

    def _condition(self, query: LogQuery, node: Node) -> tantivy.Query:
        queries = self._queries
        parts = [queries.between("time_ns", query.start_ns, query.end_ns)]
        if query.service is not None:
            parts.append(queries.term("service", query.service))
        if query.level is not None:
            parts.append(queries.term("level", query.level.lower()))
        if query.trace_id is not None:
            parts.append(queries.term("trace_id", query.trace_id.lower()))
        if query.text.strip():
            parts.append(queries.search_tree(node))
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
