"""Logs and spans in an Elasticsearch cluster: the attached `SignalStore`.

`append` answers when the disk queue has the lines (synced); a thread of each kind brings them to the cluster. Searches
go straight to the cluster and answer what the embedded store would: same language, order and ranking of traces.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from observe.clock import Clock
from observe.errors import Problem, QueryError, Unavailable
from observe.model import LogRecord, Span
from observe.protocols import LogHistogram, LogPage, LogQuery, TraceQuery, TraceSignals, TraceSummary
from observe.store import elastic_query as dsl
from observe.store import records
from observe.store.answers import PAGE_LIMIT, best_traces, histogram_grid, histogram_place, summary
from observe.store.elastic_feed import Feed, close_all
from observe.store.elastic_link import ElasticSettings, connect, translated
from observe.store.elastic_schema import document_id, log_document, log_of, span_document, span_document_id, span_of
from observe.store.rows import clamped, log_rows, span_rows
from observe.telemetry import Telemetry

__all__ = ["ElasticSettings", "ElasticStore"]

_PAGE: Final = 5000
TRACE_LIMIT: Final = 20_000


def _prepare_log(entry: bytes, seq: int, node: str) -> tuple[int, str, dict[str, Any]]:
    record = records.unpack_log(entry, seq)
    nameless = record.uid == f"seq:{seq:x}"
    ident = document_id(node, record.uid) if nameless else document_id(record.uid)
    return record.timestamp_ns, ident, log_document(record, seq, ident)


def _prepare_span(entry: bytes, seq: int, _node: str) -> tuple[int, str, dict[str, Any]]:
    span = records.unpack_span(entry)
    ident = span_document_id(span)
    return span.start_ns, ident, span_document(span, seq, ident)


class ElasticStore:
    """Write through a disk queue, read from the cluster."""

    def __init__(self, folder: Path, settings: ElasticSettings, clock: Clock, telemetry: Telemetry) -> None:
        self.settings = settings
        self._telemetry = telemetry
        self._client = connect(settings)
        self._logs = Feed(folder, "logs", settings, self._client, _prepare_log, clock, telemetry)
        self._spans = Feed(folder, "spans", settings, self._client, _prepare_span, clock, telemetry)

    # ------------------------------------------------------------ writing

    def append(self, logs: Sequence[LogRecord], spans: Sequence[Span]) -> None:
        """Durable when it returns; in the cluster as soon as that takes it. `LimitExceeded` when the queue is full."""
        if logs:
            self._logs.append(*log_rows(logs))
        if spans:
            self._spans.append(*span_rows(spans))

    def wait_indexed(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything accepted so far can be found; False if that takes longer."""
        if not all(feed.wait_sent(timeout_s) for feed in (self._logs, self._spans)):
            return False
        with translated(self.settings):
            self._client.indices.refresh(
                index=f"{self.settings.prefix}-*", ignore_unavailable=True, allow_no_indices=True)
        return True

    def close(self) -> None:
        """Stop; what was not yet sent waits on the disk for the next start."""
        closing = threading.Thread(target=close_all, args=((self._logs, self._spans),))
        closing.start()
        closing.join()
        self._client.close()

    # ------------------------------------------------------------ reading

    def _ask(self, kind: str, **body: Any) -> dict[str, Any]:
        with translated(self.settings):
            answer: Any = self._client.search(
                index=f"{self.settings.prefix}-{kind}-*", ignore_unavailable=True, allow_no_indices=True, **body).body
        if not isinstance(answer, dict) or not {"hits", "_shards"} <= answer.keys():
            raise Unavailable(f"what Elasticsearch at {self.settings.urls[0]} answered to a search is not whole; does "
                              "a proxy stand between?", reason="malformed")
        return answer

    def search(self, query: LogQuery) -> LogPage:
        limit = max(1, min(query.limit, PAGE_LIMIT))
        order = "desc" if query.newest_first else "asc"
        body: dict[str, Any] = {
            "query": dsl.logs(query), "size": limit, "track_total_hits": True,
            "sort": [_by("time_ns", order), _by("seq", order), {"id": {"order": order, "unmapped_type": "keyword"}}],
        }
        if query.cursor:
            body["search_after"] = _cursor(query.cursor)
        answer = self._ask("logs", **body)
        hits = answer["hits"]["hits"]
        lines = tuple(_named(log_of(hit["_source"]), hit["_id"]) for hit in hits)
        cursor = ".".join(str(part) for part in hits[-1]["sort"]) if len(hits) == limit else None
        return LogPage(lines, answer["hits"]["total"]["value"], _is_whole(answer), cursor)

    def histogram(self, query: LogQuery, buckets: int) -> LogHistogram:
        buckets = max(1, min(buckets, 1000))
        start_ms, width_ms = histogram_grid(query, buckets)
        times = {"field": "time_ms", "interval": width_ms, "offset": start_ms % width_ms, "min_doc_count": 1}
        answer = self._ask("logs", query=dsl.logs(query), size=0, aggs={
            "level": {"terms": {"field": "level", "size": 100}, "aggs": {"time": {"histogram": times}}}})
        counts: dict[str, Any] = {}
        for level in answer.get("aggregations", {}).get("level", {}).get("buckets", ()):
            row = counts.setdefault(level["key"], np.zeros(buckets, np.int64))
            for bucket in level["time"]["buckets"]:
                row[histogram_place(bucket["key"], start_ms, width_ms, buckets)] += int(bucket["doc_count"])
        starts = (start_ms + width_ms * np.arange(buckets, dtype=np.int64)) * 1_000_000
        return LogHistogram(starts, counts)

    def trace(self, trace_id: str) -> TraceSignals:
        condition = dsl.term("trace_id", trace_id)
        spans = tuple(span_of(hit["_source"]) for hit in self._all("spans", condition))
        logs = tuple(_named(log_of(hit["_source"]), hit["_id"]) for hit in self._all("logs", condition))
        return TraceSignals(spans, logs)

    def _all(self, kind: str, condition: dict[str, Any]) -> list[dict[str, Any]]:
        """Every hit by arrival, up to a limit, page by page."""
        found: list[dict[str, Any]] = []
        sort = [_by("seq", "asc"), {"id": {"order": "asc", "unmapped_type": "keyword"}}]
        after: dict[str, Any] = {}
        while len(found) < TRACE_LIMIT:
            answer = self._ask(kind, query=condition, size=_PAGE, sort=sort, track_total_hits=False, **after)
            hits = answer["hits"]["hits"]
            found += hits
            if len(hits) < _PAGE:
                return found
            after = {"search_after": hits[-1]["sort"]}
        self._telemetry.dropped("trace", "too many spans")
        return found[:TRACE_LIMIT]

    def traces(self, query: TraceQuery) -> list[TraceSummary]:
        return best_traces(query, lambda tag, limit: self._ranked_ids(query, tag, limit), self._roots, PAGE_LIMIT)

    def _ranked_ids(self, query: TraceQuery, tag: str | None, limit: int) -> list[str]:
        answer = self._ask(
            "spans", query=dsl.traces(query, tag), size=limit, sort=[_by("rank", "desc")],
            collapse={"field": "trace_id"}, source=["trace_id"], track_total_hits=False,
        )
        return [hit["_source"]["trace_id"] for hit in answer["hits"]["hits"]]

    def _roots(self, trace_ids: Sequence[str]) -> dict[str, TraceSummary]:
        if not trace_ids:
            return {}
        condition = {"bool": {"filter": [dsl.term("tags", "root"), {"terms": {"trace_id": list(trace_ids)}}]}}
        answer = self._ask(
            "spans", query=condition, size=min(PAGE_LIMIT, 4 * len(trace_ids)), sort=[_by("start_ns", "asc")],
            track_total_hits=False,
        )
        found: dict[str, TraceSummary] = {}
        for hit in answer["hits"]["hits"]:
            root = span_of(hit["_source"])
            found.setdefault(root.trace_id, summary(root))
        return found

    def services(self, start_ns: int, end_ns: int) -> list[str]:
        found: set[str] = set()
        for kind, first, last in (("logs", "time_ns", "time_ns"), ("spans", "start_ns", "end_ns")):
            inside = dsl.all_of([dsl.between(first, None, end_ns), dsl.between(last, start_ns, None)])
            wanted = {"service": {"terms": {"field": "service", "size": 1000}}}
            answer = self._ask(kind, query=inside, size=0, aggs=wanted)
            buckets = answer.get("aggregations", {}).get("service", {}).get("buckets", ())
            found.update(bucket["key"] for bucket in buckets)
        return sorted(found - {""})


def _by(field: str, order: str) -> dict[str, Any]:
    return {field: {"order": order, "unmapped_type": "long"}}


def _named(record: LogRecord, ident: str) -> LogRecord:
    return record if record.uid else LogRecord(**{**_columns(record), "uid": ident})


def _columns(record: LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in LogRecord.__slots__}


def _is_whole(answer: dict[str, Any]) -> bool:
    exact = answer["hits"]["total"]["relation"] == "eq"
    return exact and not answer.get("timed_out") and not answer["_shards"]["failed"]


def _cursor(text: str) -> list[Any]:
    parts = text.split(".")
    try:
        time_ns, seq, ident = parts
        return [clamped(int(time_ns)), clamped(int(seq)), ident]
    except ValueError:
        what = f"`{text[:60]}` is not a cursor that a search gave"
        raise QueryError(Problem(what, fix="search again without it")) from None
