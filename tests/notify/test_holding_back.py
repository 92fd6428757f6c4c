"""What keeps a page back, and where it goes: silences, inhibition, routes, the dead man's switch."""

from dataclasses import replace

import pytest

from observe.errors import InvalidInput
from observe.model import Matcher
from observe.notify.settings import Inhibition, Route
from observe.protocols import Silence
from tests.notify.desk import Office, Phone, firing, quick, resolved


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
