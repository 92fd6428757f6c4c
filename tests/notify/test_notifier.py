"""From an alert to a message, as stories: who is told what, when, and why not."""

import asyncio
import gc
import weakref

import httpx

from observe.model import Matcher
from observe.notify.settings import NotifySettings, Route, WebhookSettings
from observe.protocols import Receipt
from observe.testing import WebhookSink
from tests.notify.desk import BUSY, OK, WRONG, Office, Phone, firing, quick, resolved
from tests.real.process import wait_until


def test_the_first_page_waits_for_its_group_then_changes_wait_for_the_interval(tmp_path):
    office = Office(tmp_path)
    a, b, c = (firing(office.clock, name) for name in "abc")
    office.accept(a)
    office.wait("5s")
    office.accept(b)
    office.wait("4s")
    assert office.phone.pages() == []
    office.wait("1s")
    assert office.phone.pages() == [("firing", "first notification", ["a", "b"])]
    office.accept(c)
    office.wait("59s")
    assert len(office.phone.got) == 1
    office.wait("1s")
    assert office.phone.pages()[1:] == [("firing", "new alerts added", ["a", "b", "c"])]


def test_resolved_is_told_with_what_still_fires(tmp_path):
    office = Office(tmp_path)
    a, b = firing(office.clock, "a"), firing(office.clock, "b")
    office.accept(a, b)
    office.wait("10s")
    office.accept(resolved(a, office.clock))
    office.wait("1m")
    office.accept(resolved(b, office.clock))
    office.wait("2m")
    assert office.phone.pages() == [
        ("firing", "first notification", ["a", "b"]), ("firing", "some alerts resolved", ["-a", "b"]),
        ("resolved", "all alerts resolved", ["-b"]),
    ]
    office.wait("5h")
    assert len(office.phone.got) == 3


def test_an_alert_that_ends_before_its_page_is_nobodys_business(tmp_path):
    office = Office(tmp_path)
    a = firing(office.clock)
    office.accept(a)
    office.wait("5s")
    office.accept(resolved(a, office.clock))
    office.wait("5m")
    assert office.phone.got == []
    assert [(one.reason, one.ok) for one in office.notifier.deliveries(a.fingerprint, 0)] == [
        ("resolved before it was ever sent", False)]


def test_an_unchanged_group_is_told_again_after_the_repeat_interval(tmp_path):
    office = Office(tmp_path)
    a = firing(office.clock)
    office.accept(a)
    office.wait("10s")
    for _ in range(241):
        office.accept(a)  # every evaluation says so again
        office.wait("1m")
    assert office.phone.pages() == [
        ("firing", "first notification", ["a"]), ("firing", "repeat interval elapsed", ["a"])]


def test_groups_are_made_by_their_labels(tmp_path):
    office = Office(tmp_path)
    office.accept(firing(office.clock, "a"), firing(office.clock, "b", labels={"service": "other"}))
    office.wait("10s")
    assert sorted(dict(one.group_labels)["service"] for one in office.phone.got) == ["gateway", "other"]


def test_a_receiver_that_fails_is_tried_again_with_longer_and_longer_waits(tmp_path):
    phone = Phone(answers=[BUSY, BUSY, BUSY, OK])
    office = Office(tmp_path, phone)
    a = firing(office.clock)
    office.accept(a)
    office.wait("10s")
    counts = []
    for _ in range(8):
        counts.append(len(phone.got))
        office.wait("1s")
    assert counts == [1, 2, 2, 3, 3, 3, 3, 4]
    told = [(one.ok, one.attempts, one.detail) for one in office.notifier.deliveries(a.fingerprint, 0)]
    assert told == [(True, 4, "200"), (False, 3, "503"), (False, 2, "503"), (False, 1, "503")]


def test_retry_after_is_obeyed(tmp_path):
    phone = Phone(answers=[Receipt(False, True, "429", retry_after_s=30), OK])
    office = Office(tmp_path, phone)
    office.accept(firing(office.clock))
    office.wait("39s")
    assert len(phone.got) == 1
    office.wait("1s")
    assert len(phone.got) == 2


def test_a_refusal_for_good_is_not_hammered(tmp_path):
    phone = Phone(answers=[WRONG, OK])
    office = Office(tmp_path, phone)
    office.accept(firing(office.clock))
    office.wait("69s")
    assert len(phone.got) == 1
    office.wait("1s")
    assert len(phone.got) == 2


def test_a_failing_receiver_keeps_nobody_else_from_being_told(tmp_path):
    class Broken(Phone):
        async def deliver(self, notification):
            raise RuntimeError("a bug")

    well = Phone("well")
    office = Office(tmp_path, Broken("broken"), well)
    office.accept(firing(office.clock))
    office.wait("10s")
    assert well.pages() == [("firing", "first notification", ["a"])]


def test_what_fired_while_a_page_failed_goes_out_with_the_next_try(tmp_path):
    phone = Phone(answers=[BUSY, OK])
    office = Office(tmp_path, phone)
    office.accept(firing(office.clock, "a"))
    office.wait("10s")
    office.accept(firing(office.clock, "b"))
    office.wait("1s")
    assert phone.pages()[1] == ("firing", "first notification", ["a", "b"])


def test_history_and_deliveries_tell_what_happened(tmp_path):
    office = Office(tmp_path)
    begun = office.clock.now_ms()
    a = firing(office.clock)
    office.accept(a)
    office.wait("10s")
    office.accept(resolved(a, office.clock))
    office.wait("2m")
    (past,) = office.notifier.history(begun, a.fingerprint)
    assert (past.labels, str(past.state), past.ends_at_ms) == (a.labels, "resolved", begun + 10_000)
    assert [one.reason for one in office.notifier.deliveries(None, begun)] == [
        "all alerts resolved", "first notification"]
    assert office.notifier.history(office.clock.now_ms(), "0" * 16) == []


def test_reloaded_settings_move_open_alerts_to_the_new_receivers(tmp_path):
    """The old receiver is not told twice, the new one is told of what is open."""
    with WebhookSink() as first, WebhookSink() as second:
        clock = Office(tmp_path / "unused").clock
        office = Office(tmp_path, clock=clock, settings=NotifySettings((WebhookSettings("first", first.url),)))
        office.notifier.reconfigure(NotifySettings((WebhookSettings("first", first.url),)))
        a = firing(clock)
        office.accept(a)
        office.wait("10s")
        both = NotifySettings((WebhookSettings("first", first.url), WebhookSettings("second", second.url)))
        office.notifier.reconfigure(both)
        office.wait("20s")
        assert ([len(first.received), len(second.received)]) == [1, 1]
        office.accept(resolved(a, clock))
        office.wait("2m")
        assert [[request.json()["status"] for request in sink.received] for sink in (first, second)] == [
            ["firing", "resolved"], ["firing", "resolved"]]


def test_receivers_that_a_reload_replaced_are_closed(tmp_path):
    def open_clients():
        """Of this test: what others left may go at any moment."""
        return sum(1 for one in gc.get_objects()
                   if isinstance(one, httpx.AsyncClient) and not one.is_closed and one not in of_others)

    async def live(office, sink):
        stop = asyncio.Event()
        running = asyncio.ensure_future(office.notifier.run(stop))
        for count in range(1, 6):
            office.notifier.reconfigure(NotifySettings((WebhookSettings("sink", sink.url),)))
            office.accept(firing(office.clock, str(count), labels={"service": str(count)}))
            office.clock.advance("10s")
            await asyncio.to_thread(wait_until, lambda count=count: len(sink.received) == count, f"page {count}")
        await asyncio.to_thread(wait_until, lambda: open_clients() == 1, "one client is left")
        stop.set()
        await running

    of_others = weakref.WeakSet(one for one in gc.get_objects() if isinstance(one, httpx.AsyncClient))
    with WebhookSink() as sink:
        office = Office(tmp_path, settings=NotifySettings((WebhookSettings("sink", sink.url),)))
        asyncio.run(live(office, sink))
        assert 0 == open_clients()


def test_groups_have_keys_as_alertmanager_writes_them(tmp_path):
    """Whoever dedupes by `groupKey` reads ours as theirs."""
    phone = Phone()
    route = Route(routes=(Route(matchers=(Matcher("service", "=", "gateway"),), group_by=("alertname", "instance")),))
    office = Office(tmp_path, phone, settings=quick(phone, route=route))
    office.accept(firing(office.clock, 'a"b'))
    office.wait("10s")

    assert ['{}/{service="gateway"}:{alertname="Down", instance="a\\"b"}'] == [one.group_key for one in phone.got]
