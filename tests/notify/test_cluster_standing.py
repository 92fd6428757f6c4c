"""What became of an alert in a cluster, and what is said when the cluster does not take it or does not answer."""

import asyncio
import re
import sqlite3

import httpx
import pytest

from observe.errors import InvalidInput
from tests.notify.cluster import A, B, Client, Cluster, Peers
from tests.notify.desk import firing


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
