"""A plain Prometheus alerts by exported rules, on the bands that observe writes to it: from quiet to firing to over."""

import json
import urllib.parse

import numpy as np
import pytest

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.export import to_prometheus
from observe.clock import SystemClock
from observe.detect.engine import create
from observe.model import METRIC_NAME, Frame, Labels
from observe.store.prometheus import PrometheusEngine, PrometheusSettings
from observe.store.remote_write import RemoteWriter, RemoteWriteSettings
from observe.telemetry import Telemetry
from tests.alert.world import Collected, rules
from tests.real.metrics_servers import prometheus
from tests.real.process import http_get, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

RULES = """\
groups:
- name: g
  interval: 1s
  rules:
  - alert: Odd
    expr: sum by (service) (load)
    band: {detector: rolling, window: 5, k: 3, direction: above, min_rel: 50%, trigger: 2 of 3, recover: 2 of 2}
    labels: {severity: warning}
    annotations: {summary: "{{ $labels.service }} is at {{ $value }}"}
"""
PATIENCE_S = 60


def test_a_plain_prometheus_fires_and_resolves_with_the_bands_of_observe(tmp_path):
    (tmp_path / "rules.yml").write_text(to_prometheus(rules(RULES, 1000), external_url="http://o.example"))
    server, url = prometheus(
        tmp_path, config="global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n")
    clock, telemetry, sink = SystemClock(), Telemetry(), Collected()
    writer = RemoteWriter(RemoteWriteSettings(f"{url}/api/v1/write"), clock, telemetry)
    query = PrometheusEngine(PrometheusSettings(url), clock, telemetry)
    evaluator = RuleEvaluator(
        rules(RULES, 1000), query, writer, sink, create, clock, telemetry,
        settings=EvaluatorSettings(spread=False, replay_ms=0, replica="left"))
    ids = writer.series_ids([Labels({METRIC_NAME: "load", "service": "s"})])
    numbers = iter(range(1_000_000))

    def on() -> list[dict]:
        """What this Prometheus itself says is firing."""
        told = json.loads(http_get(f"{url}/api/v1/alerts"))["data"]["alerts"]
        return [alert for alert in told if alert["state"] == "firing"]

    def live(value: float, until, what: str):
        """Write the load and evaluate once a second, as production would, until something holds."""
        def step():
            place = next(numbers)
            writer.append(Frame(np.array([clock.now_ms()]), ids, np.array([[value + place % 3]])))
            evaluator.tick(clock.now_ms())
            return until()

        return wait_until(step, what, PATIENCE_S, every_s=0.5)

    def ready() -> bool:
        return evaluator.rules()[0].series_ready == 1

    with server:
        writer.start()
        try:
            live(10, ready, "the band is ready")
            rule = urllib.parse.quote('observe_band_ready{rule="g/Odd"} == 1')
            live(10, lambda: json.loads(http_get(f"{url}/api/v1/query?query={rule}"))["data"]["result"],
                 "the band is on the server")
            assert [] == on()

            (alert,) = live(90, on, "Prometheus fires")
            assert {"alertname": "Odd", "service": "s", "severity": "warning"} == alert["labels"]
            assert alert["annotations"]["summary"].startswith("s is at 9")
            live(10, lambda: not on(), "Prometheus resolves")
        finally:
            writer.stop()
            query.close()
    assert {("Odd", "firing"), ("Odd", "resolved")} == {one[:2] for one in sink.told()}
