"""Rules on the real Prometheus and the real VictoriaMetrics: the same answers, bands and alerts as embedded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.clock import SystemClock
from observe.detect.engine import create
from observe.errors import QueryError
from observe.model import Labels, Matcher, is_absent
from observe.promql.engine import Engine
from observe.store.prometheus import PrometheusEngine, PrometheusSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock, MemorySink, MemorySource
from tests.alert.world import Collected, rules
from tests.real.metrics_servers import prometheus, victoria_metrics

pytestmark = pytest.mark.real

STEP = 15_000
QUIET = [10, 11, 9, 10, 12, 8, 10, 11, 9, 10, 11, 10, 9, 10, 11]
LOAD = [*QUIET, 40, 41, 40, 42, 41, 10, 11, 10, 9, 10, 10, 11, 10]
START = (SystemClock().now_ms() - 3_600_000) // 60_000 * 60_000

POINTS = {
    Labels({"__name__": "load", "service": "s", "job": "j", "instance": "i"}): [
        (START + place * STEP, float(value)) for place, value in enumerate(LOAD)],
    Labels({"__name__": "up", "job": "j", "instance": "i"}): [
        (START + place * STEP, 1.0) for place in range(len(LOAD))],
    Labels({"__name__": "requests_total", "service": "s", "path": 'a"b\\c'}): [
        (START + place * STEP, place * 30.0) for place in range(len(LOAD))],
}
BAND = """\
groups:
- name: g
  rules:
  - alert: Odd
    expr: sum by (service) (load)
    band: {detector: rolling, window: 10, k: 3, direction: above, min_rel: 20%, trigger: 3 of 5, recover: 3 of 3}
    labels: {severity: warning}
  - {alert: Plain, expr: load > 41}
  - {alert: Broken, expr: '{__name__=~"load|up"} * on () {__name__=~"load|up"}'}
"""


@pytest.fixture(scope="module", params=["prometheus", "victoria-metrics"])
def url(request, tmp_path_factory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("server")
    start = prometheus if request.param == "prometheus" else victoria_metrics
    server, address = start(folder, POINTS)
    with server:
        yield address


@pytest.fixture
def remote(url) -> Iterator[PrometheusEngine]:
    engine = PrometheusEngine(PrometheusSettings(url), SystemClock(), Telemetry())
    yield engine
    engine.close()


@pytest.fixture
def embedded() -> Engine:
    source = MemorySource()
    for labels, points in POINTS.items():
        for at, value in points:
            source.add(labels, at, value)
    return Engine(source)


@pytest.mark.parametrize("expr", [
    "load", "sum by (service) (load)", "rate(requests_total[1m])", "load > 1000", "vector(1)", "1 + 1",
    "load unless up", '{__name__=~"load|up"}',
])
def test_the_same_answer_at_one_time(remote, embedded, expr):
    at = START + 12 * STEP + 4_000
    ours, theirs = embedded.instant(expr, at), remote.instant(expr, at)
    assert dict(zip(theirs.labels, theirs.values.tolist(), strict=True)) == pytest.approx(
        dict(zip(ours.labels, ours.values.tolist(), strict=True)))


def test_a_selector_says_when_its_samples_were_taken(remote):
    vector = remote.instant('load{service="s"}', START + 12 * STEP + 4_000)
    assert vector.sampled_at_ms.tolist() == [START + 12 * STEP]
    assert vector.labels == (Labels({"__name__": "load", "service": "s", "job": "j", "instance": "i"}),)


def test_the_same_answer_over_a_range(remote, embedded):
    span = (START, START + 20 * STEP, STEP)
    ours, theirs = embedded.range("sum by (service) (load)", *span), remote.range("sum by (service) (load)", *span)
    assert (theirs.labels, theirs.times_ms.tolist()) == (ours.labels, ours.times_ms.tolist())
    assert np.array_equal(is_absent(theirs.values), is_absent(ours.values))
    assert np.allclose(theirs.values, ours.values, equal_nan=True)


def test_raw_samples_series_and_labels(remote):
    match = [Matcher("__name__", "=", "load")]
    samples = remote.select(match, START, START + 3 * STEP)
    assert (samples.timestamps.tolist(), samples.values.tolist()) == (
        [START + place * STEP for place in range(4)], [10.0, 11.0, 9.0, 10.0])
    span = (START, START + 3 * STEP)
    assert remote.series(match, *span) == [Labels({"__name__": "load", "service": "s", "job": "j", "instance": "i"})]
    assert set(remote.label_names(match, *span)) == {"__name__", "service", "job", "instance"}
    assert remote.label_values("path", [], *span) == ['a"b\\c']


def test_the_server_judges_an_expression(remote):
    remote.check("sum(rate(requests_total[5m]))")
    with pytest.raises(QueryError):
        remote.check("sum(rate(requests_total[5m])")


def run(query, spread_over: ThreadPoolExecutor | None = None) -> tuple[RuleEvaluator, Collected, MemorySource]:
    clock, sink, written = ManualClock(START), Collected(), MemorySource()
    evaluator = RuleEvaluator(
        rules(BAND), query, MemorySink(written), sink, create, clock, Telemetry(),
        settings=EvaluatorSettings(spread=False), executor=spread_over,
    )
    for _ in LOAD:
        evaluator.tick(clock.now_ms())
        clock.advance_ms(STEP)
    return evaluator, sink, written


def test_bands_and_alerts_are_those_of_the_embedded_engine(remote, embedded):
    with ThreadPoolExecutor(4) as pool:
        evaluator, theirs, theirs_written = run(remote, pool)
    _, ours, ours_written = run(embedded)
    assert theirs.told() == ours.told() == [
        ("Odd", "firing", "condition met"), ("Plain", "firing", "condition met"),
        ("Plain", "resolved", "condition cleared"), ("Odd", "resolved", "recovered"),
    ]
    bands = [Matcher("__name__", "=~", "observe_band_.*")]
    left, right = theirs_written.select(bands, 0, 2**60), ours_written.select(bands, 0, 2**60)
    assert left.labels == right.labels
    assert np.array_equal(left.timestamps, right.timestamps)
    assert np.allclose(left.values, right.values, equal_nan=True)
    assert evaluator.rules()[2].health == "err"


def test_bands_are_drawn_by_the_attached_server(url):
    """Judged now, written by remote write, asked for again from the same server as a Grafana on it would."""
    from observe.model import METRIC_NAME, Frame
    from observe.store.remote_write import RemoteWriter, RemoteWriteSettings
    from tests.real.process import wait_until

    clock, telemetry = SystemClock(), Telemetry()
    writer = RemoteWriter(RemoteWriteSettings(f"{url}/api/v1/write"), clock, telemetry)
    query = PrometheusEngine(PrometheusSettings(url), clock, telemetry)
    writer.start()
    try:
        live = Labels({METRIC_NAME: "live_load", "service": "s"})
        ids = writer.series_ids([live])
        text = BAND.replace("sum by (service) (load)", "sum by (service) (live_load)")
        evaluator = RuleEvaluator(
            rules(text, 1000), query, writer, Collected(), create, clock, telemetry,
            settings=EvaluatorSettings(spread=False, replay_ms=0, replica="left"),
        )
        first = clock.now_ms()
        writer.append(Frame(np.array([first]), ids, np.array([[10.0]])))
        wait_until(lambda: len(query.instant("live_load", clock.now_ms()).labels) == 1, "the sample is there", 20)
        done = 0
        while done < 3:
            done += 1 if evaluator.tick(clock.now_ms()) else 0
            clock.wait(writer._over, 0.1)

        wanted = Labels({METRIC_NAME: "observe_band_ready", "rule": "g/Odd", "service": "s", "replica": "left"})

        def drawn() -> bool:
            return wanted in query.instant('{__name__=~"observe_band_.*"}', clock.now_ms()).labels

        wait_until(drawn, "the band is drawn", 20)
        assert b'observe_remote_write_samples_total{result="refused"}' not in telemetry.exposition()
    finally:
        writer.stop()
        query.close()


def test_a_replica_that_restarts_stays_the_twin_of_the_other(remote, tmp_path):
    """One ran on; one stopped and took up its snapshot; one began late without any: their bands are equal."""

    def replica(name: str, at: int) -> tuple[RuleEvaluator, ManualClock, MemorySource]:
        clock, written = ManualClock(START + at * STEP), MemorySource()
        evaluator = RuleEvaluator(
            rules(BAND), remote, MemorySink(written), Collected(), create, clock, Telemetry(),
            settings=EvaluatorSettings(spread=False), folder=tmp_path / name)
        return evaluator, clock, written

    def run_on(evaluator: RuleEvaluator, clock: ManualClock, until: int) -> None:
        while clock.now_ms() <= START + until * STEP:
            evaluator.tick(clock.now_ms())
            clock.advance_ms(STEP)

    last = len(LOAD) - 1
    ran_on, first_clock, expected = replica("a", 0)
    run_on(ran_on, first_clock, last)
    stopped, stopped_clock, _ = replica("b", 0)
    run_on(stopped, stopped_clock, 16)
    stopped.close(stopped_clock.now_ms())
    again, again_clock, with_snapshot = replica("b", 20)
    run_on(again, again_clock, last)
    late, late_clock, without = replica("c", 20)
    run_on(late, late_clock, last)

    bands = [Matcher("__name__", "=~", "observe_band_(upper|lower|baseline|firing)")]

    def tail(source: MemorySource) -> list[list[float]]:
        samples = source.select(bands, START + 20 * STEP, START + last * STEP)
        return [samples.values[low:high].round(9).tolist()
                for low, high in zip(samples.offsets[:-1], samples.offsets[1:], strict=True)]

    assert len(tail(expected)) == 4
    assert tail(with_snapshot) == tail(expected)
    assert tail(without) == tail(expected)
