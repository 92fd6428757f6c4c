"""Kill the metric store hundreds of times under load and compare: `python -m tests.drill.metrics --kills 300`.

A writer appends scrapes of some targets as fast as it can, on a clock that runs along with them (an hour takes a tenth
of a second), and maintains the store, so that kills fall into the log, into blocks, compaction and retention alike.
After each scrape it says so; then it is killed with -9 at a random instant. A checker opens what is left: every sample
said to be kept must be there once, and nothing that was never sent.
"""

import argparse
import os
import random
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from observe.model import Frame, Labels, Matcher
from observe.store import chunk_kernels, head_kernels, merge_kernels, part_kernels, posting_kernels, wal_kernels
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

START = 1_700_000_000_000
STEP_MS = 15_000
TARGETS = 4
STABLE = 5
CHURN_EVERY = 400
KEEP_MS = 50 * 3_600_000
SETTINGS = MetricSettings(
    retention_ms=KEEP_MS, segment_bytes=100_000, cache_bytes=50_000, cut_idle_ms=60_000, rows=32, late_window_ms=60_000,
)


def names(target: int, scrape: int) -> list[Labels]:
    """Series of a target at a scrape: some that stay, one that is renamed now and then."""
    stable = [Labels({"__name__": f"m{n}", "target": str(target)}) for n in range(STABLE)]
    return [*stable, Labels({"__name__": "pod", "target": str(target), "run": str(scrape // CHURN_EVERY)})]


def value(target: int, number: int, scrape: "np.ndarray | int") -> "np.ndarray | float":
    """What was sent: a few counters, a gauge, a constant."""
    return (scrape * (number + 1) if number < 3 else scrape * 37 % 101 / 8) + target * 1000.0


def write(folder: Path, first: int, say: Callable[[int], None]) -> None:
    """Append scrapes from `first` on, until killed."""
    clock = ManualClock(START + first * STEP_MS)
    store = MetricStore(folder, SETTINGS, clock, Telemetry())
    ids = {}
    scrape = first
    while True:
        clock.advance_ms(STEP_MS)
        for target in range(TARGETS):
            key = target, scrape // CHURN_EVERY
            if key not in ids:
                ids[key] = store.series_ids(names(target, scrape), owner=str(target))
            values = np.array([[value(target, number, scrape) for number in range(STABLE + 1)]])
            told = store.append(Frame(np.array([START + scrape * STEP_MS]), ids[key], values))
            kept = told.stored + told.out_of_order + told.duplicate
            assert kept == STABLE + 1, told
        say(scrape)
        if scrape % 16 == 0:
            store.maintain(clock.now_ms(), 0.002)
        if scrape % 64 == 0:
            store.sync()
        scrape += 1


def check(folder: Path, acknowledged: int) -> str:
    """What is wrong, or an empty string."""
    clock = ManualClock(START + (acknowledged + 1) * STEP_MS)
    store = MetricStore(folder, SETTINGS, clock, Telemetry())
    problems = [f"damage: {line}" for line in store.damages() if "torn off" not in line]
    if store.replay.lost_frames:
        problems.append(f"{store.replay.lost_frames} frames of the log could not be read")
    oldest = max(0, acknowledged - KEEP_MS // STEP_MS + 2 * 240)  # what retention may not have touched
    for target in range(TARGETS):
        found = store.select([Matcher("target", "=", str(target))], 0, 2**62)
        have = {labels: slice(low, high) for labels, low, high in zip(
            found.labels, found.offsets.tolist(), found.offsets[1:].tolist(), strict=False)}
        for number, labels in enumerate(names(target, 0)[:STABLE]):
            where = have.get(labels, slice(0, 0))
            scrapes = (found.timestamps[where] - START) // STEP_MS
            problems += wrong(labels, target, number, scrapes, found.values[where], oldest, acknowledged)
        for run in range(oldest // CHURN_EVERY, acknowledged // CHURN_EVERY + 1):
            labels = names(target, run * CHURN_EVERY)[STABLE]
            where = have.get(labels, slice(0, 0))
            scrapes = (found.timestamps[where] - START) // STEP_MS
            first, last = max(oldest, run * CHURN_EVERY), min(acknowledged, (run + 1) * CHURN_EVERY - 1)
            problems += wrong(labels, target, STABLE, scrapes, found.values[where], first, last)
    store.close()
    return "; ".join(problems[:5])


def wrong(
    labels: Labels, target: int, number: int, scrapes: np.ndarray, values: np.ndarray, first: int, last: int,
) -> list[str]:
    problems = []
    if len(scrapes) > 1 and not (np.diff(scrapes) > 0).all():
        problems.append(f"{labels}: a time twice, or out of order")
    missing = np.setdiff1d(np.arange(first, last + 1), scrapes)
    if len(missing):
        problems.append(
            f"{labels}: {len(missing)} acknowledged samples lost, the first at scrape {missing[0]} of {last}")
    if not np.array_equal(values, value(target, number, scrapes)):
        problems.append(f"{labels}: a value that was never sent")
    return problems


def in_child(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork; the child runs `work` with the writing end of a pipe. Returns its pid and the reading end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            work(writer)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    return pid, reader


def round_of(folder: Path, first: int, chance: random.Random) -> int:
    """Write, kill, and return the last scrape that was acknowledged."""
    pid, reader = in_child(lambda out: write(folder, first, lambda scrape: os.write(out, struct.pack("<I", scrape))))
    acknowledged = first - 1
    until = None
    rest = b""
    while True:
        patience = 30.0 if until is None else until - time.monotonic()
        ready, _, _ = select.select([reader], [], [], max(0.0, patience))
        if not ready:
            break
        data = rest + os.read(reader, 65536)
        if len(data) < 4:
            raise RuntimeError("the writer ended by itself")
        whole = len(data) // 4 * 4
        rest = data[whole:]
        acknowledged = struct.unpack("<I", data[whole - 4 : whole])[0]
        if until is None:  # it is up and writing
            until = time.monotonic() + chance.uniform(0.0, 0.6)
        if time.monotonic() >= until:
            break
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while data := os.read(reader, 65536):  # said before it died
        data = rest + data
        rest = data[len(data) // 4 * 4 :]
        acknowledged = struct.unpack_from("<I", data, len(data) // 4 * 4 - 4)[0]
    os.close(reader)
    return acknowledged


def checked(folder: Path, acknowledged: int) -> str:
    def work(out: int) -> None:
        os.write(out, check(folder, acknowledged).encode()[:60_000])

    pid, reader = in_child(work)
    said = b""
    while data := os.read(reader, 65536):
        said += data
    os.close(reader)
    status = os.waitpid(pid, 0)[1]
    return said.decode() or ("" if status == 0 else f"the checker ended with status {status}")


def drill(folder: Path, kills: int, seed: int) -> int:
    """Returns how many rounds lost something."""
    for module in (chunk_kernels, head_kernels, merge_kernels, part_kernels, posting_kernels, wal_kernels):
        module.compile_all()  # before the forks, so that each starts at once
    chance = random.Random(seed)
    failures, first = 0, 0
    for kill in range(kills):
        acknowledged = round_of(folder, first, chance)
        problem = checked(folder, acknowledged)
        if problem:
            failures += 1
            print(f"kill {kill + 1} at scrape {acknowledged}: {problem}", flush=True)
        first = acknowledged + 1
        if (kill + 1) % 50 == 0 and kill + 1 < kills:
            print(f"{kill + 1} kills, {first} scrapes so far, {failures} rounds lost something", flush=True)
    blocks = [path.name.split("-")[0] for path in (folder / "blocks").iterdir()]
    print(f"{kills} kills over {first} scrapes of {TARGETS} targets ({first * STEP_MS / 3_600_000:.0f} h of samples, "
          f"{blocks.count('hour')} hour and {blocks.count('day')} day blocks at the end): "
          f"{failures} rounds lost something")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the instants; 0: another each time")
    args = parser.parse_args()
    seed = args.seed or random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}")
    folder = Path(tempfile.mkdtemp(prefix="observe-drill-"))
    failures = drill(folder / "metrics", args.kills, seed)
    if failures:
        print(f"what is left is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
