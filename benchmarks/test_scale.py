"""The threshold engine at a million series: churn, snapshots between ticks, memory, the first tick of a cold process.

`rolling` always runs at a million; `auto` and `seasonal`, which need gigabytes and minutes for that, at BENCH_SERIES
(250 000 unless said): ``BENCH_SERIES=1000000 make bench``.
"""

import gc
import mmap
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import pytest

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.rule_syntax import parse_rules
from observe.alert.saving import Saving
from observe.detect.band import Band
from observe.detect.staged import create
from observe.model import STALE_NAN, Frame, Labels, Vector
from observe.promql.engine import Engine
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

MILLION = 1_000_000
SERIES = int(os.environ.get("BENCH_SERIES", "250000"))
INTERVAL_MS = 15_000
SIZES = [("rolling", MILLION), ("auto", SERIES), ("seasonal", SERIES)]


@pytest.fixture(autouse=True)
def collector():
    """Set as `observe.memory` sets it for every server of ours."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.collect()


def named(number):
    return Labels({"__name__": "m", "i": str(number)})


class Stream:
    """Ticks of many series, a hundredth of which may be new each time."""

    def __init__(self, detector, series, **settings):
        self.engine = create(Band(detector=detector, **settings), INTERVAL_MS)
        self.names = [named(n) for n in range(series)]
        self.rng = np.random.default_rng(1)
        self.values = 50 + self.rng.standard_normal((4, series))
        self.born, self.ticks, self.gone = series, 0, [[], []]

    def tick(self, labels):
        self.ticks += 1
        at = self.ticks * INTERVAL_MS
        self.engine.step(Vector(at, labels, self.values[self.ticks % 4], np.full(len(labels), at)))

    def churn(self):
        """A hundredth leaves, as many come at their places; those that left two ticks ago are forgotten."""
        few = len(self.names) // 100
        places = self.rng.choice(len(self.names), few, replace=False).tolist()
        self.gone.append([self.names[place] for place in places])
        for place in places:
            self.names[place] = named(self.born)
            self.born += 1
        labels, forgotten = tuple(self.names), self.gone.pop(0)
        with Onlooker() as onlooker:
            wall, own = time.perf_counter(), time.thread_time()
            self.tick(labels)
            self.engine.forget(forgotten)
            wall, own = time.perf_counter() - wall, time.thread_time() - own
        return wall, own, onlooker.longest


class Onlooker:
    """Another thread, as the one that serves: how long at most it waits for its turn while the engine works."""

    def __init__(self):
        self.longest, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _look(self):
        before = time.perf_counter()
        while not self._stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            self.longest, before = max(self.longest, now - before - 0.001), now


def looked_up(names):
    """CPU seconds of asking a dictionary for each name, once."""
    places = dict(zip(names, range(len(names)), strict=True))
    began = time.thread_time()
    np.fromiter(map(places.get, names, repeat(-1)), np.int64, len(names))
    return time.thread_time() - began


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("detector", "series"), SIZES)
def test_a_hundredth_of_the_series_changes_in_each_tick(detector, series):
    """The judging runs on other threads: what the calling thread spends is finding, placing and clearing."""
    stream = Stream(detector, series)
    same = tuple(stream.names)
    for _ in range(3):
        stream.tick(same)
    gc.freeze()
    steady = []
    for _ in range(5):
        began = time.perf_counter()
        stream.tick(same)
        steady.append(time.perf_counter() - began)
    del same
    walls, spent, held_up = zip(*(stream.churn() for _ in range(12)), strict=True)
    asked = looked_up(stream.names)
    print(f"\n{detector}, {series} series of which 1 % are new: {1e3 * np.median(spent):.0f} ms CPU of the calling "
          f"thread a tick (at most {1e3 * max(spent):.0f}), {asked / np.median(spent):.1f}x a dictionary's; a whole "
          f"tick {1e3 * np.median(walls):.0f} ms (at most {1e3 * max(walls):.0f}), without churn "
          f"{1e3 * np.median(steady):.0f} ms; another thread waited {1e3 * max(held_up):.0f} ms at most")
    assert asked / np.median(spent) > 2


class Saved:
    """A snapshot on its way to a file as in production: pieces are cut here and written by another thread."""

    def __init__(self, path, engine):
        self.path, self.pieces, self.spent, self.longest = path, 0, 0.0, 0.0
        self.disk = ThreadPoolExecutor(1)
        self.saving = Saving(path, engine.snapshot_chunks(), self.disk)

    def more(self):
        wall, own = time.perf_counter(), time.thread_time()
        going = self.saving.more()
        self.longest = max(self.longest, time.perf_counter() - wall)
        self.spent += time.thread_time() - own
        self.pieces += 1
        return going


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("detector", "series"), SIZES)
def test_a_snapshot_is_cut_between_ticks_and_restored(detector, series, tmp_path):
    stream = Stream(detector, series)
    labels, ticks = tuple(stream.names), []

    def tick(stream=stream):
        began = time.perf_counter()
        stream.tick(labels)
        ticks.append(time.perf_counter() - began)

    for _ in range(5):
        tick()
    steady = min(ticks)
    ticks.clear()
    began = time.perf_counter()
    saved = Saved(tmp_path / "bands", stream.engine)
    while saved.more():
        time.sleep(0.01)  # as the loop of the rules: the data thread is free for others
        if saved.pieces % 60 == 0:
            tick()
    took = time.perf_counter() - began - sum(ticks)
    saved.disk.shutdown()
    twin = create(Band(detector=detector), INTERVAL_MS)
    del stream, tick
    gc.collect()
    with saved.path.open("rb") as file:
        state = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    wall, own = time.perf_counter(), time.process_time()
    twin.restore(state)
    wall, own = time.perf_counter() - wall, time.process_time() - own
    print(f"\n{detector}, snapshot of {series} series: {took:.1f} s beside {len(ticks)} ticks, {saved.spent:.1f} s CPU "
          f"of the data thread, at most {1e3 * saved.longest:.0f} ms at a time; the longest tick meanwhile "
          f"{1e3 * max(ticks, default=0):.0f} ms, without it {1e3 * steady:.0f} ms; {len(state) / 1e6:.0f} MB; "
          f"restored in {wall:.1f} s, {own:.1f} s CPU")
    assert len(twin) == series
    assert saved.spent < 10
    assert own < 10


MEMORY = """
import gc, sys
import numpy as np
from observe.detect.band import Band
from observe.detect.engine import create
from observe.model import Labels, Vector

def resident_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1000

detector, series = sys.argv[1], int(sys.argv[2])
engine = create(Band(detector=detector), 15_000)
began = resident_mb()
own = ("__name__", "m")  # as the store names series: a pair of all of them is one object
labels = tuple(Labels.from_sorted((own, ("instance", str(n)))) for n in range(series))
named = resident_mb()
rng = np.random.default_rng(1)
for tick in range(1, 41):
    engine.step(Vector(tick * 15_000, labels, 50 + rng.standard_normal(series), np.full(series, tick * 15_000)))
gc.collect()
print(engine.bytes_per_series, began, named, resident_mb())
"""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("detector", "series"), SIZES)
def test_memory_of_a_process_with_its_series_their_names_and_index(detector, series):
    told = subprocess.run([sys.executable, "-c", MEMORY, detector, str(series)], check=True, capture_output=True)
    state, began, named, resident = map(float, told.stdout.split())
    each = 1e6 * (resident - named) / series
    print(f"\n{detector}, {series} series: {resident:.0f} MB resident, of it {named - began:.0f} MB names and "
          f"{began:.0f} MB before any; {state:.0f} B of state a series, {each:.0f} B resident with index, results and "
          "values")
    assert state <= (400 if detector == "rolling" else 3072)
    assert resident * MILLION / series < 4000 or series < MILLION


FIRST_TICK = """
import sys, time
import numpy as np
from observe.detect.band import Band
from observe.detect.engine import create
from observe.model import Labels, Vector

engine = create(Band(detector=sys.argv[1]), 15_000)
engine.step(Vector(1, (Labels({"a": "b"}),), np.ones(1), np.ones(1, np.int64)))
"""


@pytest.mark.parametrize("detector", ["auto", "rolling", "robust", "seasonal"])
def test_a_cold_process_judges_its_first_tick(detector):
    """Kernels come from their cache, as `make setup` leaves them; against a process that imports NumPy and ends."""
    def started(code):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, detector], check=True)
        return time.perf_counter() - began

    started(FIRST_TICK)
    ours, numpy = (min(started(code) for _ in range(5)) for code in (FIRST_TICK, "import numpy"))
    print(f"\na cold process has judged its first tick with {detector} after {ours:.2f} s, {ours / numpy:.1f}x a "
          f"process that imports NumPy ({numpy:.2f} s)")
    assert ours / numpy < 10


RULE = """groups:
- name: g
  rules:
  - alert: Odd
    expr: m
    band: {detector: rolling}
"""


class Nobody:
    """An alert sink: nothing fires here."""

    def accept(self, alerts, now_ms):
        assert not alerts


@pytest.mark.timeout(600)
def test_a_rule_whose_series_change_from_the_store_to_its_bands(tmp_path):
    """30 000 series: about what one rule may have in memory with its bands, unless `owner_limit` is raised."""
    series, clock, telemetry = 30_000, ManualClock(1_700_000_040_000), Telemetry()
    store = MetricStore(tmp_path, MetricSettings(owner_limit=1_000_000), clock, telemetry)
    groups, _ = parse_rules(RULE, "bench.yml", None, INTERVAL_MS)
    rules = RuleEvaluator(
        groups, Engine(store, clock=clock), store, Nobody(), create, clock, telemetry,
        settings=EvaluatorSettings(spread=False),
    )
    rng, ids, spent = np.random.default_rng(1), store.series_ids([named(n) for n in range(series)], "t").copy(), []
    for tick in range(20):
        if tick >= 10:
            left, born = rng.choice(series, series // 100, replace=False), series + tick * series // 100
            store.append(Frame(np.array([clock.now_ms()]), ids[left], np.full((1, len(left)), STALE_NAN)))
            ids[left] = store.series_ids([named(born + n) for n in range(len(left))], "t")
        values = 50 + 0.01 * rng.random((1, series))
        store.append(Frame(np.array([clock.now_ms() + 1]), ids, values))
        clock.advance_ms(INTERVAL_MS)
        own = time.thread_time()
        rules.tick(clock.now_ms())
        spent.append(1e3 * (time.thread_time() - own))
    assert rules.rules()[0].series_total == series
    rules.close(clock.now_ms())
    store.close()
    print(f"\na rule over {series} series, from the store to its bands: {np.median(spent[10:]):.0f} ms CPU a tick in "
          f"which 1 % are new (at most {max(spent[10:]):.0f}), {np.median(spent[2:10]):.0f} ms where none are")
    assert np.median(spent[10:]) < 0.2 * spent[0]  # against naming all of them, as the first tick does
