"""As a client of Alertmanagers: every peer, again and again until resolved, each peer on its own."""

import asyncio
import threading

import pytest

from observe.alert.evidence import TraceFinding
from observe.errors import Unavailable
from observe.model import Reason
from observe.notify.alertmanager import AlertmanagerCluster
from observe.notify.peers import AlertmanagerSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.notify.cluster import A, B, Client, Cluster, Peers
from tests.notify.desk import firing, resolved


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
                    find_traces=lambda alert, now: asked.append(alert) or (over.wait(120) and TraceFinding()))
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
    cluster.close()


def test_the_ledger_forgets_what_ended_long_ago(tmp_path):
    client = Client(tmp_path, Peers(), retention_ms=600_000)
    a = firing(client.clock, "a")
    client.accept(a)
    client.accept(resolved(a, client.clock))
    assert len(client.cluster.history(0)) == 1
    client.clock.advance("1h")
    asyncio.run(client.cluster._round())
    assert client.cluster.history(0) == []


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
