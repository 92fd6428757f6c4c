"""Alerts that somebody else pushes, and limits."""

from dataclasses import replace

from tests.notify.desk import Office, Phone, firing, quick


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
