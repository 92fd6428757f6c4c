"""As a client of Alertmanagers: every peer, again and again until resolved, each peer on its own."""

import asyncio
import json
import re
import sqlite3
import threading

import httpx
import pytest

from observe.alert.evidence import TraceFinding
from observe.errors import InvalidInput, Unavailable
from observe.model import Reason
from observe.notify.alertmanager import AlertmanagerCluster
from observe.notify.peers import AlertmanagerSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.notify.desk import firing, resolved

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


def test_every_peer_is_told_at_once_and_again_every_minute(tmp_path):
    peers = Peers()
    client = Client(tmp_path, peers)
    a = firing(client.clock, "a")
    client.accept(a)
    client.wait("1s")
    assert (peers.told(A), peers.told(B)) == ([["a"]], [["a"]])
    client.wait("2m")
    assert len(peers.told(A)) == 3


def test_what_is_told(tmp_path):
    peers = Peers()
    client = Client(tmp_path, peers)
    client.accept(firing(client.clock, "a"))
    client.wait("1s")
    (told,) = peers.got[0][1]
    assert told == {
        "labels": {"alertname": "Down", "instance": "a", "service": "gateway", "severity": "critical"},
        "annotations": {
            "value": "2.5", "expected": "0.5 – 1.5", "lower": "0.5", "upper": "1.5", "baseline": "1", "score": "3",
            "trace_ids": "c" * 32, "summary": "a is down",
        },
        "startsAt": "2023-11-14T22:13:20.000Z", "endsAt": "2023-11-14T22:17:21.000Z",
        "generatorURL": "http://observe.example/alerts/1",
    }


def test_an_end_is_told_for_five_minutes_and_then_forgotten(tmp_path):
    peers = Peers()
    client = Client(tmp_path, peers)
    a = firing(client.clock, "a")
    client.accept(a)
    client.wait("10s")
    client.accept(resolved(a, client.clock, Reason.RECOVERED))
    client.wait("20m")
    assert peers.told(A) == [["a"], *[["-a"]] * 5]
    assert peers.got[-1][1][0]["annotations"]["resolved_reason"] == "recovered"
    assert client.cluster.open_alerts() == []


def test_a_peer_that_is_down_hears_it_when_it_is_back_and_delays_nobody(tmp_path):
    peers = Peers()
    peers.down = {A}
    client = Client(tmp_path, peers)
    client.accept(firing(client.clock, "a"))
    client.wait("5s")
    assert (peers.told(A), peers.told(B)) == ([], [["a"]])
    peers.down = set()
    client.wait("10s")
    assert peers.told(A) == [["a"]]
    told = [(one.ok, one.receiver) for one in client.cluster.deliveries(None, 0)]
    assert (told[0], sorted(told[1:])) == ((True, A), [(False, A), (True, B)])


def test_the_same_alert_again_replaces_its_resolved_one(tmp_path):
    """An Alertmanager knows labels only: telling the old end again would end the new alert."""
    peers = Peers()
    client = Client(tmp_path, peers)
    first = firing(client.clock, "a")
    client.accept(first)
    client.wait("10s")
    client.accept(resolved(first, client.clock))
    client.wait("10s")
    client.accept(firing(client.clock, "a"))
    client.wait("3m")
    assert peers.told(A) == [["a"], ["-a"], ["a"], ["a"], ["a"]]


def test_what_fired_before_kill_9_is_told_by_the_next_process(tmp_path):
    peers = Peers()
    client = Client(tmp_path, peers)
    a, b = firing(client.clock, "a"), firing(client.clock, "b")
    client.accept(a, b)
    client.accept(resolved(b, client.clock))
    later = Client(tmp_path, peers, client.clock)
    later.wait("1s")
    assert sorted(peers.told(A)[0]) == ["-b", "a"]
    assert later.cluster.open_alerts() == [a]


def test_many_alerts_go_in_batches_and_a_refused_batch_is_not_repeated_at_once(tmp_path):
    peers = Peers()
    client = Client(tmp_path, peers, batch=10)
    client.accept(*(firing(client.clock, str(number)) for number in range(25)))
    client.wait("1s")
    assert [len(body) for where, body in peers.got if where == A] == [10, 10, 5]
    peers.status = 400
    client.accept(firing(client.clock, "bad"))
    client.wait("10s")
    assert peers.told(A)[3:] == [["bad"]]


def test_a_trace_store_that_hangs_delays_a_round_once_and_not_each_alert_in_its_turn(tmp_path):
    """Alerts end by themselves in the cluster when they are told too late."""
    over, asked = threading.Event(), []
    peers = Peers()
    client = Client(tmp_path, peers, evidence_timeout_s=0.2,
                    find_traces=lambda alert, now: asked.append(alert) or (over.wait(30) and TraceFinding()))
    client.accept(*(firing(client.clock, f"n{n:03}") for n in range(200)))
    client.wait("3m")
    over.set()
    rounds = [sum(len(body) for where, body in peers.got if where == peer) for peer in (A, B)]
    assert rounds == [600, 600]
    assert len(asked) == 2, "the threads that hang"


def test_too_many_are_refused_and_counted(tmp_path):
    client = Client(tmp_path, Peers(), max_alerts=2)
    client.accept(*(firing(client.clock, name) for name in "abc"))
    assert len(client.cluster.open_alerts()) == 2
    assert b'observe_dropped_total{reason="alert limit",stage="notify"} 1.0' in client.telemetry.exposition()


def test_no_peer_at_all_is_told_to_who_asks_for_silences(tmp_path):
    cluster = AlertmanagerCluster(
        AlertmanagerSettings(("http://127.0.0.1:9",)), tmp_path, ManualClock(), Telemetry())
    assert cluster.silences(0) == []
    with pytest.raises(Unavailable, match="no Alertmanager of the cluster answers"):
        cluster.expire_silence("x", 0)


def test_the_ledger_forgets_what_ended_long_ago(tmp_path):
    client = Client(tmp_path, Peers(), retention_ms=600_000)
    a = firing(client.clock, "a")
    client.accept(a)
    client.accept(resolved(a, client.clock))
    assert len(client.cluster.history(0)) == 1
    client.clock.advance("1h")
    asyncio.run(client.cluster._round())
    assert client.cluster.history(0) == []


# ------------------------------------------------------------ after a restart


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


def restarted(tmp_path, firing_there):
    """A client that told of `a` and came back; what the cluster was told since, is in `peers`."""
    peers = Cluster()
    client = Client(tmp_path, peers)
    a = firing(client.clock, "a")
    client.accept(a)
    client.wait("2s")
    assert [["a"]] == peers.told(A)
    peers.got.clear()
    peers.firing = firing_there
    return peers, Client(tmp_path, peers, client.clock), a


def test_what_the_cluster_has_closed_meanwhile_is_not_opened_again_by_a_restart(tmp_path):
    peers, later, a = restarted(tmp_path, [])
    later.wait("30s")
    assert [] == peers.got
    assert 0 < peers.asked <= 7
    later.accept(resolved(a, later.clock))
    later.wait("2s")
    assert [["-a"]] == peers.told(A)


def test_what_still_fires_in_the_cluster_does_not_lapse_after_a_restart(tmp_path):
    peers, later, _ = restarted(tmp_path, ["a"])
    later.wait("3m")
    assert [["a"]] * 3 == peers.told(A)


def test_a_cluster_that_does_not_say_is_not_told_until_the_rules_speak(tmp_path):
    peers, later, a = restarted(tmp_path, None)
    later.wait("20s")
    assert [] == peers.got
    later.accept(a)
    later.wait("1s")
    assert [["a"]] == peers.told(A) == peers.told(B)


def test_what_no_member_took_before_kill_9_is_told_at_once(tmp_path):
    peers = Cluster()
    peers.down = {A, B}
    client = Client(tmp_path, peers)
    client.accept(firing(client.clock, "a"))
    client.wait("20s")
    peers.down = set()
    later = Client(tmp_path, peers, client.clock)
    later.wait("1s")
    assert [["a"]] == peers.told(A)


def test_a_new_alert_is_told_at_once_although_others_are_in_doubt(tmp_path):
    peers, later, _ = restarted(tmp_path, [])
    later.accept(firing(later.clock, "b"))
    later.wait("1s")
    assert [["b"]] == peers.told(A)


# ------------------------------------------------------------ what became of it


def stands(client, alert):
    return [(one.receiver, str(one.state), one.detail)
            for one in client.cluster.page_status(alert, client.clock.now_ms())]


class Told(Cluster):
    """A cluster with a status for the one alert that fires there."""

    def __init__(self, **status) -> None:
        super().__init__()
        self.status_there = {"state": "active", "silencedBy": [], "inhibitedBy": [], **status}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = super().__call__(request)
        if request.url.path == "/api/v2/silences":
            return httpx.Response(200, json=[{
                "id": "s1", "matchers": [{"name": "instance", "value": "a", "isRegex": False, "isEqual": True}],
                "startsAt": "2023-11-14T00:00:00.000Z", "endsAt": "2023-11-15T00:00:00.000Z", "createdBy": "carl",
                "comment": "rolls out", "updatedAt": "2023-11-14T00:00:00.000Z", "status": {"state": "active"}}])
        if request.method == "GET":
            return httpx.Response(200, json=[{**one, "status": self.status_there} for one in answer.json()])
        return answer


@pytest.mark.parametrize(("there", "status", "expected"), [
    (["a"], {}, ("hook", "handed over", "Alertmanager routes and sends it")),
    (["a"], {"state": "suppressed", "silencedBy": ["s1"]}, ("", "silenced", "by carl: rolls out")),
    (["a"], {"state": "suppressed", "inhibitedBy": ["a"]}, ("", "inhibited", "while Down fires")),
    ([], {}, ("Alertmanager", "group waits", "the cluster does not show it as firing")),
], ids=["routed", "silenced there", "inhibited there", "not there yet"])
def test_what_became_of_an_alert_in_the_cluster_is_told(tmp_path, there, status, expected):
    peers = Told(**status)
    peers.firing = there
    client = Client(tmp_path, peers)
    client.accept(a := firing(client.clock, "a"))
    assert [("Alertmanager", "group waits", "it is on its way")] == stands(client, a)
    client.wait("2s")
    assert [expected] == stands(client, a)


def test_a_cluster_that_takes_nothing_is_retried_and_says_why(tmp_path):
    peers = Peers()
    peers.status = 401
    client = Client(tmp_path, peers)
    client.accept(a := firing(client.clock, "a"))
    client.wait("3s")

    ((receiver, state, detail),) = stands(client, a)

    assert ("Alertmanager", "retrying") == (receiver, state)
    assert f"{A}: 401 it refuses us: correct `attach.alertmanager.headers`" in detail


@pytest.mark.parametrize(("answer", "words"), [
    (httpx.Response(200, text="<html>log in</html>"), "a web page, not an Alertmanager"),
    (httpx.Response(302, headers={"Location": "https://login.example/"}), "a web page, not an Alertmanager"),
    (httpx.Response(404, text="404 page not found"), "since 0.16"),
    (httpx.Response(403), "it refuses us"),
    (httpx.Response(500, text="disk full"), "disk full"),
    (httpx.ReadTimeout("slow"), "no answer within 10 s"),
    (httpx.RemoteProtocolError("peer closed connection"), "peer closed connection"),
], ids=["login page", "redirect", "old version", "credentials", "server error", "slow", "half an answer"])
def test_what_an_alertmanager_answers_is_told_with_what_to_do(tmp_path, answer, words):
    peers = Peers()
    client = Client(tmp_path, peers)

    def answering(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    client.cluster._transport = httpx.MockTransport(answering)
    client.accept(a := firing(client.clock, "a"))
    client.wait("5s")

    assert words in stands(client, a)[0][2]
    text = client.telemetry.exposition().decode()
    assert f'observe_alertmanager_up{{peer="{A}"}} 0.0' in text
    failed = float(re.search(r'alerts_total{peer="http://am-a.example:9093",result="failed"} (\S+)', text)[1])
    assert 2 <= failed <= 5


def test_half_an_answer_about_silences_keeps_the_last_known(tmp_path):
    peers = Told()
    client = Client(tmp_path, peers)
    assert ["s1"] == [one.id for one in client.cluster.silences(0)]
    client.cluster.api._client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, text='[{"id": "s')))
    client.cluster.api.forget()
    assert ["s1"] == [one.id for one in client.cluster.silences(0)]


def test_a_test_page_goes_to_every_member_and_says_who_gets_it(tmp_path):
    peers = Cluster()
    peers.down = {B}
    client = Client(tmp_path, peers)

    async def send():
        done = await client.cluster.send_test(client.clock.now_ms())
        await client.cluster._close_client()
        return done

    first, second = asyncio.run(send())

    assert (True, False) == (first.ok, second.ok)
    assert first.detail == f"{A}: 200, taken, but not shown as firing"
    assert "refused; it is tried again" in second.detail
    (told,) = peers.got[0][1]
    assert ("TestPage", "true") == (told["labels"]["alertname"], told["labels"]["test"])
    assert told["startsAt"] < told["endsAt"]


def test_a_receiver_of_the_cluster_cannot_be_chosen_for_a_test_page(tmp_path):
    client = Client(tmp_path, Peers())
    with pytest.raises(InvalidInput, match="Alertmanager's routes decide"):
        asyncio.run(client.cluster.send_test(0, "team"))


def test_a_disk_that_refuses_delays_no_alert_and_is_counted(tmp_path):
    peers = Peers()
    client = Client(tmp_path, peers)
    blocker = sqlite3.connect(tmp_path / "alerts.sqlite")
    client.cluster._books.ledger._db.execute("PRAGMA busy_timeout=10")
    blocker.execute("BEGIN EXCLUSIVE")
    a = firing(client.clock, "a")
    client.accept(a)
    client.wait("1s")
    assert [["a"]] == peers.told(A) == peers.told(B)
    assert b"observe_ledger_failures_total 0.0" not in client.telemetry.exposition()
    blocker.rollback()
    blocker.close()
    client.accept(a)
    assert [a] == Client(tmp_path, peers, client.clock).cluster.open_alerts()
