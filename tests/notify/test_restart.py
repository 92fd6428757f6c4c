"""What a restart, kill -9 and a bad disk do to pages: nothing is lost, nothing told twice."""

import sqlite3

from tests.notify.desk import BUSY, Office, Phone, firing, resolved


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
