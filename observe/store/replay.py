"""Reading the log again when a store opens: the head as it was when the last process ended."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from observe.model import Labels, MetricMetadata
from observe.store.exemplars import ExemplarStore
from observe.store.head import Head
from observe.store.owners import Owners
from observe.store.part import PART_MS
from observe.store.wal import Wal
from observe.store.wal_kernels import read_samples
from observe.store.wal_records import (
    parse_checkpoint,
    parse_exemplars,
    parse_frame,
    parse_metadata,
    parse_series,
    parse_vector,
)
from observe.store.wal_segment import Damage, Kind, Record


class Replay:
    """One pass over the segments of a log."""

    def __init__(
        self, wal: Wal, head: Head, owners: Owners, exemplars: ExemplarStore, metadata: dict[str, MetricMetadata],
        persisted: Mapping[int, int],
    ) -> None:
        self._wal = wal
        self._head = head
        self._owners = owners
        self._exemplars = exemplars
        self._metadata = metadata
        self._persisted = persisted
        """Start of an hour -> the last segment whose samples of it are in blocks."""
        self.hours: dict[int, set[int]] = {}
        """Segment -> hours that it has samples of."""
        self._before = np.zeros(1024, np.uint64)
        self._vectors: dict[int, NDArray[np.uint32]] = {}
        self._renamed: dict[int, int] = {}
        self.checkpoints: list[int] = []
        """Segments from which on the log names every series that lived then."""
        self.samples = 0
        self.nameless = 0
        """Samples of series that the log does not name."""
        self.lost_frames = 0
        """Frames that could not be read because what they are relative to is damaged."""
        self.damages: list[Damage] = []

    def run(self) -> None:
        for segment in self._wal.segments():
            self._before[:] = 0
            self._vectors.clear()
            for record in self._wal.records(segment, self.damages):
                self._apply(record)

    def _apply(self, record: Record) -> None:
        if record.kind == Kind.FRAME:
            self._frame(record.segment, record.payload)
        elif record.kind == Kind.VECTOR:
            number, ids = parse_vector(record.payload)
            self._vectors[number] = ids
        elif record.kind == Kind.CHECKPOINT:
            self.checkpoints.append(parse_checkpoint(record.payload))
        elif record.kind == Kind.SERIES:
            for owner, series in parse_series(record.payload).items():
                number = self._owners.number(owner)
                for series_id, labels in series:
                    self._name(series_id, labels, number)
        elif record.kind == Kind.EXEMPLARS:
            self._exemplars.add(parse_exemplars(record.payload))
        elif record.kind == Kind.METADATA:
            self._metadata.update(parse_metadata(record.payload))

    def _name(self, series_id: int, labels: Labels, owner: int) -> None:
        known = self._head.index.get(labels)
        if known is None:
            self._head.add(labels, series_id, owner)
        elif known != series_id:  # it had left the memory, and came back under another id
            self._renamed[series_id] = known
            self._head.give(known, owner)

    def _frame(self, segment: int, payload: memoryview) -> None:
        vector, rows, _, total, times, data, begin = parse_frame(payload)
        ids = self._vectors.get(vector)
        if ids is None:
            self.lost_frames += 1
            return
        known = ids[ids != np.uint32(0xFFFF_FFFF)]
        highest = int(known.max(initial=0))
        if highest >= len(self._before):
            larger = np.zeros(max(highest + 1, 2 * len(self._before)), np.uint64)
            larger[: len(self._before)] = self._before
            self._before = larger
        raw = np.empty((rows, len(ids)), np.uint64)
        end, found = read_samples(ids, rows, self._before, data, begin, raw)
        if end < 0 or found != total:
            self.lost_frames += 1
            return
        if self._renamed:
            ids = np.array([self._renamed.get(one, one) for one in ids.tolist()], np.uint32)
        times = times.astype(np.int64)
        if self._persisted:
            starts = (times // PART_MS * PART_MS).tolist()
            saved = np.array([self._persisted.get(start, 0) >= segment for start in starts], np.bool_)
            if saved.any():
                self._head.note_last(ids, times[saved], raw[saved])
                times, raw = times[~saved], raw[~saved]
        if len(times):
            self.hours.setdefault(segment, set()).update((times // PART_MS * PART_MS).tolist())
            taken = self._head.take(ids, times, raw.view(np.float64))
            self.samples += taken.stored + taken.late
            self.nameless += taken.unknown
