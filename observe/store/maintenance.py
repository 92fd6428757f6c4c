"""What a metric store does besides serving, in small steps: complete hours become blocks, days of blocks one block, old
ones go, the log is shortened, series that fell silent leave the memory.

All of it is one generator that pauses after every step of some ten milliseconds, so whoever runs it decides the pace.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from observe.clock import Clock
from observe.distinct import distinct
from observe.store.archive import Archive
from observe.store.block import Block
from observe.store.block_index import BlockIndex
from observe.store.days import PIECE_SAMPLES, merge_day, slices
from observe.store.head import Head
from observe.store.metric_settings import MetricSettings
from observe.store.part import PART_MS, Part

DAY_MS = 24 * PART_MS
_GRACE_MS = 60_000
_SILENT_MS = 30 * 60_000
_LEAP_MS = 10 * 60_000
_BELIEVE_S = 3600.0
_SERIES_BYTES = 1_500
"""What a silent series costs in memory, roughly: its names, its postings, its open row."""


@dataclass
class Maintenance:
    """The chores of one store. For one thread."""

    head: Head
    archive: Archive
    clock: Clock
    settings: MetricSettings
    close_hours: Callable[[Sequence[int]], None]
    """Close these hours in the head, and begin a new segment of the log."""
    shorten_log: Callable[[], Iterator[None]]

    def __post_init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}
        self._apart: dict[int, int] = {}
        """Days that stay in hours, and how many blocks they had when that was found."""
        self._ids: list[tuple[float, int]] = []
        """(when, the next id then): a series is silent only if it has been known for a while."""
        self._ahead_ms = self.clock.now_ms() - self.clock.monotonic() * 1000
        self._leapt_at = -float("inf")

    def work(self, now_ms: int) -> Iterator[None]:
        """Everything that is due at `now_ms`."""
        if not self.settings.accept_old:
            yield from self._retire(now_ms)  # first: it may make the room that the rest needs
        hours = self._due(now_ms)
        if hours:
            self.close_hours(hours)
        closed = [part for part in self.head.parts if part.closed_at is not None and part.block is None]
        for part in closed:
            yield from self._write(part)
        self.archive.rest()
        if closed:
            yield from self.shorten_log()
        self._evict()
        yield
        yield from self._drop_silent(now_ms)
        yield from self._compact(now_ms)

    # ------------------------------------------------------------ hours

    def _due(self, now_ms: int) -> list[int]:
        """Hours that are over, and got nothing for a while."""
        sizes = self.head.open_hours()
        mono = self.clock.monotonic()
        self._seen = {hour: seen for hour, seen in self._seen.items() if hour in sizes}
        due = []
        for hour, size in sizes.items():
            seen = self._seen.get(hour)
            if seen is None or seen[0] != size:
                self._seen[hour] = seen = (size, mono)
            over = hour + PART_MS + min(self.settings.late_window_ms, PART_MS) + _GRACE_MS <= now_ms
            if over and mono - seen[1] >= self.settings.cut_idle_ms / 1000:
                due.append(hour)
        return sorted(due)

    def _write(self, part: Part) -> Iterator[None]:
        """Make a block of a closed part."""
        head = self.head
        ids = distinct(part.chunk_id[: part.chunks])
        with head.lock:
            slots = head.index.slots_of(ids)
            labels = head.index.labels_at(slots)
        order = sorted(range(len(labels)), key=labels.__getitem__)
        slots, labels = slots[order], [labels[at] for at in order]
        yield
        with head.lock:
            snapshot = head.snapshot_part(part, slots, labels)
        counts = snapshot.counts()
        assert part.closed_at is not None
        name = f"hour-{_stamp(part.start_ms)}-{part.closed_at:08}"
        writer = self.archive.writer(name)
        try:
            numbers, firsts, lasts = [], [], []
            series = 0
            for low, high in slices(counts, PIECE_SAMPLES):
                samples = snapshot.part(low, high).read()
                writer.add(series, samples)
                series += len(samples)
                numbers.append(np.diff(samples.offsets))
                firsts.append(samples.timestamps[samples.offsets[:-1]])
                lasts.append(samples.timestamps[samples.offsets[1:] - 1])
                yield
            index = BlockIndex.of(labels, np.concatenate(numbers), np.concatenate(firsts), np.concatenate(lasts))
            yield
            yield from writer.name(index)
            block = writer.finish(index, part.start_ms, part.start_ms + PART_MS, part.closed_at)
        finally:
            writer.abandon()
        with head.lock:
            part.block = block
            self.archive.replace([block], [])
        yield

    # ------------------------------------------------------------ room

    def _retire(self, now_ms: int) -> Iterator[None]:
        """Delete what is older than the retention, and the oldest blocks where all take too much room."""
        oldest = now_ms - self.settings.retention_ms
        gone = []
        if self._is_steady(now_ms):
            gone = [block for block in self.archive.blocks if block.info.end_ms <= oldest]
            self.head.drop_before(oldest)
        if self.settings.retention_bytes:
            left = [block for block in self.archive.blocks if block not in gone]
            size = sum(block.size_bytes for block in left)
            while left and size > self.settings.retention_bytes:
                size -= left[0].size_bytes
                gone.append(left.pop(0))
        if gone:
            with self.head.lock:
                self.archive.replace([], gone)
                self.head.forget_blocks(gone)
            self.archive.discard(gone)
        yield

    def _is_steady(self, now_ms: int) -> bool:
        """Whether the clock may be believed: one that leapt ahead deletes nothing until it has kept it for an hour."""
        mono = self.clock.monotonic()
        ahead_ms = now_ms - mono * 1000
        if ahead_ms > self._ahead_ms + _LEAP_MS:
            self._leapt_at = mono
        self._ahead_ms = ahead_ms
        return mono - self._leapt_at > _BELIEVE_S

    def _evict(self) -> None:
        """Let go of hours that are in blocks too, the oldest first, while they take more than their room."""
        kept = [part for part in self.head.parts if part.block is not None]
        size = sum(part.nbytes for part in kept) + _SERIES_BYTES * self.head.silent_count()
        while kept and size > self.settings.cache_bytes:
            size -= kept[0].nbytes
            self.head.release(kept.pop(0))

    def _drop_silent(self, now_ms: int) -> Iterator[None]:
        """Forget series of which the memory holds no sample any more.

        One that was named but has no sample yet, such as a band that warms up, gets its time too.
        """
        mono = self.clock.monotonic()
        if not self._ids or mono - self._ids[-1][0] > _GRACE_MS / 1000:
            self._ids.append((mono, self.head.index.next_id))
        while len(self._ids) > 1 and self._ids[1][0] <= mono - _SILENT_MS / 1000:
            self._ids.pop(0)
        since, next_id = self._ids[0]
        if since <= mono - _SILENT_MS / 1000:
            self.head.drop_silent(before_ms=now_ms - _SILENT_MS, known_before=next_id)
        yield

    # ------------------------------------------------------------ days

    def _compact(self, now_ms: int) -> Iterator[None]:
        """Make one block of the blocks of a day that is over."""
        pending = self.head.unsaved_hours()
        days: dict[int, list[Block]] = {}
        for block in self.archive.blocks:
            days.setdefault(block.info.start_ms // DAY_MS * DAY_MS, []).append(block)
        self._apart = {day: count for day, count in self._apart.items() if day in days}
        for day, blocks in sorted(days.items()):
            late = any(day <= hour < day + DAY_MS for hour in pending)
            if len(blocks) == self._apart.get(day):
                continue
            if len(blocks) < 2 or late or now_ms < day + DAY_MS + 3 * PART_MS:
                continue
            yield from self._merge(day, blocks)
            self.archive.rest()

    def _merge(self, day: int, blocks: list[Block]) -> Iterator[None]:
        name = f"day-{_stamp(day)}-{max(block.info.segment for block in blocks):08}"
        block = yield from merge_day(self.archive, name, (day, day + DAY_MS), blocks, self.settings.day_pairs)
        if block is None:
            self._apart[day] = len(blocks)
            return
        with self.head.lock:
            self.archive.replace([block], blocks)
            self.head.forget_blocks(blocks)
        self.archive.discard(blocks)
        yield


def _stamp(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y%m%dT%H")

