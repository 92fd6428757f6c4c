"""Alertmanagers that remember what they were told, and a client of theirs with a clock to drive."""

import asyncio
import json

import httpx

from observe.alert.evidence import TraceFinding
from observe.notify.alertmanager import AlertmanagerCluster
from observe.notify.peers import AlertmanagerSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.notify.desk import OPENED

A, B = "http://am-a.example:9093", "http://am-b.example:9093"


class Peers:
    """What each peer was told; peers in `down` refuse connections, `status` is what the others answer."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[dict]]] = []
        self.down: set[str] = set()
        self.status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        peer = f"{request.url.scheme}://{request.url.host}:{request.url.port}"
        if peer in self.down:
            raise httpx.ConnectError("refused")
        self.got.append((peer, json.loads(request.content)))
        return httpx.Response(self.status)

    def told(self, peer: str) -> list[list[str]]:
        """Instances told in each request, with - before those whose end is past."""
        return [
            [("-" if "resolved_reason" in one["annotations"] else "") + one["labels"]["instance"] for one in body]
            for where, body in self.got if where == peer
        ]


class Client:
    def __init__(
        self, folder, peers: Peers, clock: ManualClock | None = None,
        find_traces=lambda alert, now: TraceFinding(("c" * 32,)), **settings,
    ) -> None:
        self.clock = clock or ManualClock()
        self.telemetry = Telemetry()
        self.cluster = AlertmanagerCluster(
            AlertmanagerSettings((A, B), **settings), folder, self.clock, self.telemetry,
            find_traces=find_traces, transport=httpx.MockTransport(peers))
        OPENED.append(self.cluster)

    def accept(self, *alerts) -> None:
        self.cluster.accept(alerts, self.clock.now_ms())

    def wait(self, duration: str) -> None:
        async def live() -> None:
            until = ManualClock(self.clock.now_ms()).advance(duration)
            while self.clock.now_ms() < until:
                self.clock.advance_ms(1000)
                await self.cluster.flush_due(self.clock.now_ms())
            if self.cluster._client is not None:
                await self.cluster._client.aclose()
                self.cluster._client = None

        asyncio.run(live())


class Cluster(Peers):
    """Peers that also say what fires there: `firing` are instances, None refuses to say."""

    def __init__(self) -> None:
        super().__init__()
        self.firing: list[str] | None = []
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return super().__call__(request)
        self.asked += 1
        if self.firing is None:
            raise httpx.ConnectError("refused")
        labels = {"alertname": "Down", "service": "gateway", "severity": "critical"}
        return httpx.Response(200, json=[
            {"labels": {**labels, "instance": one}, "fingerprint": one, "receivers": [{"name": "hook"}],
             "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}}
            for one in self.firing
        ])
