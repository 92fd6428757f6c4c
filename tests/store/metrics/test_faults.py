"""Faults at the worst moment: in the middle of upkeep, at the change of a segment, under a query that reads."""

import contextlib
import gc
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from observe.errors import StorageError
from observe.store import chunk_kernels, head_kernels, merge_kernels, part_kernels, posting_kernels, wal_kernels
from observe.store.metric_settings import MetricSettings
from observe.store.wal_segment import Kind
from observe.testing import ManualClock
from tests.real.process import open_folder
from tests.store.metrics.conftest import NOW, Bench
from tests.store.metrics.test_blocks import HOUR, TOP, everything, scrape, settle
from tests.store.metrics.test_wal import records

ROOT = Path(__file__).parents[3]
KERNELS = (chunk_kernels, head_kernels, merge_kernels, part_kernels, posting_kernels, wal_kernels)


def test_a_kill_before_any_file_operation_of_a_days_merge_loses_and_doubles_nothing(tmp_path):
    """With samples pending that came out of order, and an hour cut and the log shortened in the same upkeep."""
    done = subprocess.run([sys.executable, "-m", "tests.store.metrics.crash_points", tmp_path], cwd=ROOT,
                          capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert told["operations"] >= 30


@pytest.mark.parametrize("free", [0, 1], ids=["not one file more", "the segment, but not its folder"])
def test_a_segment_that_cannot_be_begun_for_want_of_open_files_is_begun_when_there_are_some(make, free):
    bench = make(segment_bytes=200)
    gc.collect()  # what tests before this one left closes its files now, and not while they are counted
    bench.put("a", [(0, 1.0)])
    while bench.store._wal._size < 200:
        bench.put("a", [(bench.store._wal._size, 2.0)])
    expected = bench.read()
    have = open_files()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (have + 20, hard))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(free):
            os.close(held.pop())
        for _ in range(3):
            with pytest.raises(StorageError, match="ulimit -n"):
                bench.put("a", [(10_000, 3.0)])
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_files() == have  # nothing was left open by the attempts

    bench.put("a", [(10_000, 3.0)])

    expected["a"].append((10_000, 3.0))
    assert bench.read() == expected
    bench.reopen()
    assert bench.read() == expected


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_segment_that_someone_left_there_is_in_nobodys_way(bench):
    bench.put("a", [(0, 1.0)])
    bench.store._wal.path(2).write_bytes(b"OBS")  # as of a process that died while it began it
    bench.store._wal.rotate()
    bench.put("a", [(1000, 2.0)])

    bench.reopen()

    assert bench.read() == {"a": [(0, 1.0), (1000, 2.0)]}


def test_a_clock_that_jumps_back_two_hours_while_hours_are_cut(make):
    """Known series are refused until the clock is where it was, new ones kept; no hour is cut twice or lost."""
    bench = make(cache_bytes=0, rows=16)
    scrape(bench, TOP, TOP + 3 * HOUR)
    bench.clock.advance("20m")
    for _ in range(2):  # seen, and seen again after it was idle for long enough
        bench.store.maintain(bench.clock.now_ms(), 60.0)
        bench.clock.advance("6m")
    scrape(bench, TOP + 4 * HOUR, TOP + 5 * HOUR)
    bench.clock.advance("20m")
    bench.store.maintain(bench.clock.now_ms(), 60.0)
    bench.clock.advance("6m")
    before = everything(bench)
    steps = 0
    while bench.store.maintain(bench.clock.now_ms(), 0.0):
        steps += 1
        if steps == 3:
            bench.clock.advance_ms(-2 * HOUR)
    assert steps > 3
    at = bench.clock.now_ms() - NOW
    known, new = bench.put("a", [(at, 5.0)], job="a"), bench.put("new", [(at, 6.0)], job="a")
    settle(bench, "7m")

    assert (known[0].too_old, new[0].stored) == (1, 1)
    expected = {**before, 'new{job="a"}': [(at, 6.0)]}
    assert everything(bench) == expected
    bench.clock.advance("3h")
    bench.put("a", [(bench.clock.now_ms() - NOW, 7.0)], job="a")
    settle(bench, "2h")
    expected['a{job="a"}'] = [*before['a{job="a"}'], (everything(bench)['a{job="a"}'][-1][0], 7.0)]
    for _ in range(2):
        assert everything(bench) == expected
        bench.reopen()


@pytest.mark.parametrize("later", [False, True], ids=["in the segment alone", "with good segments after it"])
def test_names_torn_in_the_middle_cost_their_series_and_are_told(make, later):
    bench = make()
    bench.put("whole", [(0, 1.0), (1000, 2.0)])
    bench.put("torn", [(0, 3.0), (1000, 4.0)], path="/some/longer/value")
    if later:
        bench.store._wal.rotate()
        bench.put("whole", [(2000, 5.0)])
        bench.put("torn", [(2000, 6.0)], path="/some/longer/value")
        bench.put("after", [(2000, 7.0)])
    expected = {name: rows for name, rows in bench.read().items() if "torn" not in name}
    path = bench.store._wal.path(1)
    low, high, _ = [span for span in records(path) if span[2] is Kind.SERIES][1]
    data = bytearray(path.read_bytes())
    data[(low + high) // 2 :] = data[(low + high) // 2 + 5 :]  # five bytes of a label set are missing
    path.write_bytes(data)

    for turn in range(3):
        bench.reopen()

        assert bench.read() == expected
        if turn == 0:
            lost = 3 if later else 2
            assert f"{lost} samples of the log are of series whose names are damaged" in bench.store.damages()
            assert path.with_suffix(".damaged").read_bytes() == bytes(data)
        bench.put(f"new{turn}", [(3000, 8.0)])  # its id never stands for samples of before
        expected[f"new{turn}"] = [(3000, 8.0)]


def test_blocks_that_go_for_want_of_room_while_they_are_read(make):
    bench = make(cache_bytes=0, rows=16)
    for hour in range(12):
        scrape(bench, TOP + hour * HOUR, TOP + (hour + 1) * HOUR, names=[f"m{n}" for n in range(50)])
    settle(bench, "2h")
    whole = everything(bench)
    assert len(bench.store._archive.blocks) == 12
    problems, reads, done = [], [], threading.Event()

    def read():
        try:
            while not done.is_set():
                found = everything(bench)
                reads.append(sum(map(len, found.values())))
                problems.extend(name for name, rows in found.items() if rows != whole[name][-len(rows) :])
                problems.extend({labels.name for labels in bench.store.series([], 0, 2**62)} - set(bench.names))
        except Exception as error:
            problems.append(repr(error))

    bench.names = {f"m{n}" for n in range(50)}
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()

    def read_anew():
        """Until one has read that began only now: of four reads that end, three may have been on their way."""
        seen = len(reads)
        while len(reads) < seen + 4 and not problems:
            done.wait(0.005)

    read_anew()
    sizes = [block.size_bytes for block in bench.store._archive.blocks]
    for gone in range(1, 12):
        object.__setattr__(bench.store._settings, "retention_bytes", sum(sizes[gone:]))
        bench.store.maintain(bench.clock.now_ms(), 60.0)
        read_anew()
    done.set()
    for thread in threads:
        thread.join()

    assert problems == []
    assert bench.store.damages() == []
    assert len(bench.store._archive.blocks) == 1
    assert {len(rows) for rows in everything(bench).values()} == {60}
    assert (max(reads), min(reads)) == (12 * 60 * 50, 60 * 50)


CHILD = """
import os, sys
from pathlib import Path
from tests.store.metrics.test_faults import KERNELS, filled, without_rights
folder = Path(sys.argv[1])
filled(folder / "beforehand")  # what Python itself needs must be loaded: its own folders may be closed to others
for module in KERNELS:
    module.compile_all()
if os.getuid() == 0:
    os.chown(folder, 65534, 65534)
    os.setgid(65534)
    os.setuid(65534)
without_rights(folder)
"""


def test_rights_that_are_taken_away_and_given_back_cost_no_block_and_no_sample():
    """As a user whom permissions stop."""
    with open_folder() as parent:
        folder = parent / "of nobody"
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, folder], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def filled(folder):
    bench = Bench(folder, ManualClock(NOW), MetricSettings(cache_bytes=0, rows=16, segment_bytes=2_000))
    scrape(bench, TOP, TOP + 2 * HOUR)
    settle(bench, "1h")
    bench.put("a", [(TOP + 5 * HOUR, 1.0)], job="a")
    everything(bench)
    return bench


def refused(words, what):
    with pytest.raises(StorageError, match=words):
        what()


def without_rights(folder):
    bench = filled(folder / "own")
    before = everything(bench)
    blocks, log = bench.folder / "blocks", bench.folder / "wal"
    block = bench.store._archive.blocks[0].path

    log.chmod(0o500)
    at = TOP + 5 * HOUR
    with contextlib.suppress(StorageError):
        while True:  # the segment that is open takes what it may
            at += 1000
            bench.put("a", [(at, 2.0)], job="a")
            before['a{job="a"}'].append((at, 2.0))
    refused("give this user the right to write there", lambda: bench.put("a", [(at, 2.0)], job="a"))
    assert everything(bench) == before

    block.chmod(0)
    refused("give this user the right to read", lambda: everything(bench))
    refused("give this user the right to read", bench.reopen)
    block.chmod(0o700)
    blocks.chmod(0o500)
    (block / "samples-000.parquet").chmod(0)
    refused("give this user the right to read", lambda: everything(bench))
    bench.clock.advance("3h")
    bench.store.maintain(bench.clock.now_ms(), 60.0)
    bench.clock.advance("6m")
    refused("cannot", lambda: bench.store.maintain(bench.clock.now_ms(), 60.0))
    (block / "samples-000.parquet").chmod(0o600)
    assert everything(bench) == before
    assert bench.store.damages() == []

    log.chmod(0o700)
    blocks.chmod(0o700)
    at = bench.clock.now_ms() - NOW
    bench.put("a", [(at, 3.0)], job="a")
    before['a{job="a"}'].append((at, 3.0))
    settle(bench, "1h")
    assert everything(bench) == before
    bench.reopen()
    assert everything(bench) == before
    assert bench.store.damages() == []
    assert block.exists()
