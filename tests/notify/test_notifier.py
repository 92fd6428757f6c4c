"""From an alert to a message, as stories: who is told what, when, and why not."""

import asyncio
import gc
import sqlite3
import threading
from dataclasses import replace

import httpx
import pytest

from observe.alert.evidence import TraceFinding
from observe.errors import InvalidInput
from observe.model import Matcher
from observe.notify.settings import Inhibition, NotifySettings, Route, WebhookSettings
from observe.protocols import Receipt, Silence
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


# ------------------------------------------------------------ restart


def test_fired_and_not_delivered_is_delivered_by_the_next_process(tmp_path):
    office = Office(tmp_path)
    a = firing(office.clock)
    office.accept(a)  # no close, no flush: as after kill -9
    later = Office(tmp_path, clock=office.clock)
    later.wait("10s")
    assert later.phone.pages() == [("firing", "first notification", ["a"])]


def test_delivered_is_not_delivered_again(tmp_path):
    office = Office(tmp_path)
    office.accept(firing(office.clock))
    office.wait("10s")
    later = Office(tmp_path, clock=office.clock)
    later.wait("1h")
    assert later.phone.got == []
    later.wait("3h")
    assert later.phone.pages() == [("firing", "repeat interval elapsed", ["a"])]


def test_an_end_that_was_not_told_is_told_by_the_next_process(tmp_path):
    office = Office(tmp_path)
    a = firing(office.clock)
    office.accept(a)
    office.wait("10s")
    office.accept(resolved(a, office.clock))
    later = Office(tmp_path, clock=office.clock)
    later.wait("2m")
    assert later.phone.pages() == [("resolved", "all alerts resolved", ["-a"])]


def test_what_ends_after_a_restart_is_told_soon(tmp_path):
    office = Office(tmp_path)
    a = firing(office.clock)
    office.accept(a)
    office.wait("10s")
    later = Office(tmp_path, clock=office.clock)
    later.accept(a)
    later.wait("5m")
    later.accept(resolved(a, later.clock))
    later.wait("5s")
    assert later.phone.pages() == [("resolved", "all alerts resolved", ["-a"])]


def test_retries_go_on_after_a_restart(tmp_path):
    office = Office(tmp_path, Phone(answers=[BUSY]))
    office.accept(firing(office.clock))
    office.wait("20s")
    later = Office(tmp_path, clock=office.clock)
    later.wait("1s")
    assert later.phone.pages() == [("firing", "first notification", ["a"])]


def test_a_damaged_ledger_is_set_aside_and_paging_goes_on(tmp_path):
    (tmp_path / "alerts.sqlite").write_bytes(b"not a database at all" * 500)
    office = Office(tmp_path)
    office.accept(firing(office.clock))
    office.wait("10s")
    assert len(office.phone.got) == 1
    assert (tmp_path / "alerts.damaged").exists()


def test_a_disk_that_refuses_delays_no_page_and_is_counted(tmp_path):
    office = Office(tmp_path)
    blocker = sqlite3.connect(tmp_path / "alerts.sqlite")
    office.notifier._books.ledger._db.execute("PRAGMA busy_timeout=10")
    blocker.execute("BEGIN EXCLUSIVE")
    a = firing(office.clock)
    office.accept(a)
    office.wait("10s")
    assert office.phone.pages() == [("firing", "first notification", ["a"])]
    assert b"observe_ledger_failures_total 2.0" in office.telemetry.exposition()
    blocker.rollback()
    blocker.close()
    office.accept(a)
    assert [one.fingerprint for one in Office(tmp_path, clock=office.clock).notifier.open_alerts()] == [a.fingerprint]


# ------------------------------------------------------------ silences, inhibition, routes


def silence(office, seconds=3600, matcher=None, start=0):
    now = office.clock.now_ms()
    matcher = matcher or Matcher("instance", "=", "a")
    return Silence("", (matcher,), now + start * 1000, now + seconds * 1000, "carl", "works on it")


def test_a_silence_holds_back_and_the_page_comes_when_it_ends(tmp_path):
    office = Office(tmp_path)
    made = office.notifier.set_silence(silence(office, 600), office.clock.now_ms())
    a, b = firing(office.clock, "a"), firing(office.clock, "b")
    office.accept(a, b)
    office.wait("9m")
    assert office.phone.pages() == [("firing", "first notification", ["b"])]
    assert office.notifier.silenced_by(a.labels, office.clock.now_ms()) == [made]
    held = office.notifier.deliveries(a.fingerprint, 0)
    assert [(one.reason, one.detail, one.ok) for one in held] == [("silenced", f"by {made}", False)]
    office.wait("2m")
    assert office.phone.pages()[1:] == [("firing", "new alerts added", ["a", "b"])]


def test_a_silence_that_is_expired_by_hand_lets_the_page_out_at_once(tmp_path):
    office = Office(tmp_path)
    made = office.notifier.set_silence(silence(office), office.clock.now_ms())
    office.accept(firing(office.clock, "a"))
    office.wait("5m")
    office.notifier.expire_silence(made, office.clock.now_ms())
    office.now()
    assert office.phone.pages() == [("firing", "first notification", ["a"])]


def test_the_end_of_a_paged_alert_is_told_through_a_silence(tmp_path):
    office = Office(tmp_path)
    a = firing(office.clock, "a")
    office.accept(a)
    office.wait("10s")
    office.notifier.set_silence(silence(office), office.clock.now_ms())
    office.accept(resolved(a, office.clock))
    office.wait("2m")
    assert office.phone.pages()[1:] == [("resolved", "all alerts resolved", ["-a"])]


def test_a_silence_survives_a_restart_and_begins_when_it_says(tmp_path):
    office = Office(tmp_path)
    office.notifier.set_silence(silence(office, 600, start=60), office.clock.now_ms())
    later = Office(tmp_path, clock=office.clock)
    labels = firing(office.clock).labels
    assert later.notifier.silenced_by(labels, later.clock.now_ms()) == []
    later.clock.advance("1m")
    assert len(later.notifier.silenced_by(labels, later.clock.now_ms())) == 1


@pytest.mark.parametrize(("change", "message"), [
    ({"matchers": ()}, "needs a matcher"),
    ({"matchers": (Matcher("x", "=~", ".*"),)}, "would match every alert"),
    ({"matchers": (Matcher("x", "=~", "(a"),)}, "not a regular expression"),
    ({"ends_at_ms": 1, "starts_at_ms": 0}, "ends in the past"),
    ({"id": "unknown"}, "no silence unknown"),
])
def test_a_silence_that_makes_no_sense_is_refused(tmp_path, change, message):
    office = Office(tmp_path)
    with pytest.raises(InvalidInput, match=message):
        office.notifier.set_silence(replace(silence(office), **change), office.clock.now_ms())


def test_a_critical_alert_holds_back_the_warning_of_the_same_name_and_service(tmp_path):
    office = Office(tmp_path)
    critical = firing(office.clock, "a")
    warning = firing(office.clock, "b", labels={"severity": "warning"})
    office.accept(critical, warning)
    office.wait("10s")
    assert office.phone.pages() == [("firing", "first notification", ["a"])]
    assert office.notifier.inhibited_by(warning) == [critical.fingerprint]
    office.accept(resolved(critical, office.clock))
    office.wait("3m")
    assert office.phone.pages()[1:] == [("firing", "new alerts added", ["-a", "b"])]


def test_alerts_that_would_inhibit_each_other_do_not(tmp_path):
    same = (Matcher("service", "=", "gateway"),)
    phone = Phone()
    office = Office(tmp_path, phone, settings=quick(phone, inhibitions=(Inhibition(same, same, ("service",)),)))
    office.accept(firing(office.clock, "a"), firing(office.clock, "b"))
    office.wait("10s")
    assert phone.pages() == [("firing", "first notification", ["a", "b"])]


def test_routes_send_to_the_first_that_matches_and_on_where_they_say_continue(tmp_path):
    team, log, rest = Phone("team"), Phone("log"), Phone("rest")
    route = Route(receivers=("rest",), routes=(
        Route(receivers=("log",), matchers=(Matcher("severity", "=~", "critical|warning"),), continue_=True),
        Route(receivers=("team",), matchers=(Matcher("service", "=", "gateway"),), group_by=("...",),
              group_wait_ms=1000),
    ))
    office = Office(tmp_path, team, log, rest, settings=quick(team, log, rest, route=route))
    office.accept(firing(office.clock, "a"), firing(office.clock, "b"),
                  firing(office.clock, "c", labels={"service": "x", "severity": "info"}))
    office.wait("1s")
    assert sorted(page[2] for page in team.pages()) == [["a"], ["b"]]
    office.wait("9s")
    assert [page[2] for page in log.pages()] == [["a", "b"]]
    assert [page[2] for page in rest.pages()] == [["c"]]


def test_the_watchdog_goes_to_its_own_receiver_only(tmp_path):
    people, machine = Phone("people"), Phone("machine")
    watchdog = {"alertname": "Watchdog", "severity": "none"}
    settings = quick(people, machine, dead_man_receiver="machine")
    office = Office(tmp_path, people, machine, settings=settings)
    office.accept(firing(office.clock, labels=watchdog))
    office.wait("3m")
    assert (people.got, len(machine.got)) == ([], 3)

    nobody = Office(tmp_path / "other", Phone("people"))
    nobody.accept(firing(nobody.clock, labels=watchdog))
    nobody.wait("3m")
    assert nobody.phone.got == []


# ------------------------------------------------------------ evidence, pushes, bounds


def test_a_page_carries_its_evidence(tmp_path):
    office = Office(tmp_path, find_traces=lambda alert, now_ms: TraceFinding(("a" * 32, "b" * 32)))
    office.accept(firing(office.clock))
    office.wait("10s")
    assert office.phone.got[0].alerts[0].annotations == {
        "value": "2.5", "expected": "0.5 – 1.5", "lower": "0.5", "upper": "1.5", "baseline": "1", "score": "3",
        "trace_ids": "a" * 32 + "," + "b" * 32, "summary": "a is down",
    }


def test_a_trace_store_that_fails_costs_the_traces_and_not_the_page(tmp_path):
    def broken(alert, now_ms):
        raise OSError("store is down")

    office = Office(tmp_path, find_traces=broken)
    office.accept(firing(office.clock))
    office.wait("10s")
    told = office.phone.got[0].alerts[0].annotations
    assert (told["trace_ids"], told["trace_ids_reason"]) == ("", "the trace store did not answer: store is down")


def test_pushed_alerts_end_when_they_are_not_pushed_again(tmp_path):
    office = Office(tmp_path)
    pushed = replace(firing(office.clock), rule="")
    office.notifier.push([pushed], office.clock.now_ms())
    office.wait("4m")
    office.notifier.push([replace(pushed, starts_at_ms=office.clock.now_ms())], office.clock.now_ms())
    office.wait("4m")
    assert [page[0] for page in office.phone.pages()] == ["firing"]
    office.wait("2m")
    assert office.phone.pages()[1:] == [("resolved", "all alerts resolved", ["-a"])]


def test_a_pushed_end_resolves(tmp_path):
    office = Office(tmp_path)
    pushed = replace(firing(office.clock), rule="")
    office.notifier.push([pushed], office.clock.now_ms())
    office.wait("10s")
    office.notifier.push([replace(pushed, ends_at_ms=office.clock.now_ms())], office.clock.now_ms())
    office.wait("1m")
    assert [page[0] for page in office.phone.pages()] == ["firing", "resolved"]


def test_too_many_alerts_are_refused_and_counted(tmp_path):
    phone = Phone()
    office = Office(tmp_path, phone, settings=quick(phone, max_alerts=2))
    office.accept(*(firing(office.clock, name) for name in "abc"))
    assert len(office.notifier.open_alerts()) == 2
    assert b'observe_dropped_total{reason="alert limit",stage="notify"} 1.0' in office.telemetry.exposition()


def test_pushed_alerts_that_are_refused_leave_nothing_behind(tmp_path):
    """They may say that they end in a thousand years."""
    phone = Phone()
    office = Office(tmp_path, phone, settings=quick(phone, max_alerts=2))
    now_ms, never_ms = office.clock.now_ms(), 10**15
    for name in "abcdef":
        office.notifier.push([replace(firing(office.clock, name), rule="", ends_at_ms=never_ms)], now_ms)
    assert len(office.notifier.open_alerts()) == 2
    assert len(office.notifier._open._pushed_until) == 2


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


def test_the_ledger_forgets_what_is_over_for_long(tmp_path):
    office = Office(tmp_path)
    a, b = firing(office.clock, "a"), firing(office.clock, "b")
    office.accept(a, b)
    office.wait("10s")
    office.accept(resolved(a, office.clock))
    office.wait("2m")
    office.notifier._books.ledger.forget(office.clock.now_ms() + 1)
    assert [one.labels["instance"] for one in office.notifier.history(0)] == ["b"]
    assert office.notifier.deliveries(None, 0) == []


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
        return sum(1 for one in gc.get_objects() if isinstance(one, httpx.AsyncClient) and not one.is_closed)

    async def live(office, sink, before):
        stop = asyncio.Event()
        running = asyncio.ensure_future(office.notifier.run(stop))
        for count in range(1, 6):
            office.notifier.reconfigure(NotifySettings((WebhookSettings("sink", sink.url),)))
            office.accept(firing(office.clock, str(count), labels={"service": str(count)}))
            office.clock.advance("10s")
            await asyncio.to_thread(wait_until, lambda count=count: len(sink.received) == count, f"page {count}")
        await asyncio.to_thread(wait_until, lambda: open_clients() == before + 1, "one client is left")
        stop.set()
        await running

    with WebhookSink() as sink:
        office = Office(tmp_path, settings=NotifySettings((WebhookSettings("sink", sink.url),)))
        before = open_clients()
        asyncio.run(live(office, sink, before))
        assert open_clients() == before


def test_a_trace_store_that_hangs_delays_one_page_and_not_each_in_its_turn(tmp_path):
    """Two hundred pages of their own, four on their way at once: waiting for each would take ten seconds here."""
    over, asked = threading.Event(), []
    phone = Phone()
    office = Office(tmp_path, phone, settings=quick(phone, group_by=("...",), evidence_timeout_s=0.2),
                    find_traces=lambda alert, now_ms: asked.append(alert) or (over.wait(30) and TraceFinding()))
    office.accept(*(firing(office.clock, f"n{n:03}") for n in range(200)))
    office.wait("10s")
    over.set()
    assert sorted(page[2][0] for page in phone.pages()) == [f"n{n:03}" for n in range(200)]
    assert {one.alerts[0].annotations["trace_ids_reason"] for one in phone.got} == {
        "the trace store did not answer within 0.2 s"}
    assert len(asked) == 2, "the threads that hang"
    count = office.telemetry.registry.get_sample_value
    assert count("observe_trace_searches_total", {"result": "late"}) == 4
    assert count("observe_trace_searches_total", {"result": "skipped"}) == 196


def test_a_trace_store_that_was_late_is_asked_again_when_it_answers(tmp_path):
    over = threading.Event()
    phone = Phone()
    office = Office(tmp_path, phone, settings=quick(phone, evidence_timeout_s=0.2),
                    find_traces=lambda alert, now_ms: over.wait(30) and TraceFinding(("a" * 32,)))
    office.accept(firing(office.clock, "a"))
    office.wait("10s")
    over.set()
    office.accept(firing(office.clock, "b"))
    office.wait("1m")
    assert [[one.annotations["trace_ids"] for one in page.alerts] for page in phone.got] == [[""], ["a" * 32] * 2]


def test_groups_have_keys_as_alertmanager_writes_them(tmp_path):
    """Whoever dedupes by `groupKey` reads ours as theirs."""
    phone = Phone()
    route = Route(routes=(Route(matchers=(Matcher("service", "=", "gateway"),), group_by=("alertname", "instance")),))
    office = Office(tmp_path, phone, settings=quick(phone, route=route))
    office.accept(firing(office.clock, 'a"b'))
    office.wait("10s")

    assert ['{}/{service="gateway"}:{alertname="Down", instance="a\\"b"}'] == [one.group_key for one in phone.got]
