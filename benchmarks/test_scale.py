"""The threshold engine at a million series: what churn costs a tick, against asking a dictionary for every name.

`rolling` always runs at a million; `auto` and `seasonal`, which need gigabytes and minutes for that, at BENCH_SERIES
(250 000 unless said).
"""

import gc
import os
import time
from itertools import repeat

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.staged import create
from observe.model import Labels, Vector

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
        wall, own = time.perf_counter(), time.thread_time()
        self.tick(labels)
        self.engine.forget(forgotten)
        return time.perf_counter() - wall, time.thread_time() - own


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
    walls, spent = zip(*(stream.churn() for _ in range(12)), strict=True)
    asked = looked_up(stream.names)
    print(f"\n{detector}, {series} series of which 1 % are new: {1e3 * np.median(spent):.0f} ms CPU of the calling "
          f"thread a tick (at most {1e3 * max(spent):.0f}), {asked / np.median(spent):.1f}x a dictionary's; a whole "
          f"tick {1e3 * np.median(walls):.0f} ms (at most {1e3 * max(walls):.0f}), without churn "
          f"{1e3 * np.median(steady):.0f} ms")
    assert asked / np.median(spent) > 2
