"""The spool: synced before it answers, bounded, and tolerant of what crashes and disks do to files."""

import errno
import os
import threading

import numpy as np
import pytest

from observe.errors import LimitExceeded, StorageError
from observe.store import blocks
from observe.store.spool import Spool, SpoolSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.real.process import wait_until

NOW_MS = 1_763_690_000_000


class Box:
    def __init__(self, folder):
        self.folder = folder
        self.clock = ManualClock(NOW_MS)
        self.telemetry = Telemetry()
        self.spool = None

    def open(self, **settings):
        self.close()
        chosen = SpoolSettings(**{"sync_every_s": 0, **settings})
        self.spool = Spool(self.folder / "spool", chosen, self.clock, self.telemetry, "test")
        return self.spool

    def close(self):
        if self.spool is not None:
            self.spool.close()
        self.spool = None

    def counted(self, name, **labels):
        return sum(sample.value for metric in self.telemetry.registry.collect() for sample in metric.samples
                   if sample.name == name and labels.items() <= sample.labels.items())


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path)
    yield made
    made.close()


def put(spool, *texts, key=0, time_ns=NOW_MS * 1_000_000):
    keys = np.full(len(texts), key, np.uint64)
    return spool.append([text.encode() for text in texts], keys, np.full(len(texts), time_ns, np.int64))


def content(spool, from_seq=0):
    return [entry.decode() for chunk in spool.read(from_seq) for entry in chunk.entries]


def data_files(box):
    return sorted((box.folder / "spool").glob("*/data"))


class TestKeeping:
    def test_entries_come_back_in_order_and_after_a_restart(self, box):
        spool = box.open()
        assert put(spool, "a", "b") == 2
        put(spool, "c")
        assert content(spool) == ["a", "b", "c"]
        assert content(box.open()) == ["a", "b", "c"]

    def test_sequence_numbers_rise_and_are_never_given_twice(self, box):
        seqs = []
        for step in (5, 0, -3_600_000):  # the wall clock may step back
            box.clock.advance_ms(step)
            spool = box.open(segment_bytes=1)
            put(spool, "a", "b")
            seqs += [chunk.first_seq for chunk in spool.read(spool.segments[-1].first_seq)]
        assert seqs == sorted(set(seqs))

    def test_reading_from_a_position(self, box):
        spool = box.open(block_bytes=4)
        put(spool, "aaaa", "bbbb", "cccc")
        first = next(spool.read(0)).first_seq
        assert content(spool, first + 1) == ["bbbb", "cccc"]
        assert list(spool.fetch(spool.segments[-1], [first + 2, first, 7]).values()) == [b"aaaa", b"cccc"]

    def test_a_large_entry_has_its_own_block(self, box):
        spool = box.open(block_bytes=100)
        put(spool, "x", "y" * 10_000, "z")
        assert [len(entry) for entry in content(spool)] == [1, 10_000, 1]

    def test_nothing_appended_is_nothing_kept(self, box):
        spool = box.open()
        assert put(spool) == 0
        assert content(spool) == []


class TestGroupSync:
    def test_callers_that_wait_together_share_a_sync(self, box):
        spool = box.open(sync_every_s=1.0)
        put(spool, "first")  # the next ones are paced behind this one
        threads = [threading.Thread(target=put, args=(spool, f"entry {number}")) for number in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(content(spool)) == 31
        assert box.counted("observe_spool_syncs_total") <= 8

    def test_a_full_group_does_not_wait(self, box):
        spool = box.open(sync_every_s=3600, sync_bytes=10)
        put(spool, "x" * 20)
        put(spool, "y" * 20)  # would hang for an hour
        assert box.counted("observe_spool_syncs_total") == 2

    def test_the_answer_comes_after_the_sync(self, box, monkeypatch):
        spool = box.open()
        events = []
        real_sync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda file: (events.append("sync"), real_sync(file)))
        put(spool, "a")
        events.append("answer")
        assert events == ["sync", "answer"]


class TestCrash:
    @pytest.mark.parametrize("cut", [1, 10, 55, 70])
    def test_a_torn_end_is_cut_off_and_what_was_acknowledged_stays(self, box, cut):
        spool = box.open()
        put(spool, "kept")
        size = spool.segments[-1].size
        put(spool, "torn " * 20)
        box.close()
        path = data_files(box)[-1]
        os.truncate(path, size + cut)
        spool = box.open()
        assert content(spool) == ["kept"]
        put(spool, "after")
        assert content(box.open()) == ["kept", "after"]
        assert box.counted("observe_dropped_total", reason="torn tail") == 1

    def test_damage_in_the_middle_is_set_aside_with_its_name_and_the_rest_is_read(self, box):
        spool = box.open()
        put(spool, "one")
        start = spool.segments[-1].size
        put(spool, "two")
        put(spool, "three")
        box.close()
        path = data_files(box)[-1]
        with path.open("r+b") as file:
            file.seek(start + 60)
            file.write(b"\xff\xff\xff")
        spool = box.open()
        put(spool, "four")
        assert content(spool) == ["one", "three", "four"]
        assert box.counted("observe_dropped_total", reason="damaged block") == 1
        assert [aside.name for aside in (box.folder / "spool/damaged").iterdir()] == [f"{path.parent.name}-{start}.bin"]
        assert content(box.open()) == ["one", "three", "four"]
        assert box.counted("observe_dropped_total", reason="damaged block") == 1  # said once

    def test_a_damaged_length_does_not_hide_what_follows(self, box):
        spool = box.open()
        put(spool, "one")
        put(spool, "two")
        box.close()
        with data_files(box)[-1].open("r+b") as file:
            file.seek(4)
            file.write(b"\xff\xff\xff\x7f")
        assert content(box.open()) == ["two"]

    def test_decay_of_a_sealed_segment_is_counted_when_read(self, box):
        spool = box.open(segment_bytes=1)
        put(spool, "one")
        put(spool, "two")
        with data_files(box)[0].open("r+b") as file:
            file.seek(70)
            file.write(b"\xff")
        assert content(spool) == ["two"]
        assert box.counted("observe_dropped_total", reason="damaged block") == 1

    @pytest.mark.parametrize("lost", ["toc", "keys", "toc keys", "toc cut"])
    def test_a_sealed_segment_without_its_side_files_is_read_again(self, box, lost):
        spool = box.open(segment_bytes=1)
        put(spool, "one", key=77)
        put(spool, "two", key=78)
        box.close()
        folder = data_files(box)[0].parent
        for name in lost.split():
            if name == "cut":
                (folder / "toc").write_bytes(b"12")
            elif name != "toc" or "cut" not in lost:
                (folder / name).unlink()
        spool = box.open(segment_bytes=1)
        assert content(spool) == ["one", "two"]
        if "toc" in lost:
            assert put(spool, "one", key=77) == 0

    def test_rubbish_of_an_interrupted_removal_is_swept(self, box):
        (box.folder / "spool/.dropped-0001").mkdir(parents=True)
        box.open()
        assert not (box.folder / "spool/.dropped-0001").exists()


class TestFullDisk:
    def test_a_refused_write_is_an_error_and_keeps_nothing(self, box, monkeypatch):
        spool = box.open()
        put(spool, "before")
        real_write = os.write

        def half_then_full(file, data):
            if len(data) < 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real_write(file, data[: len(data) // 2])

        monkeypatch.setattr(os, "write", half_then_full)
        with pytest.raises(StorageError, match="No space left on device; nothing of this batch was kept"):
            put(spool, "x" * 50, key=9)
        monkeypatch.undo()
        assert put(spool, "x" * 50, key=9) == 1  # not taken for a repeat
        assert content(spool) == ["before", "x" * 50]
        assert content(box.open()) == ["before", "x" * 50]

    def test_after_a_failed_sync_a_new_file_is_used(self, box, monkeypatch):
        spool = box.open()
        put(spool, "before")
        real_sync = os.fsync
        failing = [True]

        def sync(file):
            if failing:
                failing.clear()
                raise OSError(errno.EIO, "Input/output error")
            real_sync(file)

        monkeypatch.setattr(os, "fsync", sync)
        with pytest.raises(StorageError, match="Input/output error"):
            put(spool, "lost")
        put(spool, "after")
        assert content(spool) == ["before", "after"]
        assert len(data_files(box)) == 2
        assert content(box.open()) == ["before", "after"]

    def test_a_segment_that_cannot_be_sealed_is_written_on(self, box, monkeypatch):
        """The next is begun only where this one could be ended: else blocks would be looked for in the wrong one."""
        spool = box.open()
        put(spool, "one")
        (spool.segments[-1].folder / ".keys.tmp").mkdir()  # where `keys` would be written
        real_sync, failures = os.fsync, iter([OSError(errno.EIO, "Input/output error")])

        def sync(file):
            for failure in failures:
                raise failure
            real_sync(file)

        monkeypatch.setattr(os, "fsync", sync)
        with pytest.raises(StorageError, match="Input/output error"):
            put(spool, "refused")
        put(spool, "two")

        assert content(spool) == ["one", "two"]
        assert len(data_files(box)) == 1
        assert content(box.open()) == ["one", "two"]

    def test_a_waiting_repeat_fails_with_what_it_repeats(self, box, monkeypatch):
        """A repeat of an entry on its way must not be acknowledged when that entry then fails."""
        spool = box.open()
        writing, go_on = threading.Event(), threading.Event()

        def slow_failure(file, data):
            writing.set()
            assert go_on.wait(120)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", slow_failure)
        errors = []

        def deliver():
            try:
                put(spool, "same", key=5)
            except StorageError as error:
                errors.append(error)

        first = threading.Thread(target=deliver)
        first.start()
        assert writing.wait(120)
        second = threading.Thread(target=deliver)
        second.start()
        wait_until(lambda: len(spool._written._waiters) == 1, "the repeat waits", every_s=0.005)
        go_on.set()
        first.join()
        second.join()
        assert len(errors) == 2
        assert content(spool) == []

    def test_a_folder_that_cannot_be_made_is_named(self, box):
        (box.folder / "spool").write_text("a file")
        with pytest.raises(StorageError, match="cannot open the test spool"):
            box.open()


class TestBounds:
    def test_a_queue_that_is_full_refuses(self, box):
        spool = box.open(when_full="refuse", max_bytes=1000)
        random = os.urandom(300).hex()
        put(spool, random)
        with pytest.raises(LimitExceeded, match="is full") as caught:
            put(spool, random)
        assert caught.value.limit == "max_bytes"
        assert content(spool) == [random]

    def test_what_waits_for_the_disk_is_bounded(self, box, monkeypatch):
        spool = box.open(pending_bytes=100)
        writing, go_on = threading.Event(), threading.Event()
        real_write = os.write

        def slow(file, data):
            writing.set()
            assert go_on.wait(120)
            return real_write(file, data)

        monkeypatch.setattr(os, "write", slow)
        first = threading.Thread(target=put, args=(spool, "x" * 80))
        first.start()
        assert writing.wait(120)
        with pytest.raises(LimitExceeded, match="waiting for the disk"):
            put(spool, "y" * 80)
        go_on.set()
        first.join()
        assert content(spool) == ["x" * 80]

    def test_a_closed_spool_refuses(self, box):
        spool = box.open()
        box.close()
        with pytest.raises(StorageError, match="is closed"):
            put(spool, "late")

    def test_a_repeat_read_at_another_time_is_known_just_after_a_new_segment(self, box):
        """A line without a time of its own gets that of its reading."""
        spool = box.open(segment_bytes=1)
        put(spool, "plain text", key=7, time_ns=1000)
        assert put(spool, "plain text", key=7, time_ns=2000) == 0
        put(spool, "other", key=8, time_ns=2000)
        assert put(spool, "plain text", key=7, time_ns=3000) == 0

    def test_all_that_is_too_old_leaves_at_once(self, box):
        """After a week of standing still every segment may be."""
        spool = box.open(segment_bytes=1, max_age_ms=86_400_000)
        for text in ("one", "two", "three", "four"):
            put(spool, text)
            box.clock.advance("1h")
        box.clock.advance("7d")
        put(spool, "five")

        assert content(spool) == ["four", "five"]  # the last segment ended only now
        assert box.counted("observe_spool_expired_entries_total", reason="older than its retention") == 3

    def test_a_new_segment_a_day(self, box):
        spool = box.open()
        put(spool, "one")
        box.clock.advance("1d")
        put(spool, "two")
        assert len(data_files(box)) == 2
        assert content(spool) == ["one", "two"]


def test_blocks_survive_every_single_flipped_byte():
    """No flipped byte goes unnoticed: a block is read as written, or not at all."""
    keys, times = np.array([3, 4], np.uint64), np.array([10, 20], np.int64)
    block = blocks.encode([b"hello", b"world" * 10], keys, times, 99)
    for place in range(len(block)):
        harmed = block[:place] + bytes([block[place] ^ 0x40]) + block[place + 1 :]
        assert [type(found) for found in blocks.scan(harmed)] == [blocks.Damage], place
    assert [head.first_seq for head in blocks.scan(block)] == [99]
