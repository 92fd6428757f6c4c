"""The segments of a spool on the disk: opened after whatever happened, written, sealed, and dropped when they are old.

The last one is active: only it is written, by one thread at a time, and its keys are in memory. The list of segments is
never changed but replaced, so readers take it as it is.
"""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe import durable
from observe.clock import Clock
from observe.distinct import distinct
from observe.errors import StorageError
from observe.store import blocks
from observe.store.seen import Seen, contains
from observe.store.segment import Segment, set_aside
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry

logger = logging.getLogger(__name__)

_SEQ_CLOCK_BITS: Final = 20
_ROWS_LIMIT: Final = 65_536  # blocks of one segment: bounds its table of contents when blocks are tiny


class SpoolSegments:
    """The folder of the spool `name`. Raises OSError where it cannot be opened."""

    def __init__(self, folder: Path, settings: SpoolSettings, clock: Clock, telemetry: Telemetry, name: str) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._name = name
        self._lock = threading.Lock()
        """Holds the list of segments and the active one's keys together."""
        self._seen = Seen()
        self._bytes = telemetry.gauge(
            "observe_spool_disk_bytes", "Bytes on disk of a spool, with the index beside it.", ("spool",)).labels(name)
        folder.mkdir(parents=True, exist_ok=True)
        self._open()
        self.measure()

    @property
    def all(self) -> list[Segment]:
        """Oldest first; the last one is being written."""
        return self._segments

    @property
    def active(self) -> Segment:
        return self._segments[-1]

    # ------------------------------------------------------------ opening

    def _open(self) -> None:
        for rubbish in self._folder.glob(".dropped-*"):
            shutil.rmtree(rubbish, ignore_errors=True)
        found = sorted(place for place in self._folder.iterdir() if place.name.isdigit() and (place / "data").exists())
        segments = [Segment(place, int(place.name)) for place in found]
        for segment in segments:
            if not segment.load_toc():
                self._recover(segment, last=segment is segments[-1])
        if segments and not segments[-1].sealed:
            self._file = os.open(segments[-1].path, os.O_WRONLY | os.O_APPEND)
        else:
            following, self._file = self._new_segment(segments[-1].end_seq if segments else 0)
            segments.append(following)
        self._segments = segments
        self._next_seq = max(segment.end_seq for segment in segments)

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
                aside = set_aside(segment, damage, self._folder / "damaged")
                logger.error("%s: bytes %d to %d of %s are damaged; they are set aside in %s and the rest is used",
                             self._name, damage.offset, damage.end, segment.path, aside)
                self._telemetry.dropped(f"spool {self._name}", "damaged block")
        if last and not any(not damage.torn for damage in damages):
            self._seen.add(keys)
        else:
            segment.seal(distinct(keys[keys != 0]))

    def _new_segment(self, floor: int) -> tuple[Segment, int]:
        """An empty segment whose numbers begin at `floor` or later, and its file, open for writing."""
        first_seq = self._sequence(floor)
        folder = self._folder / f"{first_seq:020d}"
        folder.mkdir()
        segment = Segment(folder, first_seq)
        file = os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        durable.sync_folder(folder)
        durable.sync_folder(self._folder)
        return segment, file

    def _sequence(self, floor: int) -> int:
        return max(floor, self._clock.now_ms() << _SEQ_CLOCK_BITS)

    # ------------------------------------------------------------ what is kept

    def holds(self, keys: NDArray[np.uint64], oldest_ns: int, newest_ns: int) -> NDArray[np.bool_]:
        """Which entries are kept already, by their keys and the span of their times."""
        with self._lock:
            repeat = self._seen.contains(keys)
            newest_sealed = self._segments[-2] if len(self._segments) > 1 else None
            for segment in self._segments:
                # A repeat carries the time of what it repeats: segments of other times cannot hold it. Lines without a
                # time are given that of their reading: they are looked for in the newest sealed segment, whatever its.
                in_time = segment.oldest_ns <= newest_ns and segment.newest_ns >= oldest_ns
                if segment.sealed and (in_time or segment is newest_sealed):
                    repeat |= contains(segment.keys(), keys)
        return repeat

    def note(self, heads: Sequence[blocks.BlockHead], keys: NDArray[np.uint64]) -> None:
        """What `write` wrote is acknowledged from now on."""
        with self._lock:
            for head in heads:
                self.active.note(head)
            self._seen.add(keys)

    # ------------------------------------------------------------ writing (one thread at a time)

    def write(
        self, entries: Sequence[bytes], keys: NDArray[np.uint64], times_ns: NDArray[np.int64],
    ) -> list[blocks.BlockHead]:
        """Write and sync, in a new segment where it is time for one. Where it raises: `take_back`."""
        self._roll_when_due()
        offset = self.active.size
        seq = self._sequence(self._next_seq)
        heads = []
        parts = []
        for start, end in _cuts(entries, self._settings.block_bytes):
            block = blocks.encode(entries[start:end], keys[start:end], times_ns[start:end], seq)
            head = blocks.head_at(block, 0, base=offset)
            assert head is not None
            heads.append(head)
            parts.append(block)
            offset, seq = head.end, seq + head.count
        data = memoryview(b"".join(parts))
        while data:
            data = data[os.write(self._file, data):]
        os.fsync(self._file)
        self._next_seq = seq
        return heads

    def take_back(self, error: OSError | StorageError) -> StorageError:
        """Cut off what was half written. After a failed sync the kernel may have dropped pages: start a new file."""
        active = self.active
        self._telemetry.dropped(f"spool {self._name}", "disk refused")
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        try:
            os.truncate(active.path, active.size)
            if not (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}):
                self._roll()
        except (OSError, StorageError) as worse:
            logger.error("%s: cannot take back a failed write to %s: %s", self._name, active.path, worse)  # noqa: TRY400
        return StorageError(
            f"cannot write to the {self._name} spool in {self._folder}: {cause}; nothing of this batch was kept: "
            "free space or mend the disk, and send it again")

    def _roll_when_due(self) -> None:
        active = self.active
        age = self._clock.now_ms() - (active.first_seq >> _SEQ_CLOCK_BITS)
        if active.size and (
            active.size >= self._settings.segment_bytes
            or age >= self._settings.segment_age_ms
            or len(active.heads) >= _ROWS_LIMIT
        ):
            self._roll()

    def _roll(self) -> None:
        """Seal the active segment and begin the next."""
        active = self.active
        if not active.size:
            return
        following, file = self._new_segment(max(active.end_seq, active.first_seq + 1))
        try:
            active.seal(self._seen.ordered())
        except OSError:
            os.close(file)
            following.drop()  # the active one is written on: what goes to its file must be looked for there
            raise
        with self._lock:
            self._segments = [*self._segments, following]
            self._seen = Seen()
        os.close(self._file)
        self._file = file
        self.enforce()

    def close(self) -> None:
        os.close(self._file)

    # ------------------------------------------------------------ bounds

    def measure(self) -> int:
        """Bytes on disk now, indexes beside the data included."""
        self._sealed_bytes = sum(segment.disk_bytes() for segment in self._segments[:-1])
        self._bytes.set(self.disk_bytes)
        return self.disk_bytes

    @property
    def disk_bytes(self) -> int:
        """As last measured, the active segment's data as of now."""
        return self._sealed_bytes + self.active.size

    def enforce(self) -> int:
        """Drop whole segments, the oldest first, that are too old or over the limit of size; returns how many."""
        if self._settings.when_full == "refuse":
            self.measure()
            return 0
        now_ms = self._clock.now_ms()
        segments = self._segments  # those of now: `discard` makes a new list
        sizes = [segment.disk_bytes() for segment in segments]
        total, dropped = sum(sizes), 0
        for index, segment in enumerate(segments[:-1]):
            ended_ms = segments[index + 1].first_seq >> _SEQ_CLOCK_BITS
            too_old = 0 < self._settings.max_age_ms < now_ms - ended_ms
            if not too_old and total <= self._settings.max_bytes:
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


def _cuts(entries: Sequence[bytes], block_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of entries that together have about `block_bytes`; an entry is never split."""
    start, size = 0, 0
    for place, entry in enumerate(entries):
        if size and size + len(entry) > block_bytes:
            yield start, place
            start, size = place, 0
        size += len(entry)
    yield start, len(entries)
