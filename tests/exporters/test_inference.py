"""The inference exporter: four engines under one naming, and servers that are gone, slow, or no inference servers."""

import contextlib
import threading

import pytest
from prometheus_client import generate_latest

from observe.errors import MalformedData
from observe.exporters import create
from observe.exporters.collectors import Collector, Exporter
from observe.exporters.inference import MAX_SERIES, normalise, parse, targets
from observe.exporters.inference_names import ALIASES, METRICS
from observe.exporters.page import Page
from tests.exporters.golden import cases, check_golden, no_time
from tests.exporters.test_host import _samples
from tests.real.answers import AnsweringServer, says


@pytest.mark.parametrize("case", cases("inference"), ids=lambda case: case.name)
def test_golden(case):
    rows = parse((case / "input" / "exposition.txt").read_text(encoding="utf-8"))
    collector = Collector("inference_a", METRICS, lambda page: normalise(rows, "a", page) and None)

    exporter = Exporter("inference", [collector], timer=no_time)
    check_golden(case, exporter.exposition())
    assert exporter.problems() == {}


def test_label_sets_beyond_the_limit_are_counted():
    names = {"vllm:num_requests_running": [({"model_name": f"m{n}"}, 1.0) for n in range(MAX_SERIES + 3)]}
    page = Page()
    normalise(names, "a", page)

    assert (MAX_SERIES, 3) == (sum(1 for _ in page.samples()), page.left_out)


def test_every_engine_gives_what_a_board_needs_first():
    """Latency, requests and errors are there for each engine, so that one rule fits all."""
    first = {"inference_request_duration_seconds", "inference_time_to_first_token_seconds",
             "inference_requests_finished_total", "inference_requests_failed_total"}
    given = {engine: {alias.ours.name for alias in ALIASES if alias.engine == engine} for engine in
             ("vllm", "sglang", "triton", "otel")}

    assert {engine: first - names for engine, names in given.items()} == {engine: set() for engine in given}


def test_every_row_of_the_table_is_found_in_some_golden():
    """A row with a typing mistake would find nothing and say nothing. Counters may come without `_total`."""
    names = set()
    for case in cases("inference"):
        names |= set(parse((case / "input" / "exposition.txt").read_text(encoding="utf-8")))

    endings = ("", "_total", "_bucket", "_sum")
    assert [alias.theirs for alias in ALIASES if not {alias.theirs + ending for ending in endings} & names] == []


def _normalised(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page = Page()
    normalise(parse(text), "a", page)
    return _samples(page.text().decode())


def test_an_old_name_beside_its_successor_is_not_counted_twice():
    both = "".join(f'vllm:{name}{{model_name="m"}} {value}\n' for name, value in (
        ("gpu_cache_usage_perc", 0.9), ("kv_cache_usage_perc", 0.5),
    ))

    values = {name: value for (name, _), value in _normalised(both).items()}
    assert values == {"inference_kv_cache_usage_ratio": 0.5}


def test_absent_and_nan_stay_absent_and_a_generic_name_alone_is_nobodys():
    assert _normalised('vllm:num_requests_running{model_name="m"} NaN\n') == {}
    assert _normalised('http_requests_total{status="5xx"} 5\n') == {}


def test_failures_of_gen_ai_are_its_requests_with_an_error_type():
    text = "".join(
        f'gen_ai_server_request_duration_seconds_count{{gen_ai_request_model="m"{error}}} {count}\n'
        for error, count in (("", 90), (',error_type=""', 3), (',error_type="503"', 5), (',error_type="timeout"', 2)))

    values = {(name, dict(labels).get("reason", "")): value for (name, labels), value in _normalised(text).items()
              if "requests" in name}
    assert values == {
        ("inference_requests_finished_total", "any"): 100, ("inference_requests_failed_total", "503"): 5,
        ("inference_requests_failed_total", "timeout"): 2}


def test_values_that_fall_together_are_added_or_the_greatest_is_taken():
    text = "".join(
        f'sglang:{name}{{model_name="m",engine_type="{rank}"}} {value}\n'
        for name, value in (("num_running_reqs", 3), ("token_usage", 0.5)) for rank in (0, 1)
    )

    values = {name: value for (name, _), value in _normalised(text).items()}
    assert values == {"inference_requests_running": 6, "inference_kv_cache_usage_ratio": 0.5}


def test_html_is_refused_as_what_it_is():
    with pytest.raises(MalformedData, match="not the text format of metrics"):
        parse("<html><body>Grafana</body></html>\n")


@pytest.mark.parametrize(("text", "expected"), [
    ("http://a:8000", [("a:8000", "http://a:8000/metrics")]),
    ("x=http://a/m, y=https://b:1", [("x", "http://a/m"), ("y", "https://b:1/metrics")]),
    ("http://user:pass@a:1/metrics", [("a:1", "http://user:pass@a:1/metrics")]),
])
def test_targets(text, expected):
    assert targets(text) == expected


@pytest.mark.parametrize(("text", "why"), [
    ("a:8000", "is not an http"), ("x=ftp://a", "is not an http"), ("http://", "is not an http"),
    ("http://a,http://a", "two servers have the same name"),
])
def test_bad_targets_are_refused(text, why):
    with pytest.raises(ValueError, match=why):
        targets(text)


def test_the_demo_gateway_is_read_as_a_vllm():
    """What our demo exposes under vLLM's names gives the same figures here."""
    from observe.demo.signals import ENGINE, Metrics

    metrics = Metrics()
    metrics.running.labels(*ENGINE).set(3)
    metrics.ttft.labels(*ENGINE).observe(0.07)
    metrics.success.labels(*ENGINE, "stop").inc(5)
    with AnsweringServer(says(generate_latest(metrics.registry))) as server:
        text = create("inference", {"targets": f"gateway={server.url}"}).exposition().decode()

    found = {
        name: value for (name, labels), value in _samples(text).items()
        if dict(labels).get("model") == ENGINE[0] and dict(labels).get("le", "0.08") == "0.08"
    }
    assert found["inference_requests_running"] == 3
    assert found["inference_time_to_first_token_seconds_bucket"] == 1
    assert found["inference_requests_finished_total"] == 5


def _half(handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"vllm:num_requests_running 1\n")


@pytest.mark.timeout(120)
def test_a_server_that_drips_its_answer_is_given_up_in_time():
    """Each byte comes in time, all of them never would."""
    release = threading.Event()

    def drip(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        with contextlib.suppress(OSError):  # the asker hangs up
            while not release.wait(0.1):
                handler.wfile.write(b"#")

    with AnsweringServer(drip) as server:
        exporter = create("inference", {"targets": f"a={server.url}", "timeout": "0.5"})
        exporter.exposition()
        release.set()

    assert "gave no answer within 0.5 s" in exporter.problems()["inference_a"]


@pytest.mark.parametrize(("answer", "why"), [
    (says(b"busy", 503), "answered 503"),
    (says(b"", 401), "check user and password"),
    (says(b"", 302, Location="http://127.0.0.1:1/"), "answered 302"),
    (says(b"up 1\n"), "none is an inference server's; SGLang needs --enable-metrics"),
    (says(b"<html>"), "not the text format"),
    (_half, "broke off its answer"),
], ids=["503", "401", "redirect", "something else", "html", "half an answer"])
def test_a_bad_answer_is_told_as_what_it_is(answer, why):
    with AnsweringServer(answer) as server:
        exporter = create("inference", {"targets": f"a={server.url}"})
        text = exporter.exposition().decode()

    assert 'exporter_success{collector="inference_a"} 0\n' in text
    assert why in exporter.problems()["inference_a"]


def test_a_silent_server_and_one_that_is_gone_delay_no_other():
    """The silent one holds its connection; the good one's figures are there, and each failure is its own."""
    release = threading.Event()
    good = b'vllm:num_requests_running{model_name="m"} 2\n'
    with AnsweringServer(lambda _handler: release.wait(120)) as silent, AnsweringServer(says(good)) as server:
        options = {"targets": f"silent={silent.url},gone=http://127.0.0.1:1,good={server.url}", "timeout": "3"}
        exporter = create("inference", options)
        text = exporter.exposition().decode()
        release.set()

    assert 'inference_requests_running{server="good",engine="vllm",model="m",rank="0"} 2\n' in text
    assert "gave no answer within 3 s" in exporter.problems()["inference_silent"]
    assert "cannot be reached" in exporter.problems()["inference_gone"]


def test_a_token_goes_to_the_server_and_nowhere_else(tmp_path):
    (tmp_path / "token").write_text("t0ken\n", encoding="utf-8")
    with AnsweringServer(says(b"", 500)) as server:
        url = server.url.replace("//", "//me:pw@")
        exporter = create("inference", {"targets": f"a={url}/metrics?key=k3y", "token-file": str(tmp_path / "token")})
        exporter.exposition()

    assert server.seen[0][1]["Authorization"] == "Bearer t0ken"
    assert server.seen[0][0] == "/metrics?key=k3y"
    problem = exporter.problems()["inference_a"]
    assert [secret for secret in ("t0ken", "pw", "k3y") if secret in problem] == []


def test_ranks_that_share_the_requests_of_one_engine_are_not_added_up():
    """SGLang's schedulers of each pipeline stage (and, if asked, of each tensor rank) tell of the same requests."""
    samples = "".join(
        f'sglang:num_running_reqs{{model_name="m",pp_rank="{stage}",tp_rank="{rank}",dp_rank="{rank // 2}"}} {value}\n'
        for stage, rank, value in ((0, 0, 7), (0, 1, 7), (0, 2, 3), (0, 3, 3), (1, 0, 6), (1, 2, 3))
    )
    page = Page()

    normalise(parse("# TYPE sglang:num_running_reqs gauge\n" + samples), "a", page)

    assert {"0": 7, "1": 3} == {labels["rank"]: value for _, _, labels, value in page.samples()}
