"""What is new or surged in the logs against the hour before."""

import random

from observe.clock import SystemClock
from observe.model import LogRecord
from observe.store.logs import SignalIndex, SignalSettings
from observe.telemetry import Telemetry
from observe.trace.patterns import masked, new_patterns, surged

START_MS = 1_763_690_000_000


def lines(template, count, level="info", at_ms=START_MS):
    chance = random.Random(template)
    return [
        LogRecord((at_ms + place) * 1_000_000, "gateway", level,
                  template.format(n=chance.randrange(10**6), id=f"{chance.getrandbits(128):032x}"),
                  uid=f"{template}{at_ms}{place}")
        for place in range(count)
    ]


def told(patterns):
    return [(one.template, one.now, one.is_new) for one in patterns]


def test_a_template_that_was_never_seen_is_new():
    usual = lines("request {n} done", 50)
    found = surged(usual, usual + lines("cannot reach db {id}", 3, "error"))

    assert told(found) == [("cannot reach db *", 3, True)]
    assert found[0].example.message.startswith("cannot reach db ")


def test_a_template_that_surged_is_told_with_what_was_expected():
    found = surged(lines("retry {n} of call", 10), lines("retry {n} of call", 200), earlier_scale=0.5)

    assert told(found) == [("retry * of call", 200, False)]
    assert found[0].before == 5.0


def test_the_error_of_a_line_is_its_template_where_it_has_one():
    same = LogRecord(0, "gateway", "error", "request failed", error_msg="upstream timed out")
    other = LogRecord(0, "gateway", "error", "request failed", error_msg="bad gateway at 10.0.0.7:80")

    assert told(surged([same] * 9, [same, other])) == [("bad gateway at *", 1, True)]


def test_the_same_rate_as_before_says_nothing():
    assert surged(lines("request {n} done", 600), lines("request {n} done", 100), earlier_scale=1 / 6) == []


def test_errors_come_first():
    well, bad, hm = lines("all is well {n} times", 90), lines("bad {n} thing", 1, "error"), lines("hm {n}", 5, "warn")
    found = surged([], well + bad + hm)

    assert [one.level for one in found] == ["error", "warn", "info"]


def test_lines_of_random_words_stay_bounded():
    chance = random.Random(5)
    noise = [LogRecord(0, "a", "info", " ".join(f"{chance.getrandbits(64):x}z" for _ in range(chance.randrange(1, 12))))
             for _ in range(3000)]

    assert len(surged([], noise)) <= 3000


def test_masks_leave_the_words():
    assert masked("GET /v1/x took 12.5ms (id 3f2a9c4e-0000-4000-8000-1234567890ab)\nTraceback") == (
        "GET /v1/x took *ms (id *)")


def test_from_the_store_with_the_hour_before(tmp_path):
    store = SignalIndex(tmp_path, SignalSettings(), SystemClock(), Telemetry())
    try:
        store.append(lines("request {n} done", 120, at_ms=START_MS - 3_000_000), [])
        store.append(lines("request {n} done", 4) + lines("decode stalled on worker-{n}", 7, "warn"), [])
        assert store.wait_indexed()

        found = new_patterns(store, START_MS, START_MS + 300_000)

        assert told(found) == [("decode stalled on worker-*", 7, True)]
        assert told(new_patterns(store, START_MS, START_MS + 300_000, levels=("error", "warn"))) == told(found)
        assert new_patterns(store, START_MS, START_MS + 300_000, levels=("error",)) == []
    finally:
        store.close()


def test_a_template_beyond_the_lines_read_is_not_called_new(tmp_path, monkeypatch):
    monkeypatch.setattr("observe.trace.patterns.SAMPLE_LINES", 50)
    store = SignalIndex(tmp_path, SignalSettings(), SystemClock(), Telemetry())
    try:
        store.append(lines("nightly report {n} sent", 1, at_ms=START_MS - 3_500_000), [])
        store.append(lines("request {n} done", 120, at_ms=START_MS - 3_000_000), [])
        store.append(lines("nightly report {n} sent", 1) + lines("queue is full {n}", 1), [])
        assert store.wait_indexed()

        found = new_patterns(store, START_MS, START_MS + 300_000)

        assert told(found) == [("queue is full *", 1, True)]
    finally:
        store.close()
