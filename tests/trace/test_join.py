"""A trace as one picture: tree, gaps, loops, skew, self time, critical path, logs and alerts."""

import json

import pytest

from observe.errors import Unavailable
from observe.model import Alert, AlertState, Labels, LogRecord, Reason, Span
from observe.protocols import TraceSignals, TraceSummary
from observe.trace.evidence import traces_for
from observe.trace.join import join
from observe.trace.lookup import trace_view
from observe.trace.view import TraceView
from observe.trace.wire import iso, log_json, trace_json

TRACE = f"{7:032x}"
BASE = 1_763_690_000_000_000_000
MS = 1_000_000


def span(name, parent, start_ms, end_ms, service="gateway", **columns):
    return Span(
        TRACE, _id(name), None if parent is None else _id(parent), name, service,
        columns.pop("kind", "internal"), BASE + int(start_ms * MS), BASE + int(end_ms * MS), **columns)


def _id(name):
    return name.encode().hex().ljust(16, "0")[:16]


def log(message, at_ms, span_name=None, **columns):
    return LogRecord(BASE + int(at_ms * MS), "gateway", "info", message, TRACE, _id(span_name) if span_name else None,
                     uid=message, **columns)


def view(*spans, logs=()):
    return join(TRACE, TraceSignals(tuple(spans), tuple(logs)))


def outline(found: TraceView):
    return [(row.depth, row.span.name, (row.start_ns - BASE) / MS, (row.end_ns - BASE) / MS) for row in found.rows]


def times(found: TraceView):
    return {row.span.name: (row.self_ns / MS, row.critical_ns / MS) for row in found.rows}


class TestTree:
    def test_children_stand_under_their_parent_in_the_order_of_time(self):
        found = view(span("b", "root", 20, 30), span("a", "root", 5, 15), span("root", None, 0, 40),
                     span("c", "a", 6, 7))

        assert outline(found) == [(0, "root", 0, 40), (1, "a", 5, 15), (2, "c", 6, 7), (1, "b", 20, 30)]
        assert [row.parent for row in found.rows] == [None, 0, 1, 0]
        assert found.rows[0].children == (1, 3)

    def test_a_missing_parent_is_a_named_gap_under_the_root(self):
        found = view(span("root", None, 0, 40), span("x", "lost", 10, 20), span("y", "lost", 15, 30))

        assert outline(found) == [(0, "root", 0, 40), (1, "missing span", 10, 30), (2, "x", 10, 20), (2, "y", 15, 30)]
        assert [row.gap for row in found.rows] == [False, True, False, False]
        assert found.rows[1].span.span_id == _id("lost")
        assert "1 parent span is missing" in found.notes[0]

    def test_without_a_root_the_gap_is_the_top(self):
        assert outline(view(span("x", "lost", 10, 20))) == [(0, "missing span", 10, 20), (1, "x", 10, 20)]

    @pytest.mark.parametrize("spans", [
        [span("a", "b", 0, 9), span("b", "a", 1, 2), span("c", "b", 3, 4)],
        [span("a", "a", 0, 9)],
        [span("r", None, 0, 9), span("a", "c", 1, 2), span("b", "a", 1, 2), span("c", "b", 1, 2)],
    ], ids=["two", "itself", "three beside a root"])
    def test_a_circle_of_parents_is_cut_and_said(self, spans):
        found = view(*spans)

        assert len(found.rows) == len(spans)
        assert "circle" in found.notes[0]

    def test_a_span_that_came_twice_is_drawn_once(self):
        found = view(span("root", None, 0, 40), span("root", None, 0, 10), span("root", None, 0, 40))

        assert outline(found) == [(0, "root", 0, 40)]
        assert found.notes == ("2 spans came twice; the longer of each two is shown",)

    def test_a_span_that_ends_before_it_begins_has_no_length(self):
        assert outline(view(span("odd", None, 10, 5))) == [(0, "odd", 10, 10)]


class TestSkew:
    def test_a_called_service_ahead_of_its_caller_is_moved_inside_with_its_children(self):
        found = view(
            span("call", None, 0, 100, kind="client"), span("serve", "call", -500, -440, "worker", kind="server"),
            span("inner", "serve", -490, -480, "worker"))

        assert outline(found) == [(0, "call", 0, 100), (1, "serve", 20, 80), (2, "inner", 30, 40)]
        assert found.notes == ("the clock of worker is off by at least 520 ms; its spans are moved",)

    def test_work_that_outlives_its_cause_is_not_skew(self):
        found = view(span("send", None, 0, 10, kind="producer"),
                     span("take", "send", 50, 90, "worker", kind="consumer"))

        assert outline(found) == [(0, "send", 0, 10), (1, "take", 50, 90)]
        assert found.notes == ()


class TestTimes:
    def test_self_time_leaves_out_what_any_child_covers(self):
        found = view(span("r", None, 0, 100), span("a", "r", 10, 50), span("b", "r", 40, 70),
                     span("late", "r", 90, 130))

        assert times(found)["r"][0] == 30  # 100 - [10, 70] - [90, 100]

    def test_the_critical_path_follows_what_finished_last(self):
        found = view(
            span("r", None, 0, 100), span("a", "r", 10, 40), span("b", "r", 20, 90), span("c", "b", 30, 50),
            span("d", "b", 45, 85))

        assert times(found) == {"r": (20, 20), "a": (30, 10), "b": (15, 15), "c": (20, 15), "d": (40, 40)}
        assert sum(critical for _, critical in times(found).values()) == 100

    def test_a_child_that_outlives_its_parent_is_on_the_critical_path(self):
        found = view(span("r", None, 0, 100), span("a", "r", 10, 20), span("b", "a", 15, 90))

        assert times(found) == {"r": (90, 20), "a": (5, 5), "b": (75, 75)}

    def test_the_headline_says_where_the_time_went(self):
        found = view(span("POST /generate", None, 0, 2630), span("decode", "POST /generate", 400, 2600, "worker-2"))

        assert found.headline == "POST /generate took 2.63 s; 2.2 s of it in decode on worker-2"


class TestLogs:
    def test_lines_are_in_the_order_of_time_and_tied_to_their_span(self):
        lines = [log("2", 4, "a"), log("1", 2, "a"), log("3", 6)]
        found = view(span("r", None, 0, 9), span("a", "r", 1, 5), logs=lines)

        assert [(one.record.message, one.row) for one in found.logs] == [("1", 1), ("2", 1), ("3", None)]
        assert found.rows[1].logs == (0, 1)

    def test_a_trace_known_only_from_its_lines(self):
        found = view(logs=[log("1", 2, "a"), log("2", 4)])

        told = trace_json(found)
        assert told["spans"] == []
        assert [one["message"] for one in told["logs"]] == ["1", "2"]
        assert told["headline"] == "2 log lines and no spans"
        assert told["duration_ms"] == 2.0


class Stored:
    """A store that has one trace; it stands in for both real ones, whose own tests say that they answer so."""

    def __init__(self, spans=(), logs=(), traces=(), services=(), error=None):
        self.signals = TraceSignals(tuple(spans), tuple(logs))
        self.found, self.named, self.error = list(traces), list(services), error

    def trace(self, trace_id):
        return self.signals

    def traces(self, query):
        if self.error:
            raise self.error
        return [one for one in self.found if query.endpoint in {None, one.endpoint}]

    def services(self, start_ns, end_ns):
        return self.named


class Book:
    def __init__(self, *alerts):
        self.alerts = alerts

    def active(self):
        return [alert for alert in self.alerts if alert.ends_at_ms is None]

    def history(self, since_ms, fingerprint=None, limit=200):
        return list(self.alerts)


def alert(name, starts_ms, ends_ms=None, service="gateway", **annotations):
    labels = {"alertname": name} | ({"service": service} if service else {})
    base = BASE // MS
    ends = None if ends_ms is None else base + ends_ms
    return Alert(Labels(labels), annotations, AlertState.FIRING, base + starts_ms, ends, base, Reason.HELD_FOR, "g/r")


def test_alerts_that_overlap_are_told():
    book = Book(
        alert("on", -1000), alert("soon after", 100_000), alert("ended before", -9000, -5000),
        alert("much later", 900_000),
        alert("other service", -1000, service="billing"), alert("watchdog", -1000, service=None),
        alert("names it", 900_000, service="other", trace_ids=f"aa,{TRACE}"))

    found = trace_view(TRACE, Stored([span("r", None, 0, 100)]), book)

    assert [one.name for one in found.alerts] == ["on", "soon after", "names it"]
    assert trace_json(found)["alerts"][0]["state"] == "firing"


def test_an_id_that_is_none_is_an_empty_view():
    assert trace_json(trace_view("' or 1", Stored([span("r", None, 0, 1)])))["spans"] == []


class TestWire:
    def test_the_tree_has_children_in_children(self):
        told = trace_json(view(span("root", None, 0, 40), span("a", "root", 5, 15), span("b", "a", 6, 7)))

        assert told["span_count"] == 3
        assert told["spans"][0]["children"][0]["children"][0]["span_id"] == _id("b")
        assert (told["spans"][0]["children"][0]["offset_ms"], told["spans"][0]["duration_ms"]) == (5.0, 40.0)

    def test_a_trace_of_ten_thousand_levels_is_still_json(self):
        deep = [span("0", None, 0, 20_000)] + [span(str(at), str(at - 1), at, 20_000) for at in range(1, 10_000)]

        told = trace_json(view(*deep))

        assert told["span_count"] == 10_000
        assert json.loads(json.dumps(told))["span_count"] == 10_000

    def test_what_json_cannot_carry_is_null_or_text(self):
        odd = {"inf": float("inf"), "b": b"x", "l": [float("nan")]}
        told = log_json(log("x", 0, latency_ms=float("nan"), fields=odd))

        assert (told["latency_ms"], told["fields"]) == (None, {"inf": None, "b": "b'x'", "l": [None]})

    @pytest.mark.parametrize(("time_ns", "text"), [
        (0, "1970-01-01T00:00:00.000000000Z"), (BASE + 1_234_567, "2025-11-21T01:53:20.001234567Z"),
        (10**30, str(10**30)),
    ])
    def test_times(self, time_ns, text):
        assert iso(time_ns) == text


OTHER = TraceSummary(TRACE, "gateway", "POST /b", "/b", BASE, 5.0, failed=False)


class TestEvidence:
    WORST = TraceSummary(TRACE, "gateway", "POST /a", "/a", BASE, 5.0, failed=True)

    def test_the_traces_of_a_service(self):
        found = traces_for("gateway", "/a", 0, 10, Stored(traces=[self.WORST]))

        assert (found.trace_ids, found.reason) == (TRACE, "")

    @pytest.mark.parametrize(("service", "store", "reason"), [
        (None, Stored(), "no label"),
        ("gateway", Stored(traces=[OTHER]), "POST /b is one"),
        ("gateway", Stored(services=["gateway"]), "no finished trace"),
        ("gateway", Stored(services=["other"]), "sent no spans"),
        ("gateway", Stored(error=Unavailable("connection refused")), "did not answer: connection refused"),
    ], ids=["no service", "another endpoint", "no root", "not instrumented", "down"])
    def test_none_has_a_reason(self, service, store, reason):
        found = traces_for(service, "/a", 0, 10, store)

        assert (found.trace_ids, reason in found.reason) == ("", True)
