"""A real cluster of three Alertmanagers: two replicas of observe give one page, whoever of all five is killed."""

from collections.abc import Iterator

import pytest

from observe.model import Alert, AlertState, Labels, Matcher, Reason
from observe.protocols import Silence
from observe.testing import MemorySource, WebhookSink
from tests.real.alertmanager_cluster import CLOCK, Cluster, Replica, barrier, pages, say, settled, wait

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

RULES = "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up == 0, labels: {severity: critical}}\n"


@pytest.fixture
def sink() -> Iterator[WebhookSink]:
    with WebhookSink() as hook:
        yield hook


@pytest.fixture
def cluster(tmp_path, sink) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder, sink.url)
    yield made
    made.stop()


def test_two_replicas_and_three_alertmanagers_give_one_page(tmp_path, cluster, sink):
    source = MemorySource()
    replicas = [Replica(tmp_path / name, cluster.urls, source, RULES) for name in ("left", "right")]
    try:
        say(source, "a", 0)
        wait(lambda: pages(sink, "a"), "a page about a")

        # One Alertmanager dies, once the others have heard of its page (killed before that, it is sent twice: at least
        # once is what they promise). The next alert is still one page, and the end of the first is told as well.
        settled(source, sink)
        cluster.members[0].kill()
        barrier(source, sink, "b")
        settled(source, sink)
        say(source, "a", 1)
        wait(lambda: pages(sink, "a")[-1] == "resolved", "the end of a")

        # A replica restarts while an alert is on: nobody is told twice.
        replicas[0].stop()
        replicas[0] = Replica(tmp_path / "left", cluster.urls, source, RULES)
        barrier(source, sink, "c")
        wait(lambda: replicas[0].open("c") and replicas[0].open("b"), "the restarted one knows what is on")
        assert {name: pages(sink, name) for name in "abc"} == {
            "a": ["firing", "resolved"], "b": ["firing"], "c": ["firing"]}
    finally:
        for replica in replicas:
            replica.stop()


def test_replicas_and_alertmanagers_that_restart_at_different_times_open_no_closed_page(tmp_path, cluster, sink):
    source = MemorySource()
    left, right = (Replica(tmp_path / name, cluster.urls, source, RULES) for name in ("left", "right"))
    try:
        say(source, "a", 0)
        wait(lambda: pages(sink, "a"), "a page about a")
        wait(lambda: left.open("a") and right.open("a"), "both know of a")
        wait(lambda: left.cluster.deliveries(None, 0), "the left one has told of it")

        # Members die well after a page: the one that sent it must have told the others, else they send it once more.
        # The left one is away while a ends; the right one says so.
        left.stop()
        settled(source, sink)
        say(source, "a", 1)
        wait(lambda: pages(sink, "a")[-1] == "resolved", "the end of a")
        settled(source, sink)
        cluster.members[1].kill()
        cluster.start(1)

        # It is back, knows a as firing, and cannot evaluate yet: what it tells meanwhile is not that.
        left = Replica(tmp_path / "left", cluster.urls, source, RULES, judging=False)
        assert left.open("a")
        now = CLOCK.now_ms()
        for instance in ("x", "y", "z"):
            labels = Labels({"alertname": "Down", "instance": instance, "severity": "critical"})
            left.cluster.accept([Alert(labels, {}, AlertState.FIRING, now, None, now, Reason.CONDITION_MET, "")], now)
            wait(lambda instance=instance: pages(sink, instance), f"a page about {instance}")
        assert ["firing", "resolved"] == pages(sink, "a")

        left.judge()
        wait(lambda: not left.open("a"), "the left one has learned that a is over")
        barrier(source, sink, "c", "d")
        assert ["firing", "resolved"] == pages(sink, "a")

        # The other way round, and a fires anew: a page and an end more, not two.
        say(source, "a", 0)
        wait(lambda: len(pages(sink, "a")) == 3, "a new page about a")
        wait(lambda: right.open("a"), "the right one knows of it")
        right.stop()
        settled(source, sink)
        cluster.members[2].kill()
        settled(source, sink)
        say(source, "a", 1)
        wait(lambda: len(pages(sink, "a")) == 4, "the new end of a")
        right = Replica(tmp_path / "right", cluster.urls, source, RULES)
        cluster.start(2)
        wait(lambda: not right.open("a"), "the right one has learned that a is over")
        barrier(source, sink, "e", "f")
        assert ["firing", "resolved", "firing", "resolved"] == pages(sink, "a")
        assert [["firing"]] * 4 == [pages(sink, name) for name in "cdef"]
    finally:
        left.stop()
        right.stop()


def test_silences_inhibitions_and_the_test_page_are_the_clusters(tmp_path, cluster, sink):
    source = MemorySource()
    both = RULES + "  - {alert: Slow, expr: up == 0, labels: {severity: warning}}\n"
    replica = Replica(tmp_path / "one", cluster.urls, source, both)
    desk = replica.cluster

    def stands(name: str, instance: str) -> list[tuple[str, str]]:
        return [
            (one.receiver, str(one.state)) for alert in desk.open_alerts()
            if (alert.name, alert.labels.get("instance")) == (name, instance)
            for one in desk.page_status(alert, CLOCK.now_ms())
        ]

    try:
        say(source, "a", 0)
        wait(lambda: stands("Down", "a") == [("hook", "handed over")], "the critical one goes to the hook")
        wait(lambda: stands("Slow", "a") == [("", "inhibited")], "the warning is inhibited")
        (slow,) = [alert for alert in desk.open_alerts() if alert.name == "Slow"]
        (held,) = desk.page_status(slow, CLOCK.now_ms())
        assert "while Down fires" == held.detail
        assert 1 == len(desk.inhibited_by(slow))

        now = CLOCK.now_ms()
        made = desk.set_silence(
            Silence("", (Matcher("instance", "=", "a"),), now, now + 600_000, "carl", "works on it"), now)
        wait(lambda: desk.silenced_by(Labels({"instance": "a"}), CLOCK.now_ms()) == [made], "the silence")
        wait(lambda: stands("Down", "a") == [("", "silenced")], "the alert is silenced")
        desk.expire_silence(made, CLOCK.now_ms())
        wait(lambda: {one.id: one.ends_at_ms <= CLOCK.now_ms() for one in desk.silences(CLOCK.now_ms())}
             == {made: True}, "the silence is over")
        wait(lambda: stands("Down", "a") == [("hook", "handed over")], "it goes to the hook again")

        told = replica.call(desk.send_test(CLOCK.now_ms()))
        assert [(True, f"{url}: 200, goes to hook") for url in cluster.urls] == [(one.ok, one.detail) for one in told]
        wait(lambda: [one for request in list(sink.received) for one in request.json()["alerts"]
                      if one["labels"].get("test") == "true"], "the test page")
    finally:
        replica.stop()
