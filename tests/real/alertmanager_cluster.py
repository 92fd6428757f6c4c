"""Three real Alertmanagers that know each other, and observes that tell them."""

import asyncio
import json
import threading
from pathlib import Path

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.clock import SystemClock
from observe.detect.engine import create
from observe.model import Labels
from observe.notify.alertmanager import AlertmanagerCluster
from observe.notify.peers import AlertmanagerSettings
from observe.promql.engine import Engine
from observe.telemetry import Telemetry
from observe.testing import MemorySource, WebhookSink
from tests.alert.world import rules
from tests.real.process import RealProcess, free_port, http_get, require, wait_until

CLOCK = SystemClock()
PATIENCE_S = 60
"""Nothing here takes longer than a few seconds on a machine that has nothing else to do."""

# A member that is n-th in line looks n * peer-timeout after its flush whether the page has gone out, with the alerts as
# they were at the flush: an alert that ends in between is paged once more. So ends are said well after a flush.
_CONFIG = """\
route: {{receiver: hook, group_by: [alertname, instance], group_wait: 1s, group_interval: 16s}}
receivers: [{{name: hook, webhook_configs: [{{url: '{hook}'}}]}}]
inhibit_rules:
- {{source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [instance]}}
"""


class Cluster:
    """`members[n]` may be killed or stopped, and started again by `start(n)` on the data that it had."""

    def __init__(self, folder: Path, hook: str) -> None:
        self._folder = folder
        self._binary = require("prometheus-alertmanager", "/usr/bin")
        (folder / "am.yml").write_text(_CONFIG.format(hook=hook))
        self._web, self._gossip = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
        self.urls = tuple(f"http://127.0.0.1:{port}" for port in self._web)
        self.members: list[RealProcess] = []
        for place in range(3):
            self.members.append(self._run(place))
        for place in range(3):
            self._wait_settled(place)

    def _run(self, place: int) -> RealProcess:
        peers = [f"--cluster.peer=127.0.0.1:{port}" for port in self._gossip]
        gossip = f"127.0.0.1:{self._gossip[place]}"
        return RealProcess(f"alertmanager{place}", [
            self._binary, f"--config.file={self._folder / 'am.yml'}", f"--storage.path={self._folder / str(place)}",
            f"--web.listen-address=127.0.0.1:{self._web[place]}", f"--cluster.listen-address={gossip}",
            f"--cluster.advertise-address={gossip}", *peers, "--cluster.reconnect-interval=1s",
            "--cluster.peer-timeout=2s", "--cluster.gossip-interval=50ms", "--cluster.settle-timeout=2s",
            "--cluster.pushpull-interval=1s",
        ], self._folder)

    def start(self, place: int) -> None:
        """Start a member that was killed; returns when it is one of the cluster again."""
        self.members[place] = self._run(place)
        self._wait_settled(place)

    def _wait_settled(self, place: int) -> None:
        def settled() -> bool:
            status = json.loads(http_get(f"{self.urls[place]}/api/v2/status"))["cluster"]
            return status["status"] == "ready" and len(status["peers"]) == 3

        self.members[place].wait_healthy(settled, PATIENCE_S)

    def stop(self) -> None:
        for member in self.members:
            member.stop()


class Replica:
    """One observe: an evaluator over the data, telling the whole cluster from a thread of its own."""

    def __init__(self, folder: Path, urls: tuple[str, ...], source: MemorySource, text: str, *,
                 judging: bool = True) -> None:
        self.telemetry = Telemetry()
        self.cluster = AlertmanagerCluster(AlertmanagerSettings(urls, resend_ms=1000), folder, CLOCK, self.telemetry)
        self.evaluator = RuleEvaluator(
            rules(text, 1000), Engine(source), None, self.cluster, create, CLOCK, self.telemetry,
            settings=EvaluatorSettings(spread=False, settle_ms=2_000), ledger=self.cluster, folder=folder / "state")
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._tell)]
        self._threads[0].start()
        if judging:
            self.judge()

    def judge(self) -> None:
        """Evaluate the rules from now on."""
        self._threads.append(threading.Thread(target=self._judge))
        self._threads[-1].start()

    def _judge(self) -> None:
        while not CLOCK.wait(self._over, 0.2):
            self.evaluator.tick(CLOCK.now_ms())

    def _tell(self) -> None:
        async def live() -> None:
            stop = asyncio.Event()
            loop = self._loop = asyncio.get_running_loop()
            waiting = lambda: (self._over.wait(), loop.call_soon_threadsafe(stop.set))  # noqa: E731
            threading.Thread(target=waiting, daemon=True).start()
            await self.cluster.run(stop)

        asyncio.run(live())

    def call(self, work):
        """Run a coroutine on the loop that tells the cluster."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def open(self, instance: str) -> bool:
        """Whether it knows an alert about this instance as firing."""
        return any(alert.labels.get("instance") == instance for alert in self.cluster.open_alerts())

    def stop(self) -> None:
        """As kill -9 would: nothing is written that was not before."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.cluster.close()


def pages(sink: WebhookSink, instance: str) -> list[str]:
    """The status of each page about an instance."""
    return [
        told["status"] for told in (request.json() for request in list(sink.received))
        if told["groupLabels"].get("instance") == instance
    ]


def say(source: MemorySource, instance: str, value: float) -> None:
    source.add(Labels({"__name__": "up", "instance": instance}), CLOCK.now_ms(), value)


def barrier(source: MemorySource, sink: WebhookSink, *instances: str) -> None:
    """Alerts that begin one after the other: whatever was told before the last of them has become a page by then."""
    for instance in instances:
        say(source, instance, 0)
        wait(lambda instance=instance: pages(sink, instance), f"a page about {instance}")


def settled(source: MemorySource, sink: WebhookSink) -> None:
    """Until the last member in line has looked at what was paged before: five alerts that wait a second each."""
    begun = len(sink.received)
    barrier(source, sink, *(f"{begun}-{number}" for number in range(5)))


def wait(condition, what: str):
    return wait_until(condition, what, PATIENCE_S)
