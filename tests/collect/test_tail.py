"""Following files through everything that happens to them: no line lost, none twice by uid."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from observe.clock import SystemClock
from observe.collect.tail import FileTail
from observe.collect.tail_settings import TailSettings
from observe.errors import StorageError
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.collect.sinks import KeptSignals
from tests.real.process import wait_until


class Follower:
    """A tail over a folder, driven by hand; `crash` and `restart` begin it anew."""

    def __init__(self, tmp_path, pattern="app.log", **settings):
        self.logs = tmp_path / "logs"
        self.logs.mkdir(exist_ok=True)
        self.state = tmp_path / "state"
        self.settings = TailSettings((str(self.logs / pattern),), **settings)
        self.sink = KeptSignals()
        self.telemetry = Telemetry()
        self.clock = ManualClock()
        self.begin()

    def begin(self):
        self.tail = FileTail(self.settings, self.sink, self.state, self.clock, self.telemetry)

    def restart(self):
        self.tail.close()
        self.begin()

    def crash(self):
        """Without a word to the positions on disk."""
        for file in self.tail.files.all():
            os.close(file.handle)
        self.begin()

    def poll(self):
        while self.tail.poll():
            pass

    def path(self, name="app.log"):
        return self.logs / name

    def write(self, text, name="app.log"):
        with self.path(name).open("a") as file:
            file.write(text)

    def messages(self):
        """One for each uid, in the order of their coming."""
        return list({record.uid: record.message for record in self.sink.logs}.values())

    def read(self):
        self.poll()
        return self.messages()

    def dropped(self, reason):
        return self.telemetry.registry.get_sample_value(
            "observe_dropped_total", {"stage": "tail", "reason": reason}) or 0


@pytest.fixture
def follower(tmp_path):
    made = Follower(tmp_path)
    yield made
    made.tail.close()


def test_lines_are_read_as_they_are_completed(follower):
    follower.write('{"msg":"one"}\n{"msg":"tw')
    assert ["one"] == follower.read()
    follower.write('o"}\n')
    assert ["one", "two"] == follower.read()
    follower.write("\n\n")
    assert ["one", "two"] == follower.read()
    assert "app" == follower.sink.logs[0].service


def test_malformed_json_is_kept_as_text_and_counted(follower):
    follower.write('{"msg":\nplain\r\n{"msg":"good"}\n')

    assert ['{"msg":', "plain", "good"] == follower.read()
    assert 2 == follower.dropped("not JSON, kept as text")


def test_a_restart_goes_on_where_it_was(follower):
    follower.write("one\n")
    follower.poll()
    follower.restart()
    follower.write("two\n")

    assert ["one", "two"] == follower.read()
    assert 2 == len(follower.sink.logs), "nothing is even sent twice"


def test_a_crash_repeats_lines_under_the_same_uids(follower):
    follower.write("one\n")
    follower.poll()
    follower.write("two\nthree\n")
    follower.poll()
    follower.crash()
    follower.write("four\n")

    assert ["one", "two", "three", "four"] == follower.read()


@pytest.mark.parametrize("again", ["poll", "restart", "crash"])
@pytest.mark.parametrize("pattern", ["app.log", "app.log*", "*"])
def test_rotation_by_rename_loses_nothing(tmp_path, pattern, again):
    follower = Follower(tmp_path, pattern)
    follower.write("one\n")
    follower.poll()
    follower.write("two\n")
    follower.path().rename(follower.path("app.log.1"))
    follower.write("three\n")
    follower.write("late\n", "app.log.1")
    getattr(follower, again)()
    follower.poll()
    follower.write("four\n")

    assert ["four", "late", "one", "three", "two"] == sorted(follower.read())
    follower.tail.close()


@pytest.mark.parametrize("again", ["poll", "restart", "crash"])
@pytest.mark.parametrize("pattern", ["app.log", "app.log*", "*"])
def test_rotation_by_copy_and_truncation_loses_nothing(tmp_path, pattern, again):
    follower = Follower(tmp_path, pattern)
    follower.write("one\n")
    follower.poll()
    follower.write("two\n")
    shutil.copy(follower.path(), follower.path("app.log.1"))
    getattr(follower, again)()
    os.truncate(follower.path(), 0)
    follower.write("three and more than was there before\n")
    follower.poll()
    getattr(follower, again)()
    follower.write("four\n")

    assert ["four", "one", "three and more than was there before", "two"] == sorted(follower.read())
    assert 0 == follower.dropped("truncated, no copy found")
    follower.tail.close()


def test_truncation_without_a_copy_is_counted_and_what_comes_after_is_read(follower):
    follower.write("one\n")
    follower.poll()
    os.truncate(follower.path(), 0)
    follower.poll()
    follower.write("one\n")

    assert ["one", "one"] == follower.read(), "the same bytes again are another line"
    assert 1 == follower.dropped("truncated, no copy found")


def test_several_rotations_between_two_looks_lose_nothing(follower):
    follower.write("one\n")
    follower.poll()
    for number in (2, 1, 0):
        for older in range(4, 0, -1):
            if follower.path(f"app.log.{older}").exists():
                follower.path(f"app.log.{older}").rename(follower.path(f"app.log.{older + 1}"))
        follower.path().rename(follower.path("app.log.1"))
        follower.write(f"after {number}\n")

    assert ["after 0", "after 1", "after 2", "one"] == sorted(follower.read())


def test_old_rotated_files_are_not_read_at_the_first_start(follower):
    follower.write("old\n", "app.log.1")
    os.utime(follower.path("app.log.1"), (1_000, 1_000))
    follower.write("new\n")
    follower.poll()
    follower.path().rename(follower.path("app.log.2"))
    follower.write("newer\n")

    assert ["new", "newer"] == follower.read()


def test_a_file_moved_between_file_systems_is_not_read_again(tmp_path):
    follower = Follower(tmp_path, "app.log*")
    follower.write("one\ntwo\n")
    follower.poll()
    shutil.copy(follower.path(), follower.path("app.log.1"))
    follower.path().unlink()
    follower.clock.advance("10m")
    follower.poll()
    follower.clock.advance("10m")

    assert ["one", "two"] == follower.read()
    follower.tail.close()


def test_two_files_that_begin_alike_are_both_read(tmp_path):
    follower = Follower(tmp_path, "*.log")
    for name in ("a.log", "b.log"):
        follower.write("starting\n", name)
    follower.poll()

    assert ["starting", "starting"] == follower.messages()
    assert {"a", "b"} == {record.service for record in follower.sink.logs}
    follower.tail.close()


def test_a_line_beyond_the_bound_is_cut_and_counted(tmp_path):
    follower = Follower(tmp_path, max_line_bytes=1000, read_bytes=400)
    for length in (999, 1000, 10_000_000):
        follower.write("x" * length + "\n")
    follower.write("end\n")
    messages = follower.read()

    assert [999, 1000 + len("… (cut)"), 1000 + len("… (cut)"), 3] == [len(message) for message in messages]
    assert 2 == follower.dropped("line cut")
    follower.tail.close()


def test_a_crash_inside_a_line_that_is_being_skipped_changes_nothing(tmp_path):
    follower = Follower(tmp_path, max_line_bytes=1000, save_ms=0)
    follower.write("first\n" + "x" * 5000)
    follower.poll()
    follower.crash()
    follower.write("x" * 5000 + "\nend\n")

    assert ["first", "x" * 1000 + "… (cut)", "end"] == follower.read()
    follower.tail.close()


def test_what_the_sink_refuses_comes_again(follower):
    follower.write("one\n")
    follower.sink.refuse = StorageError("the disk is full")
    for _ in range(3):
        with pytest.raises(StorageError):
            follower.tail.poll()
    follower.sink.refuse = None
    follower.write("two\n")

    assert ["one", "two"] == follower.read()


def test_a_file_that_cannot_be_read_is_told_once_and_stops_no_other(follower, caplog):
    """The kernel answers every read of this one with an input/output error."""
    follower.settings = replace(follower.settings, paths=("/proc/self/mem", *follower.settings.paths))
    follower.begin()
    follower.write("one\n")

    assert ["one"] == follower.read()
    follower.write("two\n")
    assert ["one", "two"] == follower.read()
    assert follower.dropped("unreadable file") >= 2
    assert ["/proc/self/mem cannot be read: Input/output error; give this user the right to read it, or mend its disk"
            ] == caplog.messages
    before = opened(follower)
    follower.poll()
    assert before == opened(follower) == [str(follower.path())], "nothing stays open"


def opened(follower):
    """What this process has open of the follower's folder and of /proc, by name."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them is gone again
            found.append(str(handle.readlink()))
    return sorted(name for name in found if name.startswith((str(follower.logs), "/proc/")) and "/fd" not in name)


def test_positions_that_cannot_be_kept_are_an_error_and_leave_nothing_open(follower):
    follower.write("one\n")
    follower.poll()
    shutil.rmtree(follower.state)
    follower.write("two\n")
    follower.clock.advance("2s")

    with pytest.raises(StorageError, match="cannot keep how far files have been read"):
        follower.poll()
    with pytest.raises(StorageError):
        follower.tail.close()
    assert [] == follower.tail.files.all()
    follower.begin()
    assert ["one", "two"] == follower.read()


def test_a_bug_behind_the_sink_is_told_and_does_not_end_the_tail(tmp_path, caplog):
    sink = KeptSignals()
    sink.refuse = ZeroDivisionError("a bug")
    (tmp_path / "app.log").write_text("one\n")
    telemetry = Telemetry()
    settings = TailSettings((str(tmp_path / "app.log"),), poll_ms=1)
    tail = FileTail(settings, sink, tmp_path / "state", SystemClock(), telemetry)
    tail.start()
    wait_until(lambda: telemetry.registry.get_sample_value("observe_tail_retries_total") >= 3, "it tries again")
    sink.refuse = None
    wait_until(lambda: sink.logs, "the line is there")
    tail.stop()

    assert ["one"] == [record.message for record in sink.logs]
    (said,) = caplog.messages
    assert f"following {tmp_path}/app.log: ZeroDivisionError: a bug; it is tried again" == said


def test_the_last_line_of_a_file_that_is_gone_needs_no_end(follower):
    follower.write("one\ntwo without end")
    follower.poll()
    follower.path().unlink()
    follower.poll()
    follower.clock.advance("10m")

    assert ["one", "two without end"] == follower.read()
    assert [] == follower.tail.files.all()


def test_from_the_end_means_only_what_is_written_after_the_first_start(tmp_path):
    follower = Follower(tmp_path, from_end=True)
    follower.write("old\nhalf ")
    follower.poll()
    follower.write("new\n")
    follower.poll()
    follower.restart()
    follower.write("newer\n")

    assert ["half new", "newer"] == follower.read()
    follower.tail.close()


def test_a_damaged_position_file_is_named_and_the_uids_stay(follower):
    follower.write("one\n")
    follower.poll()
    follower.tail.close()
    (saved,) = follower.state.glob("*.json")
    saved.write_text("{torn")
    follower.begin()

    assert ["one"] == follower.read()
    assert str(saved) in follower.tail.files.complaints[0]
    assert 1 == follower.dropped("position file unreadable")


def test_compressed_files_and_folders_are_left_alone(tmp_path):
    follower = Follower(tmp_path, "*")
    follower.write("packed\n", "app.log.gz")
    (follower.logs / "folder").mkdir()
    follower.write("plain\n")

    assert ["plain"] == follower.read()
    follower.tail.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_storm_of_rotations_truncations_and_crashes_loses_nothing(tmp_path, seed):
    rng = random.Random(seed)
    follower = Follower(tmp_path, rng.choice(["app.log", "app.log*", "*"]), save_ms=rng.choice([0, 1000]),
                        read_bytes=rng.choice([64, 4096]), max_line_bytes=64)
    written = []
    generation = 0

    def write():
        for _ in range(rng.randrange(1, 20)):
            written.append(f"line {len(written)} {'y' * rng.randrange(1, 30)}")
            follower.write(written[-1] + "\n")

    def rename():
        nonlocal generation
        if follower.path().exists():
            generation += 1
            follower.path().rename(follower.path(f"app.log.{generation}"))
            write()

    def copy_and_truncate():
        nonlocal generation
        if follower.path().exists():
            generation += 1
            follower.poll()
            write()
            shutil.copy(follower.path(), follower.path(f"app.log.{generation}"))
            if rng.random() < 0.5:
                rng.choice([follower.poll, follower.restart, follower.crash])()
            os.truncate(follower.path(), 0)
            if rng.random() < 0.5:
                write()
            follower.poll()

    def truncate():
        if follower.path().exists():
            follower.poll()
            os.truncate(follower.path(), 0)
            follower.poll()

    def refuse():
        write()
        follower.sink.refuse = StorageError("full")
        with pytest.raises(StorageError):
            follower.poll()
        follower.sink.refuse = None

    write()
    follower.poll()
    acts = [write, write, write, rename, copy_and_truncate, truncate, follower.poll, follower.poll, follower.restart,
            follower.crash, refuse, lambda: follower.clock.advance("3m")]
    for _ in range(60):
        rng.choice(acts)()
    follower.poll()

    got = follower.messages()
    assert ([], []) == (sorted(set(written) - set(got)), sorted(line for line in set(got) if got.count(line) > 1))
    follower.tail.close()


WRITER = """
import os, sys, time
path, count = sys.argv[1], int(sys.argv[2])
file = open(path, "a", buffering=1)
for n in range(count):
    file.write(f'{{"msg": "line {n}", "pad": "' + "z" * (n % 300) + '"}\\n')
    if n % 400 == 399:
        for older in range(40, 0, -1):
            if os.path.exists(f"{path}.{older}"):
                os.replace(f"{path}.{older}", f"{path}.{older + 1}")
        os.replace(path, path + ".1")
        file.close()
        file = open(path, "a", buffering=1)
        time.sleep(0.02)
"""


def test_a_writer_that_rotates_all_the_time_and_a_tail_that_is_killed_meet_in_every_line(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    sink = KeptSignals()
    count = 6000
    settings = TailSettings((str(logs / "app.log"),), poll_ms=5, save_ms=20, read_bytes=8192)
    (logs / "app.log").write_text("first\n")
    begun = FileTail(settings, sink, tmp_path / "state", SystemClock(), Telemetry())
    begun.poll()
    begun.stop()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(logs / "app.log"), str(count)]) as writer:
        deadline = time.monotonic() + 300
        done, threads = False, threading.active_count()
        while not done:
            tail = FileTail(settings, sink, tmp_path / "state", SystemClock(), Telemetry())
            tail.start()
            until = time.monotonic() + 0.15
            while time.monotonic() < until:
                time.sleep(0.01)
            done = writer.poll() is not None and len({record.uid for record in sink.logs}) > count
            assert time.monotonic() < deadline, len({record.uid for record in sink.logs})
            tail.files._kept.save = lambda _: None  # from here on it is dead to the disk
            tail.stop()
    by_uid = {record.uid: record.message for record in sink.logs}

    assert sorted(["first", *(f"line {n}" for n in range(count))]) == sorted(by_uid.values())
    wait_until(lambda: threading.active_count() <= threads, "tails that were stopped are gone")
    assert Path(logs / "app.log.1").exists()


def test_a_line_of_ten_megabytes_does_not_stop_the_file(tmp_path):
    follower = Follower(tmp_path)
    follower.write(json.dumps({"msg": "x" * 10_000_000}) + "\n" + json.dumps({"msg": "after"}) + "\n")

    assert "after" == follower.read()[-1]
    assert 1 == follower.dropped("line cut")
    follower.tail.close()
