"""A durable queue of small entries: what it took is on the disk, synced, before `append` returns.

Calls from any thread are gathered: one of the waiting callers writes for all and syncs once, at most once per
`sync_every_s` or `sync_bytes`. The log store keeps its lines here and builds its index from here; a sink that is down
is fed from here later. Entries are named by sequence numbers, which rise with arrival (milliseconds of the clock in the
high 43 bits) and are never given twice.
"""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from observe import durable
from observe.clock import Clock
from observe.distinct import distinct
from observe.errors import LimitExceeded, StorageError
from observe.store import blocks
from observe.store.seen import Seen, contains
from observe.store.segment import Segment, set_aside
from observe.store.spool_reader import Chunk, SpoolReader
from observe.telemetry import Telemetry

logger = logging.getLogger(__name__)

SEQ_CLOCK_BITS: Final = 20
_ROWS_LIMIT: Final = 65_536  # blocks of one segment: bounds its table of contents when blocks are tiny


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Bounds of one spool."""

    max_bytes: int = 4 << 30
    """On disk, index included."""
    max_age_ms: int = 7 * 86_400_000
    """Since arrival; 0: for ever."""
    when_full: Literal["drop oldest", "refuse"] = "drop oldest"
    segment_bytes: int = 64 << 20
    segment_age_ms: int = 86_400_000
    sync_every_s: float = 0.02
    sync_bytes: int = 1 << 20
    block_bytes: int = 64 << 10
    """Before compression: what is unpacked to read one entry."""
    pending_bytes: int = 64 << 20
    """Taken but not yet written, over all waiting callers."""


@dataclass(slots=True)
class _Group:
    """Entries that share one sync."""

    entries: list[bytes] = field(default_factory=list)
    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    times: list[NDArray[np.int64]] = field(default_factory=list)
    size: int = 0
    done: bool = False
    error: Exception | None = None


class Spool:
    """Segments in a folder. `append` and the readers may be called from any thread."""

    def __init__(self, folder: Path, settings: SpoolSettings, clock: Clock, telemetry: Telemetry, name: str) -> None:
        self.folder = folder
        self.settings = settings
        self._clock = clock
        self._name = name
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._fuller = threading.Condition(self._lock)
        self._group = _Group()
        self._in_flight: _Group | None = None
        self._leading = False
        self._closed = False
        self._last_sync = -1e9
        self._pending_keys: set[int] = set()
        self._seen = Seen()
        self._reader = SpoolReader(name, telemetry)
        labels = ("spool",)
        self._syncs = telemetry.counter(
            "observe_spool_syncs_total", "Group syncs of a spool to the disk.", labels).labels(name)
        self._appended = telemetry.counter(
            "observe_spool_entries_total", "Entries taken by a spool.", labels).labels(name)
        self._repeats = telemetry.counter(
            "observe_spool_repeats_total", "Entries delivered again and not stored twice.", labels).labels(name)
        self._bytes = telemetry.gauge(
            "observe_spool_disk_bytes", "Bytes on disk of a spool, with the index beside it.", labels).labels(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._segments = self._open_segments()
        except OSError as error:
            raise StorageError(
                f"cannot open the {name} spool in {folder}: {error.strerror or error}; "
                "check the rights and the free space of that folder") from error
        self.measure()

    # ------------------------------------------------------------ opening

    def _open_segments(self) -> list[Segment]:
        for rubbish in self.folder.glob(".dropped-*"):
            shutil.rmtree(rubbish, ignore_errors=True)
        found = sorted(place for place in self.folder.iterdir() if place.name.isdigit() and (place / "data").exists())
        segments = [Segment(place, int(place.name)) for place in found]
        for segment in segments:
            if segment.load_toc():
                continue
            self._recover(segment, last=segment is segments[-1])
        if segments and not segments[-1].sealed:
            active = segments[-1]
            self._file = os.open(active.path, os.O_WRONLY | os.O_APPEND)
        else:
            floor = segments[-1].end_seq if segments else 0
            segments.append(self._new_segment(floor))
        self._next_seq = max(segment.end_seq for segment in segments)
        return segments

    def _recover(self, segment: Segment, *, last: bool) -> None:
        """Read a segment that was not sealed (the process died), cut a torn end off, set damage aside."""
        heads, damages, keys = segment.scan()
        for head in heads:
            segment.note(head)
        for damage in damages:
            if damage.torn and last:
                logger.warning("%s: %d bytes at the end of %s were never acknowledged (the process died while writing "
                               "them) and are cut off", self._name, damage.end - damage.offset, segment.path)
                self._telemetry.dropped(f"spool {self._name}", "torn tail")
                os.truncate(segment.path, damage.offset)
            else:
                aside = set_aside(segment, damage, self.folder / "damaged")
                logger.error("%s: bytes %d to %d of %s are damaged; they are set aside in %s and the rest is used",
                             self._name, damage.offset, damage.end, segment.path, aside)
                self._telemetry.dropped(f"spool {self._name}", "damaged block")
        if last and not any(not damage.torn for damage in damages):
            self._seen.add(keys)
        else:
            segment.seal(distinct(keys[keys != 0]))

    def _new_segment(self, floor: int) -> Segment:
        first_seq = self._sequence(floor)
        folder = self.folder / f"{first_seq:020d}"
        folder.mkdir()
        segment = Segment(folder, first_seq)
        self._file = os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        durable.sync_folder(folder)
        durable.sync_folder(self.folder)
        return segment

    def _sequence(self, floor: int) -> int:
        return max(floor, self._clock.now_ms() << SEQ_CLOCK_BITS)

    # ------------------------------------------------------------ appending

    def append(
        self, entries: Sequence[bytes], keys: NDArray[np.uint64], times_ns: NDArray[np.int64],
    ) -> int:
        """Keep `entries`; synced when this returns. Entries whose key is already kept are left out (key 0: never).

        Returns how many were new. Raises `LimitExceeded` when full, `StorageError` when the disk refuses; then none of
        the call's new entries is kept.
        """
        if not len(entries):
            return 0
        size = sum(map(len, entries))
        with self._lock:
            if self._closed:
                raise StorageError(f"the {self._name} spool is closed")
            self._refuse_when_full(size)
            fresh = self._fresh(keys, times_ns)
            group = self._group
            kept = int(fresh.sum())
            if kept < len(entries):
                entries = [entry for entry, wanted in zip(entries, fresh.tolist(), strict=True) if wanted]
                keys, times_ns = keys[fresh], times_ns[fresh]
            if kept:
                group.entries.extend(entries)
                group.keys.append(keys)
                group.times.append(times_ns)
                group.size += size
                self._pending_keys.update(key for key in keys.tolist() if key)
                if group.size >= self.settings.sync_bytes:
                    self._fuller.notify()
            awaited = [group] if group.entries else []
            if kept < len(fresh) and self._in_flight is not None:
                awaited.append(self._in_flight)  # what is repeated may be on its way, and may yet fail
            while not all(one.done for one in awaited):
                if self._leading:
                    self._written.wait()
                else:
                    self._lead()
            for one in awaited:
                if one.error is not None:
                    raise one.error
        self._appended.inc(kept)
        self._repeats.inc(len(fresh) - kept)
        return kept

    def _refuse_when_full(self, size: int) -> None:
        waiting = self._group.size + (self._in_flight.size if self._in_flight is not None else 0)
        if waiting and waiting + size > self.settings.pending_bytes:
            self._telemetry.dropped(f"spool {self._name}", "too much waiting")
            raise LimitExceeded(
                f"the {self._name} spool has {waiting} bytes waiting for the disk; send it again later, or slower",
                "pending_bytes")
        if self.settings.when_full == "refuse" and self.disk_bytes + self._group.size + size > self.settings.max_bytes:
            self._telemetry.dropped(f"spool {self._name}", "full")
            raise LimitExceeded(
                f"the {self._name} spool in {self.folder} is full ({self.settings.max_bytes} bytes) because nothing "
                "takes from it; bring its sink back, or raise the limit", "max_bytes")

    def _fresh(self, keys: NDArray[np.uint64], times_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which entries are not yet kept, nor earlier in the same call."""
        named = keys != 0
        if not named.any():
            return np.ones(len(keys), np.bool_)
        repeat = self._seen.contains(keys)
        oldest, newest = int(times_ns[named].min()), int(times_ns[named].max())
        newest_sealed = self._segments[-2] if len(self._segments) > 1 else None
        for segment in self._segments:
            # A repeat carries the time of what it repeats: segments of other times cannot hold it. Lines without a time
            # are given that of their reading, so they are looked for in the newest sealed segment whatever their time.
            in_time = segment.oldest_ns <= newest and segment.newest_ns >= oldest
            if segment.sealed and (in_time or segment is newest_sealed):
                repeat |= contains(segment.keys(), keys)
        if self._pending_keys:
            waiting = (key in self._pending_keys for key in keys.tolist())
            repeat |= np.fromiter(waiting, np.bool_, len(keys))
        first = np.zeros(len(keys), np.bool_)
        first[np.unique(keys, return_index=True)[1]] = True
        fresh: NDArray[np.bool_] = ~named | (~repeat & first)
        return fresh

    def _lead(self) -> None:
        """Write for everyone who waits. Called, and returns, with the lock held."""
        self._leading = True
        # Paced on real time whatever the clock: this is about the disk, not about what is stored.
        pause = self._last_sync + self.settings.sync_every_s - self._clock.monotonic()
        if pause > 0 and self._group.size < self.settings.sync_bytes:
            self._fuller.wait(min(pause, self.settings.sync_every_s))
        group, self._group = self._group, _Group()
        self._in_flight = group
        self._lock.release()
        heads: list[blocks.BlockHead] = []
        try:
            heads = self._write(group)
        except (OSError, StorageError) as error:
            group.error = self._write_failed(error)
        except Exception as error:
            group.error = error  # a bug: every waiting caller sees it, none waits for ever
        finally:
            self._lock.acquire()
            keys = np.concatenate(group.keys) if group.keys else np.empty(0, np.uint64)
            if group.error is None:
                for head in heads:
                    self._segments[-1].note(head)
                self._seen.add(keys)
            self._pending_keys.difference_update(keys.tolist())
            self._in_flight = None
            self._last_sync = self._clock.monotonic()
            self._leading = False
            group.done = True
            self._written.notify_all()

    def _write(self, group: _Group) -> list[blocks.BlockHead]:
        """Write and sync; only one thread leads, so this needs no lock."""
        if not group.entries:
            return []
        self._roll_when_due()
        keys, times = np.concatenate(group.keys), np.concatenate(group.times)
        offset = self._segments[-1].size
        seq = self._sequence(self._next_seq)
        heads = []
        parts = []
        for start, end in _cuts(group.entries, self.settings.block_bytes):
            block = blocks.encode(group.entries[start:end], keys[start:end], times[start:end], seq)
            head = blocks.head_at(block, 0, base=offset)
            assert head is not None
            heads.append(head)
            parts.append(block)
            offset, seq = head.end, seq + head.count
        data = memoryview(b"".join(parts))
        while data:
            data = data[os.write(self._file, data):]
        os.fsync(self._file)
        self._syncs.inc()
        self._next_seq = seq
        return heads

    def _write_failed(self, error: OSError | StorageError) -> StorageError:
        """Take back what was half written. After a failed sync the kernel may have dropped pages: start a new file."""
        active = self._segments[-1]
        self._telemetry.dropped(f"spool {self._name}", "disk refused")
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        try:
            os.truncate(active.path, active.size)
            if not (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}):
                self._roll()
        except (OSError, StorageError) as worse:
            logger.error("%s: cannot take back a failed write to %s: %s", self._name, active.path, worse)  # noqa: TRY400
        return StorageError(
            f"cannot write to the {self._name} spool in {self.folder}: {cause}; nothing of this batch was kept: "
            "free space or mend the disk, and send it again")

    def _roll_when_due(self) -> None:
        active = self._segments[-1]
        age = self._clock.now_ms() - (active.first_seq >> SEQ_CLOCK_BITS)
        if active.size and (
            active.size >= self.settings.segment_bytes
            or age >= self.settings.segment_age_ms
            or len(active.heads) >= _ROWS_LIMIT
        ):
            self._roll()

    def _roll(self) -> None:
        """Seal the active segment and begin the next."""
        active = self._segments[-1]
        if not active.size:
            return
        old_file = self._file
        following = self._new_segment(max(active.end_seq, active.first_seq + 1))
        os.close(old_file)
        active.seal(self._seen.ordered())
        with self._lock:
            self._segments = [*self._segments, following]
            self._seen = Seen()
        self.enforce()

    # ------------------------------------------------------------ reading

    @property
    def segments(self) -> list[Segment]:
        """Oldest first; the last one is being written."""
        return self._segments

    @property
    def end_seq(self) -> int:
        """One more than the last sequence number that is on the disk."""
        return self._segments[-1].end_seq

    def read(self, from_seq: int, segment: Segment | None = None) -> Iterator[Chunk]:
        """Entries from a sequence number on, in order, as far as they are on the disk now; damaged blocks left out."""
        return self._reader.read([segment] if segment is not None else list(self._segments), from_seq)

    def fetch(self, segment: Segment, seqs: Sequence[int]) -> dict[int, bytes]:
        """Single entries of one segment by sequence number; those that cannot be read are left out."""
        return self._reader.fetch(segment, seqs)

    # ------------------------------------------------------------ bounds

    def measure(self) -> int:
        """Bytes on disk now, indexes beside the data included."""
        self._sealed_bytes = sum(segment.disk_bytes() for segment in self._segments[:-1])
        self._bytes.set(self.disk_bytes)
        return self.disk_bytes

    @property
    def disk_bytes(self) -> int:
        """As last measured, the active segment's data as of now."""
        return self._sealed_bytes + self._segments[-1].size

    def enforce(self) -> int:
        """Drop whole segments, the oldest first, that are too old or over the limit of size; returns how many."""
        if self.settings.when_full == "refuse":
            self.measure()
            return 0
        now_ms = self._clock.now_ms()
        sizes = [segment.disk_bytes() for segment in self._segments]
        total, dropped = sum(sizes), 0
        for index, segment in enumerate(self._segments[:-1]):
            ended_ms = self._segments[index + 1].first_seq >> SEQ_CLOCK_BITS
            too_old = 0 < self.settings.max_age_ms < now_ms - ended_ms
            if not too_old and total <= self.settings.max_bytes:
                break
            self.discard(segment, "older than its retention" if too_old else "over the disk cap")
            total -= sizes[index]
            dropped += 1
        self.measure()
        return dropped

    def discard(self, segment: Segment, reason: str) -> None:
        """Remove a sealed segment with all that is in it."""
        with self._lock:
            if segment not in self._segments[:-1]:
                return
            self._segments = [kept for kept in self._segments if kept is not segment]
        if reason:
            logger.info("%s: %d entries until %d ns leave the disk: %s", self._name, segment.entries, segment.newest_ns,
                        reason)
            self._telemetry.counter(
                "observe_spool_expired_entries_total", "Entries removed by retention.", ("spool", "reason"),
            ).labels(self._name, reason).inc(segment.entries)
        segment.drop()

    def close(self) -> None:
        """Stop taking entries. What was acknowledged is on the disk already."""
        with self._lock:
            self._closed = True
            while self._leading:
                self._written.wait()
            os.close(self._file)


def _cuts(entries: Sequence[bytes], block_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of entries that together have about `block_bytes`; an entry is never split."""
    start, size = 0, 0
    for place, entry in enumerate(entries):
        if size and size + len(entry) > block_bytes:
            yield start, place
            start, size = place, 0
        size += len(entry)
    yield start, len(entries)
