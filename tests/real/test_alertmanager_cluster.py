"""A real cluster of three Alertmanagers: two replicas of observe give one page, also with one Alertmanager killed."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.clock import SystemClock
from observe.detect.engine import create
from observe.model import Labels, Matcher
from observe.notify.alertmanager import AlertmanagerCluster, AlertmanagerSettings
from observe.promql.engine import Engine
from observe.protocols import Silence
from observe.telemetry import Telemetry
from observe.testing import MemorySource, WebhookSink
from tests.alert.world import rules
from tests.real.process import RealProcess, free_port, http_get, require, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

CLOCK = SystemClock()
RULES = "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up == 0, labels: {severity: critical}}\n"


class Cluster:
    def __init__(self, folder: Path, hook: str) -> None:
        import json

        binary = require("prometheus-alertmanager", "/usr/bin")
        (folder / "am.yml").write_text(
            "route: {receiver: hook, group_by: [alertname, instance], group_wait: 1s, group_interval: 2s}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{hook}'}}]}}]\n")
        web, gossip = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
        peers = [f"--cluster.peer=127.0.0.1:{port}" for port in gossip]
        self.urls = tuple(f"http://127.0.0.1:{port}" for port in web)
        self.members = [
            RealProcess(f"alertmanager{place}", [
                binary, f"--config.file={folder / 'am.yml'}", f"--storage.path={folder / str(place)}",
                f"--web.listen-address=127.0.0.1:{web[place]}", f"--cluster.listen-address=127.0.0.1:{gossip[place]}",
                f"--cluster.advertise-address=127.0.0.1:{gossip[place]}", *peers, "--cluster.reconnect-interval=1s",
                "--cluster.peer-timeout=2s", "--cluster.gossip-interval=50ms", "--cluster.settle-timeout=2s",
                "--cluster.pushpull-interval=1s",
            ], folder) for place in range(3)
        ]

        def settled(url: str) -> bool:
            status = json.loads(http_get(f"{url}/api/v2/status"))["cluster"]
            return status["status"] == "ready" and len(status["peers"]) == 3

        for member, url in zip(self.members, self.urls, strict=True):
            member.wait_healthy(lambda url=url: settled(url), 40)


class Replica:
    """One observe: an evaluator over its own copy of the data, telling the whole cluster from a thread of its own."""

    def __init__(self, folder: Path, urls: tuple[str, ...], source: MemorySource) -> None:
        self.telemetry = Telemetry()
        self.cluster = AlertmanagerCluster(AlertmanagerSettings(urls, resend_ms=1000), folder, CLOCK, self.telemetry)
        self.evaluator = RuleEvaluator(
            rules(RULES, 1000), Engine(source), None, self.cluster, create, CLOCK, self.telemetry,
            settings=EvaluatorSettings(spread=False), ledger=self.cluster, folder=folder / "state")
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._judge), threading.Thread(target=self._tell)]
        for thread in self._threads:
            thread.start()

    def _judge(self) -> None:
        while not CLOCK.wait(self._over, 0.2):
            self.evaluator.tick(CLOCK.now_ms())

    def _tell(self) -> None:
        async def live() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            waiting = lambda: (self._over.wait(), loop.call_soon_threadsafe(stop.set))  # noqa: E731
            threading.Thread(target=waiting, daemon=True).start()
            await self.cluster.run(stop)

        asyncio.run(live())

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.cluster.close()


@pytest.fixture
def sink() -> Iterator[WebhookSink]:
    with WebhookSink() as hook:
        yield hook


def pages(sink: WebhookSink, instance: str) -> list[str]:
    """The status of each page about an instance."""
    return [
        told["status"] for told in (request.json() for request in list(sink.received))
        if told["groupLabels"].get("instance") == instance
    ]


def say(source: MemorySource, instance: str, value: float) -> None:
    source.add(Labels({"__name__": "up", "instance": instance}), CLOCK.now_ms(), value)


def test_two_replicas_and_three_alertmanagers_give_one_page(tmp_path, sink):
    cluster = Cluster(tmp_path, sink.url)
    source = MemorySource()
    replicas = [Replica(tmp_path / name, cluster.urls, source) for name in ("left", "right")]
    try:
        say(source, "a", 0)
        wait_until(lambda: pages(sink, "a"), "a page about a", 30)

        # One Alertmanager dies: the next alert is still one page, and the end of the first is told as well.
        cluster.members[0].kill()
        say(source, "b", 0)
        wait_until(lambda: pages(sink, "b"), "a page about b", 30)
        say(source, "a", 1)
        wait_until(lambda: pages(sink, "a")[-1] == "resolved", "the end of a", 30)

        # Both replicas know the end: one that restarts without it would tell of what it last knew until it evaluates.
        wait_until(lambda: all("a" not in alert.labels.values() for replica in replicas
                               for alert in replica.cluster.open_alerts()), "both know the end of a", 30)

        # A replica restarts while an alert is on: nobody is told twice.
        replicas[0].stop()
        replicas[0] = Replica(tmp_path / "left", cluster.urls, source)
        say(source, "c", 0)
        wait_until(lambda: pages(sink, "c"), "a page about c", 30)
        assert {name: pages(sink, name) for name in "abc"} == {
            "a": ["firing", "resolved"], "b": ["firing"], "c": ["firing"]}

        # Silences are the cluster's, made and ended from here.
        desk = replicas[1].cluster
        now = CLOCK.now_ms()
        made = desk.set_silence(
            Silence("", (Matcher("instance", "=", "d"),), now, now + 60_000, "carl", "works on it"), now)
        wait_until(lambda: desk.silenced_by(Labels({"instance": "d"}), CLOCK.now_ms()) == [made], "the silence", 20)
        desk.expire_silence(made, CLOCK.now_ms())
        states = {one.id: one.ends_at_ms <= CLOCK.now_ms() for one in desk.silences(CLOCK.now_ms())}
        assert states == {made: True}
    finally:
        for replica in replicas:
            replica.stop()
        for member in cluster.members:
            member.stop()
