"""What a metric store does besides serving, in small steps: complete hours become blocks, days of blocks one block, old
ones go, the log is shortened, series that fell silent leave the memory.

All of it is one generator that pauses after every step of some ten milliseconds, so whoever runs it decides the pace.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.distinct import distinct
from observe.model import Labels
from observe.store.archive import Archive
from observe.store.block import Block
from observe.store.block_index import BlockIndex
from observe.store.combine import combine_as
from observe.store.head import Head
from observe.store.part import PART_MS, Part

if TYPE_CHECKING:
    from observe.store.metrics import MetricSettings

DAY_MS = 24 * PART_MS
_PIECE_SAMPLES = 1_000_000
_GRACE_MS = 60_000
_SILENT_MS = 30 * 60_000
_LEAP_MS = 10 * 60_000
_BELIEVE_S = 3600.0
_SERIES_BYTES = 1_500
"""What a silent series costs in memory, roughly: its names, its postings, its open row."""
_MOST_COMPACTED = 1_500_000
"""Series of all blocks of a day together: a day of more churn stays in hours, whose names are read one at a time."""


@dataclass
class Maintenance:
    """The chores of one store. For one thread."""

    head: Head
    archive: Archive
    clock: Clock
    settings: "MetricSettings"
    close_hours: Callable[[Sequence[int]], None]
    """Close these hours in the head, and begin a new segment of the log."""
    shorten_log: Callable[[], Iterator[None]]

    def __post_init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}
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
            for low, high in _slices(counts, _PIECE_SAMPLES):
                samples = snapshot.part(low, high).read()
                writer.add(series, samples)
                series += len(samples)
                numbers.append(np.diff(samples.offsets))
                firsts.append(samples.timestamps[samples.offsets[:-1]])
                lasts.append(samples.timestamps[samples.offsets[1:] - 1])
                yield
            index = BlockIndex.of(labels, np.concatenate(numbers), np.concatenate(firsts), np.concatenate(lasts))
            yield
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
        for day, blocks in sorted(days.items()):
            late = any(day <= hour < day + DAY_MS for hour in pending)
            if sum(block.info.series for block in blocks) > _MOST_COMPACTED:
                continue
            if len(blocks) < 2 or late or now_ms < day + DAY_MS + 3 * PART_MS:
                continue
            yield from self._merge(day, blocks)
            self.archive.rest()

    def _merge(self, day: int, blocks: list[Block]) -> Iterator[None]:
        indexes = [index for block in blocks if (index := self.archive.names_of(block)) is not None]
        if len(indexes) < len(blocks):
            return
        pairs = sorted({pair for index in indexes for pair in index.pairs})
        number = {pair: at for at, pair in enumerate(pairs)}
        keys: list[list[bytes]] = []
        for index in indexes:
            renumbered = np.array([number[pair] for pair in index.pairs], np.uint32)[index.numbers]
            data = renumbered.astype(">u4").tobytes()
            edges = (4 * index.starts).tolist()
            keys.append([data[low:high] for low, high in pairwise(edges)])
            yield
        union = sorted({key for some in keys for key in some})
        place = {key: at for at, key in enumerate(union)}
        targets = [np.fromiter((place[key] for key in some), np.int64, len(some)) for some in keys]
        yield
        counts, first, last = (np.zeros(len(union), np.int64), np.full(len(union), np.iinfo(np.int64).max),
                               np.full(len(union), np.iinfo(np.int64).min))
        for index, target in zip(indexes, targets, strict=True):
            counts[target] += index.counts
            first[target] = np.minimum(first[target], index.first_ms)
            last[target] = np.maximum(last[target], index.last_ms)
        writer = self.archive.writer(f"day-{_stamp(day)}-{max(block.info.segment for block in blocks):08}")
        try:
            nameless = Labels()
            for low, high in _slices(counts, _PIECE_SAMPLES):
                columns, places = [], []
                for block, target in zip(blocks, targets, strict=True):
                    begin, end = np.searchsorted(target, [low, high]).tolist()
                    if begin < end:
                        ids = np.arange(begin, end, dtype=np.uint32)
                        samples = self.archive.read_ids(block, ids)
                        if samples is None:
                            return  # it is set aside now; the day is merged without it next time
                        columns.append(samples)
                        places.append(target[begin:end] - low)
                merged = combine_as((nameless,) * (high - low), columns, places)
                counts[low:high] = np.diff(merged.offsets)
                writer.add(low, merged)
                yield
            starts = np.zeros(len(union) + 1, np.int64)
            np.cumsum([len(key) // 4 for key in union], out=starts[1:])
            numbers = np.frombuffer(b"".join(union), ">u4").astype(np.uint32)
            index = BlockIndex(pairs, starts, numbers, counts.astype(np.uint32), first, last)
            block = writer.finish(index, day, day + DAY_MS, max(block.info.segment for block in blocks),
                                  [block.path.name for block in blocks])
        finally:
            writer.abandon()
        with self.head.lock:
            self.archive.replace([block], blocks)
            self.head.forget_blocks(blocks)
        self.archive.discard(blocks)
        yield


def _slices(counts: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Runs of series with at most that many samples together, one series at least."""
    total = np.cumsum(counts)
    low = 0
    while low < len(counts):
        base = int(total[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(total, base + most, side="right")))
        yield low, high
        low = high


def _stamp(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y%m%dT%H")

