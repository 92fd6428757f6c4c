"""Why was I (not) paged? The answer for each alert, told apart from every other answer."""

from dataclasses import replace

from observe.model import AlertState, Matcher
from observe.notify.settings import Route
from observe.protocols import PageState, PageStatus, Receipt, Silence
from tests.notify.desk import BUSY, OK, Office, Phone, firing, quick, resolved


def stands(office, alert):
    return office.notifier.page_status(alert, office.clock.now_ms())


def states(office, alert):
    return [(one.receiver, str(one.state)) for one in stands(office, alert)]


def test_a_pending_alert_is_nobodys_business_yet(tmp_path):
    office = Office(tmp_path)
    pending = replace(firing(office.clock), state=AlertState.PENDING)

    assert [("", "pending")] == states(office, pending)


def test_no_receiver_at_all_is_said(tmp_path):
    office = Office(tmp_path, settings=quick())
    office.notifier._receivers.replace([])
    office.accept(alert := firing(office.clock))

    (told,) = stands(office, alert)

    assert PageState.NO_RECEIVER is told.state
    assert "no receiver is configured" in told.detail


def test_receivers_that_no_route_leads_to_are_told_apart_from_none(tmp_path):
    phone = Phone()
    route = Route((), routes=(Route(("phone",), (Matcher("team", "=", "ml"),)),))
    office = Office(tmp_path, phone, settings=quick(phone, route=route))
    office.accept(alert := firing(office.clock))

    assert [PageStatus("", PageState.NO_RECEIVER, "no route sends it to a receiver")] == stands(office, alert)


def test_the_watchdog_says_whom_it_lacks(tmp_path):
    office = Office(tmp_path)
    office.accept(watchdog := firing(office.clock, labels={"alertname": "Watchdog"}))

    assert "dead_man" in stands(office, watchdog)[0].detail


def test_a_group_that_waits_says_until_when_and_then_that_it_told(tmp_path):
    office = Office(tmp_path)
    office.accept(alert := firing(office.clock))
    begun = office.clock.now_ms()

    assert [PageStatus("phone", PageState.WAITS, "its group waits for more (group_wait)", begun + 10_000)] == stands(
        office, alert)
    office.wait("10s")
    assert [PageStatus("phone", PageState.TOLD, "firing", begun + 10_000)] == stands(office, alert)


def test_a_second_alert_of_a_group_waits_for_the_interval(tmp_path):
    office = Office(tmp_path)
    office.accept(firing(office.clock, "a"))
    office.wait("20s")
    office.accept(late := firing(office.clock, "b"))

    (told,) = stands(office, late)

    assert (PageState.WAITS, "its group was told a moment ago (group_interval)") == (told.state, told.detail)


def test_a_failed_delivery_shows_its_last_error_and_the_next_try(tmp_path):
    office = Office(tmp_path, Phone(answers=[BUSY, Receipt(False, True, "429 slow down"), OK]))
    office.accept(alert := firing(office.clock))
    office.wait("11s")
    now = office.clock.now_ms()

    assert [PageStatus("phone", PageState.RETRYING, "attempt 2 failed: 429 slow down", now + 2_000)] == stands(
        office, alert)
    office.wait("2s")
    assert [("phone", "told")] == states(office, alert)


def test_one_receiver_that_fails_is_shown_before_one_that_was_told(tmp_path):
    office = Office(tmp_path, Phone("bad", answers=[BUSY]), Phone("good"))
    office.accept(alert := firing(office.clock))
    office.wait("10s")

    assert [("bad", "retrying"), ("good", "told")] == states(office, alert)


def test_a_silence_says_whose_it_is_and_until_when(tmp_path):
    office = Office(tmp_path)
    now = office.clock.now_ms()
    silence = Silence("", (Matcher("instance", "=", "a"),), now, now + 600_000, "carl", "works on it")
    office.notifier.set_silence(silence, now)
    office.accept(alert := firing(office.clock))
    office.wait("30s")

    assert [PageStatus("", PageState.SILENCED, "by carl: works on it", now + 600_000)] == stands(office, alert)


def test_a_silence_after_the_page_shows_both(tmp_path):
    office = Office(tmp_path)
    office.accept(alert := firing(office.clock))
    office.wait("10s")
    now = office.clock.now_ms()
    office.notifier.set_silence(Silence("", (Matcher("instance", "=", "a"),), now, now + 600_000, "c", "x"), now)

    assert [("", "silenced"), ("phone", "told")] == states(office, alert)


def test_an_inhibited_alert_names_what_holds_it_back(tmp_path):
    office = Office(tmp_path)
    office.accept(firing(office.clock), warning := firing(office.clock, "b", labels={"severity": "warning"}))
    office.wait("10s")

    assert [PageStatus("", PageState.INHIBITED, "while Down fires")] == stands(office, warning)


def test_an_end_that_cannot_be_told_is_retried_and_then_told(tmp_path):
    office = Office(tmp_path, Phone(answers=[OK, BUSY, OK]))
    office.accept(alert := firing(office.clock))
    office.wait("10s")
    office.accept(over := resolved(alert, office.clock))
    office.wait("60s")
    assert [("phone", "retrying")] == states(office, over)
    office.wait("5s")
    assert [("phone", "told")] == states(office, over)
