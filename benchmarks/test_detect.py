"""The threshold engine against what one would take instead, in the same run: the pandas call of every tick, streaming
the bytes once, and the real Prometheus evaluating adaptive anomaly rules. CPU seconds, so a busy machine lies less.
"""

import time

import numpy as np
import pandas as pd
import pytest

from benchmarks.adaptive_rules import microseconds_a_series
from observe.detect.band import Band, Quorum
from observe.detect.engine import create
from observe.jit import kernel
from observe.model import Labels, Vector

SERIES = 1_000_000
INTERVAL_MS = 15_000


def cpu(work):
    began = time.process_time()
    work()
    return time.process_time() - began


def warmed(detector, series, ticks, **settings):
    engine = create(Band(detector=detector, **settings), INTERVAL_MS)
    labels = tuple(Labels({"__name__": "m", "i": str(n)}) for n in range(series))
    values = 50 + np.random.default_rng(1).standard_normal((8, series))
    vectors = [Vector(0, labels, row, np.zeros(series, np.int64)) for row in values]
    clock = iter(range(1, 1_000_000))

    def tick():
        at = next(clock)
        vector = vectors[at % 8]
        return engine.step(Vector(at * INTERVAL_MS, labels, vector.values, vector.sampled_at_ms))

    for _ in range(ticks):
        tick()
    return engine, tick


@kernel
def stream(columns, out):
    """Read every byte once and write as many results as the engine does."""
    for n in range(columns.shape[1]):
        total = 0.0
        for row in range(columns.shape[0]):
            total += columns[row, n]
            columns[row, n] = total
        for row in range(out.shape[0]):
            out[row, n] = total


def best(work, times=8):
    """Wall and CPU seconds of the best of some runs."""
    walls, spent = [], []
    for _ in range(times):
        began = time.perf_counter()
        spent.append(cpu(work))
        walls.append(time.perf_counter() - began)
    return min(walls), min(spent)


@pytest.mark.timeout(600)
def test_rolling_tick_over_a_million_series():
    engine, tick = warmed("rolling", SERIES, 40)
    wall, spent = best(tick)
    # what a tick touches: value, ring slot twice, three sums twice, error, head and count, clock, bits: 12 doubles
    columns, out = np.ones((12, SERIES)), np.empty((5, SERIES))
    stream(columns, out)
    _, streamed = best(lambda: stream(columns, out))
    spent = min(spent, best(tick)[1])  # in turns: a neighbour's burst of work does not fall on one side alone
    streamed = min(streamed, best(lambda: stream(columns, out))[1])
    print(f"\nrolling: {1e3 * wall:.1f} ms a tick of {SERIES} series, {1e9 * spent / SERIES:.0f} ns CPU a point, "
          f"{spent / streamed:.1f}x streaming its bytes ({1e3 * streamed:.1f} ms CPU), {engine.bytes_per_series} B a "
          "series")
    assert engine.bytes_per_series <= 400


@pytest.mark.timeout(600)
@pytest.mark.real
def test_against_prometheus_evaluating_adaptive_rules(tmp_path):
    """A point of each detector against all rules of one series at one evaluation."""
    series = 200_000
    points = {}
    for name in ("rolling", "auto"):
        engine, tick = warmed(name, series, 130)
        points[name] = best(tick)[1] / series
        print(f"\n{name}: {1e9 * points[name]:.0f} ns CPU a point, {engine.bytes_per_series} B a series")
        del engine, tick
    rules = 1e-6 * microseconds_a_series(tmp_path)
    ratios = {name: rules / spent for name, spent in points.items()}
    print(f"Prometheus: {1e6 * rules:.0f} µs a series; rolling {ratios['rolling']:.0f}x, auto {ratios['auto']:.0f}x")
    assert ratios["rolling"] >= 1000
    assert ratios["auto"] >= 150


def test_rolling_against_pandas_each_tick():
    """What a user would call each tick over N live series: a rolling window over the last 31 points of each."""
    series = 2000
    frame = pd.DataFrame(np.random.default_rng(2).standard_normal((31, series)))

    def with_pandas():
        window = frame.rolling(30)
        return window.mean().iloc[-2], window.std().iloc[-2]

    _, theirs = best(with_pandas)
    columns = [frame[name] for name in frame]
    _, one_by_one = best(lambda: [(c.rolling(30).mean().iloc[-2], c.rolling(30).std().iloc[-2]) for c in columns], 1)
    _, tick = warmed("rolling", series, 40, hold=False, trigger=Quorum(1, 1), recover=Quorum(1, 1))
    _, ours = best(tick, 50)
    print(f"\nrolling, one tick of {series} series: {one_by_one / ours:.0f}x pandas a series at a time, "
          f"{theirs / ours:.0f}x pandas on one frame")
    assert one_by_one / ours > 500


def test_rolling_in_batch_against_pandas():
    values = np.random.default_rng(3).standard_normal(1_000_000)
    series, times = pd.Series(values), INTERVAL_MS * np.arange(1, len(values) + 1)
    engine = create(Band(detector="rolling", hold=False), INTERVAL_MS)
    labels = (Labels({"__name__": "m"}),)
    engine.fold(times[:50], labels, values[:50, None])
    ours = cpu(lambda: engine.fold(times[50:], labels, values[50:, None]))
    theirs = cpu(lambda: (series.rolling(30).mean(), series.rolling(30).std()))
    print(f"\nrolling, one series of a million points: {theirs / ours:.2f}x pandas (which neither judges nor alerts)")
