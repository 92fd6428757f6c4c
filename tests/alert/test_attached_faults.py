"""An attached metrics server that is down, slow, wrong or half there: a clear error, a counter, the rest goes on."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.clock import SystemClock
from observe.detect.engine import create
from observe.errors import LimitExceeded, ObserveError, QueryError, Unavailable
from observe.store.prometheus import PrometheusEngine, PrometheusSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.alert.world import START_MS, Collected, rules

GOOD = {"status": "success", "data": {"resultType": "vector", "result": []}}


def engine(handler, **settings) -> tuple[PrometheusEngine, Telemetry]:
    telemetry = Telemetry()
    chosen = PrometheusSettings("http://prometheus.example:9090/base?token=s3cret", **settings)
    return PrometheusEngine(chosen, ManualClock(), telemetry, httpx.MockTransport(handler)), telemetry


def answers(*given: httpx.Response):
    left = list(given)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def slow(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow")


def halfway(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def error(status: int, kind: str, text: str) -> httpx.Response:
    return httpx.Response(status, json={"status": "error", "errorType": kind, "error": text})


CASES = [
    ("down", refuse, Unavailable, "cannot reach http://prometheus.example:9090 (connection refused)", "connection"),
    ("slow", slow, Unavailable, "gave no answer within 10 s", "timeout"),
    ("half an answer", halfway, Unavailable, "cannot reach", "connection"),
    ("half a JSON", answers(httpx.Response(200, content=b'{"status":"succ')), Unavailable, "not Prometheus' JSON",
     "malformed"),
    ("a web page", answers(httpx.Response(404, content=b"<html>")), Unavailable, "is this the address of its API?",
     "malformed"),
    ("wrong credentials", answers(httpx.Response(401)), Unavailable, "check `headers:`", "unauthorized"),
    ("overloaded", answers(httpx.Response(503, content=b"busy")), Unavailable, "answered 503", "server error"),
    ("too expensive", answers(error(422, "execution", "query processing would load too many samples")), QueryError,
     "too many samples", "refused"),
    ("bad expression", answers(error(400, "bad_data", 'invalid parameter "query": 1:5: parse error: unexpected end')),
     QueryError, "unexpected end", "refused"),
]


@pytest.mark.parametrize(("handler", "kind", "message", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_goes_wrong_is_told_and_counted(handler, kind, message, reason):
    asked, telemetry = engine(handler)
    with pytest.raises(kind) as caught:
        asked.instant("sum(up)", 0)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert f'observe_remote_queries_total{{result="{reason}"}} 1.0' in telemetry.exposition().decode()


def test_a_parse_error_has_its_position():
    asked, _ = engine(answers(error(400, "bad_data", "1:5: parse error: unexpected end of input")))
    with pytest.raises(QueryError) as caught:
        asked.check("sum(")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (1, 5)


def test_a_server_that_comes_back_is_asked_again():
    asked, telemetry = engine(answers(httpx.Response(503), httpx.Response(503), httpx.Response(200, json=GOOD)))
    assert asked.instant("sum(up)", 0).labels == ()
    assert b'observe_remote_queries_total{result="ok"} 1.0' in telemetry.exposition()


def test_wrong_credentials_are_not_tried_again():
    seen = []
    asked, _ = engine(lambda request: (seen.append(request), httpx.Response(403))[1])
    with pytest.raises(Unavailable):
        asked.instant("sum(up)", 0)
    assert len(seen) == 1


def test_an_answer_that_is_too_large_is_cut_off():
    asked, _ = engine(answers(httpx.Response(200, content=b"x" * 2000)), max_answer_bytes=1000)
    with pytest.raises(LimitExceeded, match="larger than 1000 bytes"):
        asked.instant("sum(up)", 0)


def test_the_grammar_judges_while_the_server_is_away():
    asked, _ = engine(refuse)
    asked.check("sum(rate(x[5m]))")
    with pytest.raises(QueryError):
        asked.check("sum(")


def test_headers_are_sent():
    seen = []
    asked, _ = engine(lambda request: (seen.append(request), httpx.Response(200, json=GOOD))[1],
                      headers={"X-Scope-OrgID": "team"})
    asked.instant("sum(up)", 5000)
    assert seen[0].headers["X-Scope-OrgID"] == "team"
    assert seen[0].content == b"query=sum%28up%29&time=5.000"


class OneHangs:
    """A `QueryEngine` whose one expression does not answer until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def instant(self, expr, time_ms):
        from observe.promql.engine import Engine
        from observe.testing import MemorySource

        if expr == "slow":
            self.go.wait(300)
        return Engine(MemorySource()).instant(expr, time_ms)


def test_a_rule_costs_one_request_a_tick():
    """Whatever the number of its series, and also where a rule needs to know when samples were taken."""
    seen: list[str] = []
    many = {"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"instance": str(n)}, "value": [START_MS / 1000, "1"]} for n in range(500)]}}

    def count(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json=many)

    query, telemetry = engine(count)
    text = (
        'groups:\n- name: g\n  rules:\n  - {record: a:b, expr: sum(x)}\n  - {alert: Plain, expr: "rate(x[5m]) > 2"}\n'
        "  - {alert: Bare, expr: load, band: {detector: rolling, window: 10}}\n")
    clock = ManualClock(START_MS)
    evaluator = RuleEvaluator(rules(text), query, None, Collected(), create, clock, telemetry,
                              settings=EvaluatorSettings(spread=False, replay_ms=0))
    ticks = 3
    for _ in range(ticks):
        evaluator.tick(clock.now_ms())
        clock.advance_ms(15_000)

    assert 3 * ticks == len(seen)


def test_a_query_that_hangs_delays_no_other_rule_and_is_not_piled_up():
    query, clock, sink = OneHangs(), ManualClock(START_MS), Collected()
    text = "groups:\n- name: g\n  rules:\n  - {alert: Slow, expr: slow}\n  - {alert: Fine, expr: vector(1)}\n"
    with ThreadPoolExecutor(4) as pool:
        evaluator = RuleEvaluator(
            rules(text), query, None, sink, create, clock, Telemetry(), executor=pool,
            settings=EvaluatorSettings(spread=False, query_timeout_s=3))
        for _ in range(3):
            evaluator.tick(clock.now_ms())
            clock.advance_ms(15_000)
        told = {rule.name: rule.last_error for rule in evaluator.rules()}
        query.go.set()
    assert told == {"Slow": "the query of the evaluation before is still running", "Fine": ""}
    assert [alert.name for alert in sink.alerts] == ["Fine"] * 3


def test_a_fault_of_ours_in_a_query_is_told_with_its_trace(caplog):
    class Broken:
        def instant(self, expr, time_ms):
            raise TypeError("a fault of ours")

    with ThreadPoolExecutor(1) as pool:
        evaluator = RuleEvaluator(
            rules("groups:\n- name: g\n  rules:\n  - {alert: A, expr: x}\n"), Broken(), None, Collected(), create,
            ManualClock(START_MS), Telemetry(), executor=pool, settings=EvaluatorSettings(spread=False))
        evaluator.tick(START_MS)

    assert ["a fault of ours"] == [rule.last_error for rule in evaluator.rules()]
    assert [TypeError] == [record.exc_info[0] for record in caplog.records if record.exc_info]


def test_a_real_socket_that_says_nothing_ends_with_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = PrometheusSettings(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        asked = PrometheusEngine(settings, SystemClock(), Telemetry())
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            asked.instant("sum(up)", 0)
        asked.close()


def test_errors_are_ours():
    asked, _ = engine(answers(httpx.Response(200, content=json.dumps({"status": "success", "data": 5}).encode())))
    with pytest.raises(ObserveError, match="not as its API says"):
        asked.instant("sum(up)", 0)
