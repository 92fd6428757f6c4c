"""The page of an exporter, and collectors that fail and hang alone."""

import math
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from observe.exporters.collectors import Collector, Exporter, NoData
from observe.exporters.page import Metric, Page
from tests.exporters.golden import no_time
from tests.real.process import wait_until

DEPTH = Metric("queue_depth", "gauge", "", 'Jobs\nthat "wait" \\ here.', ("queue",))
WAIT = Metric("queue_wait_seconds", "histogram", "seconds", "Wait.", ("queue",))


def test_the_page_is_the_text_format_whole():
    page = Page()
    page.add(DEPTH, 3, 'a"b\\c\nd')
    page.add(DEPTH, None, "absent")
    page.add(DEPTH, math.nan, "é")
    page.add(DEPTH, 4, 'a"b\\c\nd')
    page.histogram(WAIT, (0.1, 1.0), (2, 0, 1), 3.5, "q")

    assert page.text().decode() == (
        '# HELP queue_depth Jobs\\nthat "wait" \\\\ here.\n# TYPE queue_depth gauge\n'
        'queue_depth{queue="a\\"b\\\\c\\nd"} 4\nqueue_depth{queue="é"} NaN\n'
        "# HELP queue_wait_seconds Wait.\n# TYPE queue_wait_seconds histogram\n"
        'queue_wait_seconds_bucket{queue="q",le="0.1"} 2\nqueue_wait_seconds_bucket{queue="q",le="1"} 2\n'
        'queue_wait_seconds_bucket{queue="q",le="+Inf"} 3\nqueue_wait_seconds_sum{queue="q"} 3.5\n'
        'queue_wait_seconds_count{queue="q"} 3\n'
    )


@pytest.mark.parametrize("value", [0.1, 1e300, -math.inf, 2**63, 123456789.125, -0.0, 5e-324, 1e15, 999999999999999.0])
def test_values_come_back_as_they_went_in(value):
    page = Page()
    page.add(DEPTH, value, "q")

    (family,) = text_string_to_metric_families(page.text().decode())
    assert family.samples[0].value == value


def _good(page: Page) -> None:
    page.add(DEPTH, 1, "good")


def _bad(page: Page) -> None:
    page.add(DEPTH, 1, "half")
    raise OSError("the disk fell out")


def _empty(_page: Page) -> None:
    raise NoData("nothing here")


def _wrong_labels(page: Page) -> None:
    page.add(DEPTH, 1, "too", "many")


def test_a_failing_collector_loses_its_own_samples_only(caplog):
    broken = [Collector("bad", (DEPTH,), _bad), Collector("empty", (), _empty), Collector("odd", (), _wrong_labels)]
    exporter = Exporter("test", [*broken, Collector("good", (DEPTH,), _good)], timer=no_time)

    text = exporter.exposition().decode()
    exporter.exposition()

    assert "half" not in text
    assert 'queue_depth{queue="good"} 1\n' in text
    assert [line for line in text.splitlines() if line.startswith("exporter_success{")] == [
        'exporter_success{collector="bad"} 0', 'exporter_success{collector="empty"} 0',
        'exporter_success{collector="odd"} 0', 'exporter_success{collector="good"} 1',
    ]
    assert exporter.problems()["bad"] == "OSError: the disk fell out"
    warned = [record.getMessage() for record in caplog.records if "bad" in record.getMessage()]
    assert warned == ["collector bad failed: OSError: the disk fell out"], "once, not at each scrape"


def test_what_a_limit_leaves_out_is_counted_while_there_is_any():
    rooms = [3, 3]

    def crowded(page: Page) -> None:
        page.add(DEPTH, 1, "shown")
        page.leave_out(rooms[0] - 1)

    exporter = Exporter("test", [Collector("crowd", (DEPTH,), crowded), Collector("good", (), _good)], timer=no_time)
    beyond = exporter.exposition().decode()
    rooms[0] = 1
    within = exporter.exposition().decode()

    assert 'exporter_left_out{collector="crowd"} 2\n' in beyond
    assert 'exporter_left_out{collector="good"}' not in beyond
    assert "exporter_left_out" not in within


def test_a_hanging_background_collector_delays_nobody_and_its_old_numbers_vanish():
    """It answers once, then hangs for good: its numbers are shown until they are too old."""
    now, hang, rounds = [0.0], threading.Event(), []

    def slow(page: Page) -> None:
        rounds.append(1)
        if len(rounds) > 1:
            hang.wait(300)
        page.add(DEPTH, 7, "slow")

    exporter = Exporter(
        "test", [Collector("slow", (DEPTH,), slow, every_s=0.01), Collector("good", (DEPTH,), _good)],
        timer=lambda: now[0],
    )
    try:
        exporter.start()
        wait_until(lambda: len(rounds) == 2, "the second round hangs")
        fresh = exporter.exposition().decode()
        now[0] = 100.0
        old = exporter.exposition().decode()
    finally:
        hang.set()
        exporter.close()

    assert 'queue_depth{queue="slow"} 7\n' in fresh
    assert 'queue="slow"' not in old
    assert 'queue_depth{queue="good"} 1\n' in old
    assert 'exporter_success{collector="slow"} 0\n' in old


@pytest.mark.timeout(90)
def test_sources_that_never_answer_delay_the_first_scrape_a_little_all_together_and_no_later_one():
    """Twenty that are waited for one after the other, five seconds each, would take longer than this test may."""
    hang = threading.Event()
    stuck = [Collector(f"stuck{n}", (), lambda _page: hang.wait(300) and None, every_s=5) for n in range(20)]
    exporter = Exporter("test", [*stuck, Collector("good", (DEPTH,), _good)])
    try:
        exporter.start()
        texts = [exporter.exposition().decode() for _ in range(3)]
    finally:
        hang.set()
        exporter.close()

    assert [text.count('queue_depth{queue="good"} 1\n') for text in texts] == [1, 1, 1]
    assert [text.count("} 0\n") for text in texts] == [40, 40, 40], "neither success nor a duration"


def test_the_first_scrape_after_the_start_has_the_slow_sources_figures():
    for _ in range(20):
        with Exporter("test", [Collector("slow", (DEPTH,), _good, every_s=60)]) as exporter:
            assert 'exporter_success{collector="slow"} 1\n' in exporter.exposition().decode()


def test_a_value_that_is_no_number_costs_its_collector_and_truth_is_1():
    def text_value(page: Page) -> None:
        page.add(DEPTH, "12", "text")

    def truth(page: Page) -> None:
        page.add(DEPTH, True, "truth")

    exporter = Exporter("test", [Collector("text", (), text_value), Collector("truth", (), truth)], timer=no_time)
    text = exporter.exposition().decode()

    assert 'queue_depth{queue="truth"} 1\n' in text
    assert exporter.problems() == {"text": "TypeError: queue_depth was given '12', which is not a number"}


def test_a_problem_is_told_in_few_words_that_a_log_can_bear(caplog):
    """A proxy's page of a megabyte, or bytes that are no text, do not become a line of the log each time."""
    def collect(_: Page) -> None:
        raise ValueError("\x00\x1b[31m" + "<html>" * 100_000)

    exporter = Exporter("a", [Collector("bad", (), collect)])
    exporter.exposition()

    told = exporter.problems()["bad"]
    assert 501 == len(told)
    assert "\x1b" not in told
    assert told in caplog.text
