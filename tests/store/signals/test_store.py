"""The embedded store: the common scenario, exactly once, restart, rebuild, retention, damage."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from observe.errors import QueryError
from observe.model import LogRecord
from observe.store.logs import SignalIndex, SignalSettings
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.store.signals import scenario
from tests.store.signals.scenario import LINES, SPANS, START_MS, START_NS, line, numbers, span, whole

QUICK = SignalSettings(
    logs=SpoolSettings(sync_every_s=0), spans=SpoolSettings(sync_every_s=0), index_every_s=0.01, rest_after_s=30)


def settings(**spool):
    bounds = SpoolSettings(**{"sync_every_s": 0, **spool})
    return replace(QUICK, logs=bounds, spans=bounds)


class Opened:
    """A store that a test can close and open again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(START_MS)
        self.telemetry = Telemetry()
        self.stores: list[SignalIndex] = []

    def __call__(self, chosen: SignalSettings = QUICK) -> SignalIndex:
        self.close()
        self.stores.append(SignalIndex(self.folder, chosen, self.clock, self.telemetry))
        return self.stores[-1]

    def close(self) -> None:
        for store in self.stores:
            store.close()
        self.stores.clear()

    def counted(self, name: str) -> float:
        return sum(sample.value for metric in self.telemetry.registry.collect() for sample in metric.samples
                   if sample.name == name)


@pytest.fixture
def opened(tmp_path):
    made = Opened(tmp_path)
    yield made
    made.close()


def everything(store: SignalIndex) -> list[int]:
    assert store.wait_indexed()
    return numbers(store.search(whole(limit=10_000, newest_first=False)).lines)


@pytest.mark.parametrize("check", scenario.CHECKS, ids=lambda check: check.__name__)
def test_the_common_scenario(opened, check):
    store = opened()
    scenario.fill(store)
    assert store.wait_indexed()
    check(store)


@pytest.mark.parametrize("check", scenario.CHECKS, ids=lambda check: check.__name__)
def test_the_common_scenario_over_many_small_partitions(opened, check):
    store = opened(settings(segment_bytes=1, block_bytes=200))
    for one in LINES:
        store.append([one], [])
    for one in SPANS:
        store.append([], [one])
    assert store.wait_indexed()
    check(store)


class TestExactlyOnce:
    def test_a_batch_delivered_twice_is_stored_once(self, opened):
        store = opened()
        store.append(LINES, SPANS)
        store.append(LINES[3:], SPANS[2:])
        assert everything(store) == list(range(1, 15))
        assert len(store.trace(scenario.trace_id(1)).spans) == 4

    def test_a_repeat_inside_one_batch_counts_once(self, opened):
        store = opened()
        store.append([LINES[0], LINES[1], LINES[0]], [])
        assert everything(store) == [1, 2]

    def test_a_repeat_is_known_after_a_restart_and_in_older_partitions(self, opened):
        store = opened(settings(segment_bytes=1))
        for one in LINES:
            store.append([one], [])
        store = opened(settings(segment_bytes=1))
        store.append(LINES, [])
        assert everything(store) == list(range(1, 15))

    def test_lines_without_an_identity_are_all_kept(self, opened):
        store = opened()
        plain = [LogRecord(START_NS, "a", "info", "tick"), LogRecord(START_NS, "a", "info", "tick")]
        store.append(plain, [])
        store.append(plain[:1], [])
        assert store.wait_indexed()
        found = store.search(whole()).lines
        assert [one.message for one in found] == ["tick", "tick", "tick"]
        assert len({one.uid for one in found}) == 3

    def test_many_threads_deliver_the_same_lines(self, opened):
        store = opened()
        lines = [line(number, f"line {number}") for number in range(400)]
        threads = [
            threading.Thread(target=lambda shift=shift: [
                store.append(lines[(at + shift) % 400 : (at + shift) % 400 + 10], []) for at in range(0, 400, 10)])
            for shift in (0, 100, 200, 300)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(everything(store)) == list(range(400))


class TestRestart:
    def test_a_restart_loses_nothing(self, opened):
        store = opened()
        store.append(LINES, SPANS)
        store = opened()
        assert everything(store) == list(range(1, 15))

    @pytest.mark.parametrize("harm", ["missing", "damaged", "older layout"])
    def test_the_index_is_made_again_from_the_spool(self, opened, harm):
        store = opened()
        store.append(LINES, SPANS)
        assert store.wait_indexed()
        opened.close()
        for index in opened.folder.glob("*/*/index"):
            if harm == "missing":
                shutil.rmtree(index)
            elif harm == "damaged":
                (index / "meta.json").write_bytes(b"\x00 not json")
            else:
                (index / "layout").write_text("from another year")
        store = opened()
        assert store.wait_indexed()
        scenario.check_searches(store)
        scenario.check_traces(store)

    def test_an_index_file_cut_short_is_made_again(self, opened):
        store = opened()
        store.append(LINES, SPANS)
        assert store.wait_indexed()
        opened.close()
        for part in opened.folder.glob("*/*/index/*.*"):
            if part.suffix in {".term", ".idx", ".fast", ".pos"}:
                part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        store = opened()
        assert store.wait_indexed()
        store.search(whole(text="failed"))  # finds out, if opening did not
        assert store.wait_indexed()
        scenario.check_searches(store)


class TestBounds:
    def test_old_partitions_leave_and_are_counted(self, opened):
        chosen = settings(max_age_ms=3 * 86_400_000)
        store = opened(chosen)
        for day in range(6):
            store.append([line(day, f"day {day}", at_s=day)], [])
            opened.clock.advance("1d")
        store.append([line(99, "today", at_s=50)], [])
        assert everything(store) == [2, 3, 4, 5, 99]
        assert opened.counted("observe_spool_expired_entries_total") == 2

    def test_the_disk_cap_drops_the_oldest(self, opened):
        store = opened(settings(segment_bytes=1, max_bytes=60_000))
        for number in range(40):
            store.append([line(number, f"line {number}", at_s=number)], [])
            assert store.wait_indexed()
        left = everything(store)
        assert left == list(range(40 - len(left), 40))
        assert 0 < len(left) < 40
        opened.close()  # and with it what the index library still merges and removes
        assert sum(path.stat().st_size for path in (opened.folder / "logs").rglob("*") if path.is_file()) < 80_000

    def test_logs_and_spans_have_their_own_caps(self, opened):
        spans = SpoolSettings(sync_every_s=0, segment_bytes=1, max_bytes=1)
        store = opened(replace(QUICK, spans=spans))
        for one in SPANS:
            store.append(LINES[:1], [one])
        assert store.wait_indexed()
        assert everything(store) == [1]
        assert not store.trace(scenario.trace_id(1)).spans


class TestHostileInput:
    @pytest.mark.parametrize("record", [
        line(1, "lone \ud800 surrogate", service="\udfff"),
        line(1, "nul \x00 byte", fields={"\x00": "\x00"}),
        line(1, "deep", fields={"a": __import__("functools").reduce(lambda inner, _: {"a": inner}, range(900), 1)}),
        line(1, "big", fields={"n": 10**40, "nan": float("nan"), "inf": float("inf"), "x" * 5000: "y" * 5000}),
        line(1, "m" * 2_000_000),
        line(1, "odd types", fields={"when": object, "set": {1, 2}, 5: 6}),
        LogRecord(10**30, "a", "info", "far future", uid="f:1"),
        line(1, "nan", latency_ms=float("nan")),
    ], ids=["surrogate", "nul", "deep", "numbers", "long", "types", "time", "nan"])
    def test_a_strange_line_is_kept_and_does_not_stop_the_others(self, opened, record):
        store = opened()
        store.append([record, line(2, "after it")], [])
        assert store.wait_indexed()
        assert store.search(replace(whole(), end_ns=2**63 - 1)).total == 2

    def test_a_strange_cursor_is_an_error_that_says_so(self, opened):
        store = opened()
        with pytest.raises(QueryError, match="not a cursor"):
            store.search(whole(cursor="x.y"))

    def test_a_trace_that_began_before_everything(self, opened):
        store = opened()
        store.append([], [span(7, 71, None, -1e9, 5), replace(SPANS[0], start_ns=-(10**25), end_ns=10**25)])
        assert store.wait_indexed()
        assert len(store.trace(scenario.trace_id(1)).spans) == 1
