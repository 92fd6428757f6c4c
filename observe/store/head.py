"""The head: the newest samples of every series, in memory, in columns.

One writer (the data thread); readers take a snapshot under the lock, which is held for microseconds, and decode outside
of it. The log (wal.py) makes it durable; blocks (archive.py) take over what is complete.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observe.distinct import distinct
from observe.model import Labels, Samples
from observe.store import head_kernels, merge_kernels
from observe.store.block import Block
from observe.store.combine import without_empty
from observe.store.head_kernels import DUPLICATE, LATE, NEVER, STORED, TOO_OLD, UNKNOWN
from observe.store.label_index import LabelIndex
from observe.store.part import PART_MS, Kind, OpenRows, Part, View

_LATE_ROOM = 16_384
_NO_SERIES = np.uint32(0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the samples of a frame."""

    stored: int = 0
    duplicate: int = 0
    late: int = 0
    too_old: int = 0
    unknown: int = 0


class Head:
    """The series of `index` and their newest samples."""

    def __init__(self, index: LabelIndex, rows: int, late_window_ms: int) -> None:
        self.lock = threading.RLock()
        self.index = index
        self._late_window_ms = late_window_ms
        self.rows = OpenRows.make(256, rows)
        self.ids = np.full(256, _NO_SERIES, np.uint32)
        """[slots] the series of a slot."""
        self.owner = np.zeros(256, np.uint32)
        """[slots] who asked for the series; 0 is nobody."""
        self.owned: list[int] = [0]
        """Series of each owner."""
        self.parts: list[Part] = []
        """Ascending by hour; several may share an hour (samples that came late)."""
        self._late_slots = np.empty(_LATE_ROOM, np.uint32)
        self._late_times = np.empty(_LATE_ROOM, np.int64)
        self._late_values = np.empty(_LATE_ROOM, np.float64)
        self._late = 0
        self.newest_ms = NEVER

    def add(self, labels: Labels, series_id: int | None = None, owner: int = 0) -> int:
        """Make room for a new series; returns its id."""
        with self.lock:
            series_id, slot = self.index.add(labels, series_id)
            if slot >= len(self.ids):
                self.rows.grow(slot + 1)
                room = len(self.rows.base) - len(self.ids)
                self.ids = np.concatenate([self.ids, np.full(room, _NO_SERIES, np.uint32)])
                self.owner = np.concatenate([self.owner, np.zeros(room, np.uint32)])
            self.ids[slot] = series_id
            self.owner[slot] = owner
            self.owned[owner] += 1
            self.rows.count[slot] = 0
            self.rows.last[slot] = NEVER
        return series_id

    def give(self, series_id: int, owner: int) -> None:
        """Let a series belong to another owner."""
        with self.lock:
            slot = self.index.slots_of(np.array([series_id], np.uint32))[0]
            self.owned[self.owner[slot]] -= 1
            self.owned[owner] += 1
            self.owner[slot] = owner

    def take(self, ids: NDArray[np.uint32], times: NDArray[np.int64], values: NDArray[np.float64]) -> Taken:
        """Keep the samples ``values[t, n]`` of series ``ids[n]`` at ``times[t]``."""
        raw = values.view(np.uint64)
        tally = np.zeros(5, np.int64)
        with self.lock:
            slots = self.index.slots_of(ids)
            begin = np.zeros(len(ids), np.int32)
            full = np.empty(len(ids), np.int32)
            late = np.empty(raw.size, np.int64)
            rows = self.rows
            while True:
                stopped, kept = head_kernels.take(
                    slots, times, raw, begin, rows.last, rows.base, rows.count, rows.offsets,
                    rows.values.view(np.uint64), self._late_window_ms, PART_MS, tally, full, late,
                )
                if kept:
                    self._keep_late(slots, times, values, late[:kept])
                    tally[LATE] += kept
                if not stopped:
                    break
                again = full[:stopped]
                self._seal(slots[again])
                slots, begin = slots[again], begin[again]
                raw = np.ascontiguousarray(raw[:, again])
                values = raw.view(np.float64)
            if len(times):
                self.newest_ms = max(self.newest_ms, int(times[-1]))
        return Taken(*(int(tally[kind]) for kind in (STORED, DUPLICATE, LATE, TOO_OLD, UNKNOWN)))

    def note_last(self, ids: NDArray[np.uint32], times: NDArray[np.int64], raw: NDArray[np.uint64]) -> None:
        """Remember how far these series are, without keeping the samples: blocks have them."""
        with self.lock:
            head_kernels.note_last(self.index.slots_of(ids), times, np.ascontiguousarray(raw), self.rows.last)

    def _seal(self, slots: NDArray[np.uint32]) -> None:
        """Move open rows into the parts of their hours."""
        hours = self.rows.base[slots] // PART_MS
        for hour in distinct(hours).tolist():
            chosen = slots[hours == hour]
            self.part(hour * PART_MS).seal(chosen, self.ids[chosen], self.rows)

    def part(self, start_ms: int) -> Part:
        """The part that takes samples of this hour."""
        at = len(self.parts)
        while at and self.parts[at - 1].start_ms > start_ms:
            at -= 1
        if at and self.parts[at - 1].start_ms == start_ms and self.parts[at - 1].closed_at is None:
            return self.parts[at - 1]
        made = Part(start_ms, self.index.slots)
        self.parts.insert(at, made)
        return made

    def _keep_late(
        self, slots: NDArray[np.uint32], times: NDArray[np.int64], values: NDArray[np.float64],
        places: NDArray[np.int64],
    ) -> None:
        width = len(slots)
        for begin in range(0, len(places), _LATE_ROOM):
            some = places[begin : begin + _LATE_ROOM]
            if self._late + len(some) > _LATE_ROOM:
                self.flush_late()
            end = self._late + len(some)
            self._late_slots[self._late : end] = slots[some % width]
            self._late_times[self._late : end] = times[some // width]
            self._late_values[self._late : end] = values.ravel()[some]
            self._late = end

    def flush_late(self) -> None:
        """Seal the samples that came late, hour by hour."""
        with self.lock:
            slots, times = self._late_slots[: self._late], self._late_times[: self._late]
            values = self._late_values[: self._late]
            order = np.lexsort((np.arange(self._late), times, slots))
            slots, times, values = slots[order], times[order], values[order]
            again = np.zeros(len(slots), np.bool_)
            again[1:] = (slots[1:] == slots[:-1]) & (times[1:] == times[:-1])
            slots, times, values = slots[~again], times[~again], values[~again]
            self._late = 0
            if not len(slots):
                return
            hours = times // PART_MS
            breaks = np.flatnonzero((slots[1:] != slots[:-1]) | (hours[1:] != hours[:-1])) + 1
            edges = np.concatenate([[0], breaks, [len(slots)]])
            most = self.rows.rows
            runs = [(at, min(at + most, int(high))) for low, high in pairwise(edges)
                    for at in range(int(low), int(high), most)]
            self._seal_runs(runs, slots, times, values)

    def _seal_runs(
        self, runs: Sequence[tuple[int, int]], slots: NDArray[np.uint32], times: NDArray[np.int64],
        values: NDArray[np.float64],
    ) -> None:
        rows = OpenRows.make(len(runs), self.rows.rows)
        for row, (low, high) in enumerate(runs):
            rows.base[row] = times[low]
            rows.count[row] = high - low
            rows.offsets[row, : high - low] = times[low:high] - times[low]
            rows.values[row, : high - low] = values[low:high]
        owners = slots[[low for low, _ in runs]]
        hours = rows.base // PART_MS
        for hour in distinct(hours).tolist():
            places = np.flatnonzero(hours == hour).astype(np.uint32)
            self.part(hour * PART_MS).seal(owners[places], self.ids[owners[places]], rows, places)

    # ------------------------------------------------------------ what maintenance asks

    def open_hours(self) -> dict[int, int]:
        """Samples of each hour (by its start) that are in no block, and in no part that is to become one."""
        with self.lock:
            found = {part.start_ms: part.samples for part in self.parts if part.closed_at is None}
            used = self.rows.count > 0
            hours, places = np.unique(self.rows.base[used] // PART_MS, return_inverse=True)
            counts = np.bincount(places, self.rows.count[used], len(hours)).astype(np.int64)
            late = distinct(self._late_times[: self._late] // PART_MS)
            open_rows = zip(hours.tolist(), counts.tolist(), strict=True)
            for hour, count in [*open_rows, *((hour, 1) for hour in late.tolist())]:
                found[hour * PART_MS] = found.get(hour * PART_MS, 0) + count
            return found

    def unsaved_hours(self) -> set[int]:
        """Hours with samples that only memory and log have."""
        with self.lock:
            closed = {part.start_ms for part in self.parts if part.block is None}
            return closed | set(self.open_hours())

    def close(self, hours: Sequence[int], segment: int) -> None:
        """Seal everything of these hours: what comes for them later goes into parts of its own."""
        with self.lock:
            self.flush_late()
            wanted = np.array(hours, np.int64) // PART_MS
            chosen = (self.rows.count > 0) & np.isin(self.rows.base // PART_MS, wanted)
            self._seal(np.flatnonzero(chosen).astype(np.uint32))
            for part in self.parts:
                if part.start_ms in hours and part.closed_at is None:
                    part.closed_at = segment

    def forget_blocks(self, blocks: Sequence[Block]) -> None:
        """Let go of the hours in memory that are also in these blocks."""
        with self.lock:
            self.parts = [part for part in self.parts if part.block is None or part.block not in blocks]

    def drop_before(self, moment_ms: int) -> None:
        """Let go of the hours that ended before this."""
        with self.lock:
            self.parts = [part for part in self.parts if part.start_ms + PART_MS > moment_ms]

    def release(self, gone: Part) -> None:
        with self.lock:
            self.parts = [part for part in self.parts if part is not gone]

    def silent_count(self) -> int:
        """Series without an open sample."""
        with self.lock:
            return len(self.index) - int(np.count_nonzero(self.rows.count))

    def drop_silent(self, before_ms: int, known_before: int) -> int:
        """Forget series that were silent since then, are older than id `known_before`, and hold no sample in memory."""
        with self.lock:
            self.flush_late()
            have = len(self.ids)
            silent = (self.rows.count[:have] == 0) & (self.rows.last[:have] < before_ms) & (self.ids < known_before)
            for part in self.parts:
                known = min(have, len(part.newest))
                silent[:known] &= part.newest[:known] < 0
            ids = self.ids[silent]
            if not len(ids):
                return 0
            slots = self.index.drop(ids)
            for owner, count in enumerate(np.bincount(self.owner[slots], minlength=len(self.owned)).tolist()):
                self.owned[owner] -= count
            self.ids[slots] = _NO_SERIES
            self.rows.give_back(self.ids == _NO_SERIES)
            return len(ids)

    def snapshot_part(self, part: Part, slots: NDArray[np.uint32], labels: Sequence[Labels]) -> "Snapshot":
        """What one part holds of these series."""
        with self.lock:
            return Snapshot(labels, part.start_ms, part.start_ms + PART_MS - 1, self.rows.rows, [part.view(slots)],
                            np.zeros(len(slots), np.int64), np.empty(0, np.int64), np.empty(0), None)

    # ------------------------------------------------------------ reading

    def snapshot(self, ids: NDArray[np.uint32], start_ms: int, end_ms: int) -> "Snapshot | None":
        """What the head holds of these series in the range, to be read outside of the lock."""
        if not len(ids) or end_ms < start_ms:
            return None
        rows = self.rows
        with self.lock:
            slots, labels = self.index.placed(ids)
            parts = [part for part in self.parts
                     if part.chunks and part.start_ms <= end_ms and part.start_ms + PART_MS > start_ms]
            views = [part.view(slots) for part in parts]
            counts = np.empty(len(slots), np.int64)
            total = head_kernels.count_open(slots, rows.base, rows.count, rows.offsets, start_ms, end_ms, counts)
            times, values = np.empty(total, np.int64), np.empty(total, np.float64)
            if total:
                head_kernels.read_open(
                    slots, rows.base, rows.count, rows.offsets, rows.values.view(np.uint64), start_ms, end_ms, times,
                    values.view(np.uint64),
                )
            late = self._late_in(slots, start_ms, end_ms) if self._late else None
        return Snapshot(labels, start_ms, end_ms, rows.rows, views, counts, times, values, late)

    def _late_in(
        self, slots: NDArray[np.uint32], start_ms: int, end_ms: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None:
        """Samples not sealed yet that came late: counts by series, times, values."""
        times = self._late_times[: self._late]
        order = np.argsort(slots, kind="stable")
        found = np.searchsorted(slots, self._late_slots[: self._late], sorter=order)
        found = order[np.minimum(found, len(slots) - 1)]
        hit = (slots[found] == self._late_slots[: self._late]) & (times >= start_ms) & (times <= end_ms)
        if not hit.any():
            return None
        series = found[hit]
        by_series = np.argsort(series, kind="stable")
        counts = np.bincount(series, minlength=len(slots)).astype(np.int64)
        return counts, times[hit][by_series], self._late_values[: self._late][hit][by_series]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a head held of some series at one instant. Immutable; `read` may take its time."""

    labels: Sequence[Labels]
    start_ms: int
    end_ms: int
    longest: int
    views: list[View]
    open_counts: NDArray[np.int64]
    open_times: NDArray[np.int64]
    open_values: NDArray[np.float64]
    late: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None

    def part(self, low: int, high: int) -> "Snapshot":
        """Of series `low` to `high` only; for snapshots of parts."""
        views = [replace(view, newest=view.newest[low:high]) for view in self.views]
        return replace(self, labels=self.labels[low:high], views=views, open_counts=self.open_counts[low:high])

    def counts(self) -> NDArray[np.int64]:
        """Samples of each series; those that are there twice count twice."""
        counts = self.open_counts.copy()
        for view in self.views:
            view.count(self.start_ms, self.end_ms, counts)
        if self.late is not None:
            counts += self.late[0]
        return counts

    def size(self) -> int:
        """Samples, those that are there twice twice."""
        return int(self.counts().sum())

    def read(self) -> Samples:
        counts = self.counts()
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        total = int(offsets[-1])
        times, values = np.empty(total, np.int64), np.empty(total, np.float64)
        filled = offsets[:-1].copy()
        until = np.full(len(counts), NEVER)
        disorder = np.zeros(len(counts), np.bool_)
        for view in self.views:
            view.read(self.start_ms, self.end_ms, filled, until, disorder, times, values, self.longest)
        raw = values.view(np.uint64)
        parts = [(self.open_counts, self.open_times, self.open_values)]
        if self.late is not None:
            parts.append(self.late)
        for part_counts, part_times, part_values in parts:
            if len(part_times):
                merge_kernels.place(part_counts, part_times, part_values.view(np.uint64), filled, until, disorder,
                                                                             times, raw)
        if disorder.any():
            offsets = merge_kernels.mend(offsets, disorder, times, raw)
            times, values = times[: offsets[-1]], values[: offsets[-1]]
        return without_empty(self.labels, offsets, times, values)


def owned(column: NDArray[Any], kind: type[Kind]) -> NDArray[Kind]:
    """The column as kernels take it: of this type, in one piece, writable. Anything else would compile them anew."""
    flags = column.flags
    if column.dtype == kind and flags.c_contiguous and flags.writeable and flags.aligned:
        return column
    return np.array(column, kind, order="C")
