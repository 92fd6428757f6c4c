"""One story of lines and spans, and what a store must answer: run unchanged on every `SignalStore`."""

from dataclasses import dataclass, replace
from typing import Any

from observe.model import LogRecord, Span
from observe.protocols import LogQuery, SignalStore, TraceQuery
from observe.store.language import parse
from observe.store.match import matches
from observe.trace.lookup import trace_view

START_MS = 1_763_690_000_000
START_NS = START_MS * 1_000_000
SECOND = 1_000_000_000


def trace_id(number: int) -> str:
    return f"{number:032x}"


def span_id(number: int) -> str:
    return f"{number:016x}"


def line(number: int, message: str, at_s: float = 0.0, **columns: Any) -> LogRecord:
    known = {"service": "gateway", "level": "info", "uid": f"app.log:7:{number}"} | columns
    return LogRecord(START_NS + int(at_s * SECOND), message=message, **known)


def span(
    trace: int, number: int, parent: int | None, at_s: float, lasts_ms: float, **columns: Any,
) -> Span:
    start = START_NS + int(at_s * SECOND)
    known = {"name": "step", "service": "gateway", "kind": "internal"} | columns
    return Span(
        trace_id=trace_id(trace), span_id=span_id(number),
        parent_span_id=None if parent is None else span_id(parent), start_ns=start,
        end_ns=start + int(lasts_ms * 1_000_000), **known,
    )


LINES = [
    line(1, "request started", 0, trace_id=trace_id(1), span_id=span_id(11), endpoint="/generate"),
    line(2, "decode took long on worker-2", 1, trace_id=trace_id(1), span_id=span_id(14), latency_ms=2631.5,
         status="200", endpoint="/generate", fields={"model": "llama-3", "tokens": 512, "worker": {"name": "w2"}}),
    line(3, "request failed", 2, level="error", trace_id=trace_id(2), latency_ms=12.0, status="503",
         endpoint="/generate", error_msg="upstream timed out: 10.0.0.7:8080", fields={"model": "llama-3", "tokens": 3}),
    line(4, "request failed", 3, level="error", status="500", endpoint="/embed", latency_ms=500.0,
         error_msg="Connection reset by peer", fields={"model": "bge", "tokens": 16, "retry": True}),
    line(5, "health check ok", 4, service="worker", level="debug", status="200", latency_ms=0.5),
    line(6, "cache wiped by operator", 5, service="worker", level="warn", fields={"user": "ann", "size": -1.5}),
    line(7, "错误: 连接超时 while talking to db", 6, service="worker", level="error", status="ERROR"),
    line(8, "Reset connection pool", 7, service="worker", fields={"note": 'says "hi" (twice) <b>*&\\'}),
    line(9, "same instant a", 8), line(10, "same instant b", 8), line(11, "same instant c", 8),
    line(12, "", 9, level="", service="quiet"),
    line(13, "snake_case_name and java.net.SocketTimeoutException", 10),
    line(14, "list fields", 11, fields={"tags": ["red", "green"], "when": None, "status": "inner"}),
]

SPANS = [
    span(1, 11, None, 0.0, 2640, name="POST /generate", kind="server", attributes={"http.route": "/generate",
         "http.response.status_code": 200}),
    span(1, 12, 11, 0.01, 200, name="queue"),
    span(1, 13, 11, 0.22, 180, name="prefill", service="worker", kind="consumer"),
    span(1, 14, 13, 0.41, 2200, name="decode", service="worker"),
    span(2, 21, None, 2.0, 14, name="POST /generate", kind="server", status="error",
         attributes={"http.route": "/generate"}),
    span(3, 31, None, 3.0, 505, name="POST /embed", kind="server",
         attributes={"http.route": "/embed", "http.status_code": 500}),
    span(4, 41, None, 30.0, 20, name="POST /generate", kind="server", attributes={"http.route": "/generate"}),
    span(5, 52, 51, 4.0, 9000, name="orphan", kind="server", attributes={"http.route": "/generate"}),
]


@dataclass(frozen=True)
class Case:
    text: str
    found: tuple[int, ...]
    """Numbers of the lines, oldest first."""


CASES = [
    Case("", tuple(range(1, 15))),
    Case("*", tuple(range(1, 15))),
    Case("failed", (3, 4)),
    Case("FAILED", (3, 4)),
    Case("request -failed", (1,)),
    Case("NOT request connection", (8,)),
    Case("connection reset", (4, 8)),
    Case('"connection reset"', (4,)),
    Case('"reset connection"', (8,)),
    Case("message:reset", (8,)),
    Case("error:reset", (4,)),
    Case("error_msg:*", (3, 4)),
    Case("timed OR wiped", (3, 6)),
    Case("(timed OR wiped) level:warn", (6,)),
    Case("timed OR wiped level:debug", (3,)),
    Case("level:(warn OR error) -status:5*", (6, 7)),
    Case("level:ERROR", (3, 4, 7)),
    Case("status:5*", (3, 4)),
    Case("status:503", (3,)),
    Case("status:>=500", (3, 4)),
    Case("status:ERROR", (7,)),
    Case("status:*", (2, 3, 4, 5, 7)),
    Case("-status:*", (1, 6, 8, 9, 10, 11, 12, 13, 14)),
    Case("latency:>500", (2,)),
    Case("latency:>=500", (2, 4)),
    Case("latency:<12", (5,)),
    Case("latency:>2s", (2,)),
    Case("latency:500", (4,)),
    Case("latency:*", (2, 3, 4, 5)),
    Case("tokens:>3", (2, 4)),
    Case("tokens:<=16", (3, 4)),
    Case("size:<0", (6,)),
    Case("size:<-2", ()),
    Case("tokens:512", (2,)),
    Case("retry:true", (4,)),
    Case("model:llama-3", (2, 3)),
    Case("model:llama*", (2, 3)),
    Case("model:*", (2, 3, 4)),
    Case("fields.model:bge", (4,)),
    Case("worker.name:w2", (2,)),
    Case('note:"says \\"hi\\" (twice) <b>*&\\\\"', (8,)),
    Case("tags:green", (14,)),
    Case("fields.status:inner", (14,)),
    Case("when:*", ()),
    Case("endpoint:/generate", (1, 2, 3)),
    Case('endpoint:"/embed"', (4,)),
    Case(f"trace_id:{trace_id(1)}", (1, 2)),
    Case(f"trace:{trace_id(2).upper()}", (3,)),
    Case(f"span_id:{span_id(14)}", (2,)),
    Case("service:worker error", ()),
    Case("service:work*", (5, 6, 7, 8)),
    Case("错误", (7,)),
    Case("超时", (7,)),
    Case("时超", ()),
    Case("snake_case_name", (13,)),
    Case("sockettimeoutexception", (13,)),
    Case("socket*", (13,)),
    Case("java.net.Socket*", (13,)),
    Case("10.0.0.7:8080", (3,)),
    Case("worker-2", (2,)),
    Case("nothing_like_this", ()),
    Case('"request failed" OR "health check" AND level:debug', (3, 4, 5)),
    Case("-(failed OR request) -level:info", (5, 6, 7, 12)),
]


def whole(**columns: Any) -> LogQuery:
    return LogQuery(START_NS, START_NS + 100 * SECOND, **columns)


def numbers(found: Any) -> list[int]:
    return [int(record.uid.rsplit(":", 1)[1]) for record in found]


def every_number(store: SignalStore) -> list[int]:
    """The numbers of all lines, page by page: a busy machine may have let a writer go far beyond one."""
    seen, cursor = [], None
    while True:
        page = store.search(whole(limit=10_000, cursor=cursor, newest_first=False))
        seen += numbers(page.lines)
        cursor = page.cursor
        if cursor is None:
            return seen


def fill(store: SignalStore) -> None:
    store.append(LINES[:6], SPANS[:3])
    store.append(LINES[6:], SPANS[3:])


def check_searches(store: SignalStore) -> None:
    for case in CASES:
        page = store.search(whole(text=case.text, newest_first=False))
        assert (case.text, numbers(page.lines), page.total) == (case.text, list(case.found), len(case.found))
        assert case.found == tuple(numbers(one for one in LINES if matches(parse(case.text), one))), case.text


def check_records(store: SignalStore) -> None:
    """What comes back is what went in."""
    page = store.search(whole(limit=100, newest_first=False))
    assert list(page.lines) == LINES
    assert store.search(whole(service="worker", level="error")).lines == (LINES[6],)
    assert store.search(whole(trace_id=trace_id(1))).lines == (LINES[1], LINES[0])
    exactly = LogQuery(START_NS + 2 * SECOND, START_NS + 3 * SECOND)
    assert numbers(store.search(exactly).lines) == [4, 3]


def check_pages(store: SignalStore) -> None:
    """Pages follow each other without a gap or a repeat, also through lines of one nanosecond."""
    for newest_first in (True, False):
        for limit in (1, 2, 3, 5):
            seen: list[int] = []
            cursor = None
            while True:
                page = store.search(whole(limit=limit, cursor=cursor, newest_first=newest_first))
                assert page.total == len(LINES)
                seen += numbers(page.lines)
                cursor = page.cursor
                if cursor is None:
                    break
            expected = list(range(1, 15))
            assert seen == (expected[::-1] if newest_first else expected)


def check_histogram(store: SignalStore) -> None:
    found = store.histogram(LogQuery(START_NS, START_NS + 15 * SECOND), 3)
    assert [int(start) for start in found.starts_ns] == [START_NS, START_NS + 5_001 * 10**6, START_NS + 10_002 * 10**6]
    counts = {level: row.tolist() for level, row in found.counts.items() if row.any()}
    assert counts == {"info": [2, 5, 1], "error": [2, 1, 0], "debug": [1, 0, 0], "warn": [1, 0, 0], "": [0, 1, 0]}
    only = store.histogram(LogQuery(START_NS, START_NS + 15 * SECOND, text="failed"), 2)
    assert {level: row.tolist() for level, row in only.counts.items() if row.any()} == {"error": [2, 0]}


def check_traces(store: SignalStore) -> None:
    found = store.trace(trace_id(1))
    assert sorted(found.spans, key=lambda one: one.span_id) == SPANS[:4]
    assert sorted(numbers(found.logs)) == [1, 2]
    assert store.trace(trace_id(999)) == replace(found, spans=(), logs=())

    def ids(**columns: Any) -> list[int]:
        query = TraceQuery(**({"start_ns": START_NS, "end_ns": START_NS + 10 * SECOND} | columns))
        return [int(one.trace_id, 16) for one in store.traces(query)]

    assert ids() == [3, 2, 1]  # failed first, then slowest; 5 has no root yet, 4 is later
    assert ids(limit=1) == [3]
    assert ids(end_ns=START_NS + 40 * SECOND) == [3, 2, 1, 4]
    assert ids(start_ns=START_NS + 1 * SECOND, end_ns=START_NS + int(1.5 * SECOND)) == [1]  # overlaps, began before
    assert ids(endpoint="/generate") == [2, 1]
    assert ids(service="worker") == [1]  # by the span where the worker was called
    assert ids(service="gateway", endpoint="/embed") == [3]
    assert ids(failed_only=True) == [3, 2]
    assert ids(min_duration_ms=100) == [3, 1]
    assert ids(service="nobody") == []
    first = store.traces(TraceQuery(START_NS, START_NS + 10 * SECOND, limit=1))[0]
    assert (first.service, first.name, first.endpoint, first.failed, first.status, first.duration_ms) == (
        "gateway", "POST /embed", "/embed", True, "500", 505.0)


def check_join(store: SignalStore) -> None:
    """A trace as its page shows it: spans as a tree, each line on its span, in the order of time."""
    view = trace_view(trace_id(1).upper(), store)
    tree = [(row.span.name, row.depth, [numbers([view.logs[at].record])[0] for at in row.logs]) for row in view.rows]
    assert tree == [("POST /generate", 0, [1]), ("queue", 1, []), ("prefill", 1, []), ("decode", 2, [2])]
    assert view.headline == "POST /generate took 2.64 s; 2.2 s of it in decode on worker"
    assert [numbers([one.record])[0] for one in view.logs] == [1, 2]
    without_spans = trace_view(trace_id(2), store)
    assert [(row.span.name, row.gap) for row in without_spans.rows] == [("POST /generate", False)]
    assert [one.row for one in without_spans.logs] == [None]  # it names no span
    orphan = trace_view(trace_id(5), store)
    assert [(row.gap, row.depth) for row in orphan.rows] == [(True, 0), (False, 1)]


def check_services(store: SignalStore) -> None:
    assert store.services(START_NS, START_NS + 100 * SECOND) == ["gateway", "quiet", "worker"]
    assert store.services(START_NS + int(4.5 * SECOND), START_NS + 5 * SECOND) == ["gateway", "worker"]
    assert store.services(START_NS - 100 * SECOND, START_NS - 50 * SECOND) == []


CHECKS = [check_searches, check_records, check_pages, check_histogram, check_traces, check_join, check_services]
