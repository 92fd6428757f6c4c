"""One writer, readers and maintenance at once: a reader always sees what was acknowledged, whole and in order."""

import threading

import numpy as np

from observe.model import Frame, Labels
from tests.store.metrics.conftest import NOW, parse

STEP_MS = 15_000
SERIES = 20
SCRAPES = 2500


def test_readers_see_every_acknowledged_sample_while_hours_move_into_blocks(make):
    bench = make(cache_bytes=20_000, rows=16, cut_idle_ms=60_000, segment_bytes=200_000)
    store, clock = bench.store, bench.clock
    acknowledged = 0
    done = threading.Event()
    turn = threading.Semaphore(0)  # the writer never runs far ahead of maintenance
    problems: list[str] = []
    reads = 0

    def write():
        nonlocal acknowledged
        ids = store.series_ids([Labels({"__name__": "m", "n": str(n)}) for n in range(SERIES)])
        for scrape in range(1, SCRAPES + 1):
            clock.advance_ms(STEP_MS)
            churn = store.series_ids([Labels({"__name__": "pod", "run": str(scrape // 100)})])
            values = scrape * 10.0 + np.arange(SERIES + 1.0)[None, :]
            store.append(Frame(np.array([NOW + scrape * STEP_MS]), np.concatenate([ids, churn]), values))
            acknowledged = scrape
            if scrape % 20 == 0:
                assert turn.acquire(timeout=300)

    def maintain():
        while not done.is_set():
            store.maintain(clock.now_ms(), 0.02)
            store.sync()
            turn.release()

    def read():
        nonlocal reads
        matchers = [parse("__name__=m")]
        while not done.is_set():
            known = acknowledged
            found = store.select(matchers, NOW, 2**62)
            if known and len(found) != SERIES:
                problems.append(f"{len(found)} series at scrape {known}")
            for labels, low, high in zip(found.labels, found.offsets, found.offsets[1:], strict=False):
                scrapes = (found.timestamps[low:high] - NOW) // STEP_MS
                if len(scrapes) < known or not np.array_equal(scrapes, np.arange(1, len(scrapes) + 1)):
                    problems.append(f"{labels}: {len(scrapes)} of {known}")
                if not np.array_equal(found.values[low:high], scrapes * 10.0 + int(labels["n"])):
                    problems.append(f"{labels}: wrong values")
            reads += 1

    def guarded(work):
        try:
            work()
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (maintain, read, read)]
    for thread in threads:
        thread.start()
    guarded(write)
    while reads <= 3 and not problems:
        done.wait(0.005)
    done.set()
    for thread in threads:
        thread.join()

    assert problems == []
    assert store.stats()["block_samples"] > 0
    assert sum(map(len, bench.read("__name__=pod", end=10**12).values())) == SCRAPES
