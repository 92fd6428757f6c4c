"""A real Prometheus that refuses, hangs, dies and comes back: what is told meanwhile, and that nothing is lost."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.clock import SystemClock
from observe.detect.engine import create
from observe.errors import Unavailable
from observe.model import METRIC_NAME, Frame, Labels
from observe.store.prometheus import PrometheusEngine, PrometheusSettings
from observe.store.remote_write import RemoteWriter, RemoteWriteSettings
from observe.telemetry import Telemetry
from tests.alert.world import Collected, rules
from tests.real.metrics_servers import prometheus
from tests.real.process import RealProcess, http_ok, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

RULES = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {alert: High, expr: load > 5}\n"
LOAD = Labels({METRIC_NAME: "load", "service": "s"})
PATIENCE_S = 60
# A user whose password is not the one that is sent below.
WEB = "basic_auth_users: {observe: $2b$04$YBOf2YsbpMqbL8x90jMGM.qkoVMJxrcSPUZlUcVEpBpVe1uTRPcp2}\n"


class Observe:
    """Rules, query and remote write on one server."""

    def __init__(self, url: str, headers: dict[str, str] | None = None, *, late_s: float = 60.0) -> None:
        self.clock, self.telemetry, self.sink = SystemClock(), Telemetry(), Collected()
        self.writer = RemoteWriter(
            RemoteWriteSettings(f"{url}/api/v1/write", headers or {}, retry_first_s=0.1, retry_most_s=0.5),
            self.clock, self.telemetry)
        asked = PrometheusSettings(url, headers or {}, timeout_s=late_s)
        self.query = PrometheusEngine(asked, self.clock, self.telemetry)
        self.pool = ThreadPoolExecutor(2)
        self.evaluator = RuleEvaluator(
            rules(RULES, 1000), self.query, self.writer, self.sink, create, self.clock, self.telemetry,
            settings=EvaluatorSettings(spread=False, replay_ms=0, query_timeout_s=late_s + 1), executor=self.pool)
        self.ids = self.writer.series_ids([LOAD])
        self.writer.start()

    def say(self, value: float) -> None:
        self.writer.append(Frame(np.array([self.clock.now_ms()]), self.ids, np.array([[value]])))

    def until(self, condition, what: str) -> None:
        """Evaluate as production does until something holds."""
        def step():
            self.evaluator.tick(self.clock.now_ms())
            return condition()

        wait_until(step, what, PATIENCE_S, 0.2)

    def error(self) -> str:
        return self.evaluator.rules()[0].last_error

    def states(self) -> list[str]:
        return [str(alert.state) for alert in self.evaluator.active()]

    def close(self) -> None:
        self.writer.stop()
        self.pool.shutdown()
        self.query.close()


def test_a_server_that_hangs_dies_and_comes_back_loses_no_alert_and_no_sample(tmp_path):
    server, url = prometheus(tmp_path)
    observe = Observe(url, late_s=2)
    try:
        observe.say(9)
        observe.until(lambda: observe.states() == ["firing"], "it fires")

        server.freeze()
        observe.until(lambda: "no answer within" in observe.error() or "gave no answer" in observe.error(), "it hangs")
        assert ["firing"] == observe.states()
        server.thaw()
        observe.until(lambda: observe.error() == "", "it answers again")

        server.kill()
        observe.until(lambda: "cannot reach" in observe.error(), "it is gone")
        assert f"cannot reach {url}" in observe.error()
        assert ["firing"] == observe.states()
        observe.say(7)
        wait_until(lambda: b'observe_remote_write_samples_total{result="retried"}' in observe.telemetry.exposition(),
                   "what is written meanwhile waits", PATIENCE_S)

        # The same command line, on the data that it had.
        port = url.rpartition(":")[2]
        server = RealProcess("prometheus-again", [
            "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"], tmp_path)
        server.wait_healthy(lambda: http_ok(f"{url}/-/ready"), PATIENCE_S)
        observe.until(lambda: observe.error() == "", "it is back")
        wait_until(lambda: observe.query.instant("load", observe.clock.now_ms()).values.tolist() == [7.0],
                   "what waited is there", PATIENCE_S)
        assert ["firing"] == observe.states()
        observe.say(1)
        observe.until(lambda: observe.states() == [], "it resolves")
        assert ("High", "resolved", "condition cleared") == observe.sink.told()[-1]
    finally:
        observe.close()
        server.stop()


def test_a_server_that_takes_no_remote_write_says_how_it_would(tmp_path, caplog):
    server, url = prometheus(tmp_path, receiver=False)
    with server:
        observe = Observe(url)
        try:
            observe.say(9)
            wait_until(lambda: "--web.enable-remote-write-receiver" in caplog.text, "what to do is told", PATIENCE_S)
            assert b'observe_remote_write_samples_total{result="retried"}' in observe.telemetry.exposition()
            assert () == observe.query.instant("load", observe.clock.now_ms()).labels
        finally:
            observe.close()


def test_wrong_credentials_are_told_for_both_ways(tmp_path, caplog):
    (tmp_path / "web.yml").write_text(WEB)
    server, url = prometheus(tmp_path, None, f"--web.config.file={tmp_path / 'web.yml'}", ready=lambda _: True)
    with server:
        observe = Observe(url, {"Authorization": "Basic b2JzZXJ2ZTp3cm9uZw=="})
        try:
            observe.until(lambda: "refuses us (401)" in observe.error(), "the query is refused")
            assert "check `headers:` under `attach: prometheus:`" in observe.error()
            observe.say(9)
            wait_until(lambda: "401" in caplog.text and "correct `headers:`" in caplog.text, "the write is refused",
                       PATIENCE_S)
            with pytest.raises(Unavailable, match="refuses us"):
                observe.query.instant("load", observe.clock.now_ms())
        finally:
            observe.close()
