"""kill -9 before every file operation of a piece of upkeep: `python -m tests.store.metrics.crash_points FOLDER`.

A store with three hours of yesterday in blocks takes samples in and out of order; then it merges the day. Once for
each operation (Python tells it beforehand) a child dies there; another opens what is left and compares.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from observe.model import Frame, Labels
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

HOUR = 3_600_000
DAY = 1_700_006_400_000
STEP = 300_000
SETTINGS = MetricSettings(cache_bytes=0, rows=4, late_window_ms=2 * HOUR, future_ms=HOUR, cut_idle_ms=60_000)
NAMES = [Labels({"__name__": name, "job": "j"}) for name in "abc"]
OPERATIONS = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def open_store(folder, now_ms):
    clock = ManualClock(now_ms)
    return MetricStore(folder, SETTINGS, clock, Telemetry()), clock


def put(store, times):
    ids = store.series_ids(NAMES, "target")
    for at in times:
        told = store.append(Frame(np.array([at]), ids, np.array([[at / STEP, at % 7.0, 1.0]])))
        assert told.stored + told.out_of_order == len(NAMES), told


def prepare(folder):
    """Three hours of yesterday, each a block."""
    store, clock = open_store(folder, DAY)
    for hour in range(3):
        put(store, range(DAY + hour * HOUR, DAY + (hour + 1) * HOUR, STEP))
        clock.advance_ms(HOUR)
    for _ in range(4):
        store.maintain(clock.now_ms(), 60.0)
        clock.advance("2h")
    assert store.stats()["blocks"] == 3
    store.close()


LATE = [*range(DAY + 27 * HOUR, DAY + 28 * HOUR, 2 * STEP), *range(DAY + 26 * HOUR + STEP, DAY + 27 * HOUR, 3 * STEP)]
"""Of today, the second half behind the first: it waits, sorted by nobody, while the day before is merged."""


def work(folder, die_at):
    """Take samples, then do all upkeep; dies before file operation `die_at`. Returns how many there were."""
    store, clock = open_store(folder, DAY + 28 * HOUR)
    put(store, LATE)
    done = 0

    def look(event, told):
        nonlocal done
        if event in OPERATIONS or (event == "open" and isinstance(told[2], int) and told[2] & WRITING):
            if done == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1

    sys.addaudithook(look)
    for _ in range(3):
        store.maintain(clock.now_ms(), 60.0)
        clock.advance("20m")
    assert any(block.path.name.startswith("day-") for block in store._archive.blocks)
    assert any(block.info.start_ms == DAY + 26 * HOUR for block in store._archive.blocks)
    return done


def check(folder, _):
    """Everything is there once, with its value, and stays so through the upkeep that follows."""
    expected = sorted([*range(DAY, DAY + 3 * HOUR, STEP), *LATE])
    store, clock = open_store(folder, DAY + 28 * HOUR)
    for turn in range(3):
        found = store.select([], 0, 2**62)
        assert found.timestamps.tolist() == expected * len(NAMES), f"times, turn {turn}"
        first = np.array(expected) / STEP
        assert found.values[: len(expected)].tolist() == first.tolist(), f"values, turn {turn}"
        store.maintain(clock.now_ms(), 60.0)
        clock.advance("1h")
    assert store.damages() == [], store.damages()
    assert not [path for path in (folder / "blocks").iterdir() if path.name.startswith(".")]
    return 0


def in_child(job, *arguments):
    """Exit status and answer of `job`, run in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(job(*arguments)).encode())
        except BaseException:
            os.write(writer, json.dumps(traceback.format_exc()[-600:]).encode())
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read()
    return os.waitpid(pid, 0)[1], json.loads(said) if said else None


def main(folder):
    status, said = in_child(prepare, folder / "before")
    assert status == 0, said
    shutil.copytree(folder / "before", folder / "whole")
    status, operations = in_child(work, folder / "whole", -1)
    assert status == 0, operations
    problems = []
    for number in range(operations):
        left = folder / "left"
        shutil.copytree(folder / "before", left)
        status, said = in_child(work, left, number)
        if status != signal.SIGKILL:
            problems.append(f"operation {number}: ended with {status}: {said}")
        status, said = in_child(check, left, number)
        if status != 0:
            problems.append(f"killed before operation {number}: {said}")
        shutil.rmtree(left)
    print(json.dumps({"operations": operations, "problems": problems}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
