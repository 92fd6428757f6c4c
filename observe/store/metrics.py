"""The embedded metric store: a head in memory, a log that survives kill -9, blocks for what is complete.

Threads: `series_ids`, `append`, `append_exemplars` and `append_metadata` belong to the data thread. `sync` and
`maintain` may run on any one other thread at a time (they hold the writer up for milliseconds at most). Everything that
reads is safe from any thread.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.errors import StorageError
from observe.model import ABSENT_NAN_BITS, Exemplar, Frame, Labels, Matcher, MetricMetadata, Samples
from observe.protocols import NO_SERIES, Appended
from observe.store.exemplars import ExemplarStore
from observe.store.head import Head, owned
from observe.store.label_index import LabelIndex
from observe.store.replay import Replay
from observe.store.wal import Kind, Wal, compress
from observe.store.wal_kernels import count_samples
from observe.telemetry import Telemetry

_HOUR_MS = 3_600_000
_SERIES_A_RECORD = 5_000


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """What may be set about the metric store; `store.metrics` in observe.yml."""

    retention_ms: int = 15 * 24 * _HOUR_MS
    """Samples older than this are deleted, and refused at the door."""
    retention_bytes: int = 10_000_000_000
    """When blocks and log take more than this, the oldest blocks are deleted. 0: no bound."""
    late_window_ms: int = 10 * 60_000
    """How far behind the newest sample of its series a sample may come."""
    future_ms: int = 10 * 60_000
    """How far ahead of the clock a sample may be."""
    accept_old: bool = False
    """Any age, any order, no retention: for imports and compliance tests."""
    series_limit: int = 2_000_000
    """Series in memory; new ones beyond it are refused."""
    owner_limit: int = 200_000
    """Series that one target or rule may have in memory; new ones beyond it are refused."""
    rows: int = 64
    """Samples a series collects before they are packed."""
    segment_bytes: int = 32_000_000
    """Size of a segment of the log."""
    exemplar_limit: int = 20_000
    metadata_limit: int = 50_000


class MetricStore:
    """`SampleSink` and `SampleSource` over one folder. The caller holds the folder's lock."""

    def __init__(self, folder: Path, settings: MetricSettings, clock: Clock, telemetry: Telemetry) -> None:
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._folder = folder
        self._write_lock = threading.RLock()
        self._index = LabelIndex()
        window = 2**62 if settings.accept_old else settings.late_window_ms
        self._head = Head(self._index, settings.rows, window)
        self._exemplars = ExemplarStore(settings.exemplar_limit)
        self._metadata: dict[str, MetricMetadata] = {}
        self._owners: dict[str, int] = {}
        self._owner_of = np.zeros(0, np.uint32)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._wal = Wal(folder / "wal", settings.segment_bytes)
            self.replay = Replay(self._wal, self._head, self._exemplars, self._metadata)
            self.replay.run()
        except OSError as error:
            raise StorageError(
                f"cannot open the metric store {folder}: {error.strerror}; give this user the right to write there",
            ) from error
        self._appended = telemetry.counter(
            "observe_store_samples_total", "Samples offered to the metric store, by what became of them.", ("outcome",),
        )
        self._outcomes = {name: self._appended.labels(name) for name in Appended.__dataclass_fields__}

    # ------------------------------------------------------------ writing

    def series_ids(self, labels: Sequence[Labels], owner: str = "") -> NDArray[np.uint32]:
        """The ids of these series; `NO_SERIES` where the store or `owner` has as many as it may.

        An id stays good while its series gets a sample at least every half hour; after that samples may come back
        counted as `unknown`, and the series is to be asked for again.
        """
        ids = np.empty(len(labels), np.uint32)
        fresh: dict[Labels, int] = {}
        with self._write_lock:
            room = min(
                self._settings.series_limit - len(self._index),
                self._settings.owner_limit - self._owners.get(owner, 0) if owner else self._settings.series_limit,
            )
            following = self._index.next_id
            for place, series in enumerate(labels):
                known = self._index.get(series)
                if known is None:
                    known = fresh.get(series)
                if known is None:
                    if len(fresh) >= room:
                        ids[place] = NO_SERIES
                        continue
                    known = fresh[series] = following + len(fresh)
                ids[place] = known
            if fresh:
                rows = list(fresh.items())
                for begin in range(0, len(rows), _SERIES_A_RECORD):
                    some = rows[begin : begin + _SERIES_A_RECORD]
                    self._wal.append_series([(number, series) for series, number in some])
                    for series, number in some:
                        self._head.add(series, number)
                if owner:
                    self._owners[owner] = self._owners.get(owner, 0) + len(fresh)
        return ids

    def append(self, frame: Frame) -> Appended:
        """Keep a frame: logged and readable when this returns. Raises `StorageError`, and then nothing is kept."""
        times, ids = owned(frame.timestamps, np.int64), owned(frame.ids, np.uint32)
        raw = owned(frame.values, np.float64).view(np.uint64)
        future = too_old = 0
        now_ms = self._clock.now_ms()
        if not self._settings.accept_old and len(times):
            ahead = times > now_ms + self._settings.future_ms
            behind = times < now_ms - self._settings.retention_ms
            if ahead.any() or behind.any():
                future, too_old = count_samples(raw[ahead]), count_samples(raw[behind])
                kept = ~(ahead | behind)
                times, raw = times[kept], raw[kept]
        refused = ids == NO_SERIES
        over = 0
        if refused.any():
            over = count_samples(np.ascontiguousarray(raw[:, refused]))
            raw = raw.copy()
            raw[:, refused] = ABSENT_NAN_BITS
        if len(times) and len(ids):
            with self._write_lock:
                self._wal.append_frame(ids, self._index.slots_of(ids), times, raw)
                taken = self._head.take(ids, times, raw.view(np.float64))
            appended = Appended(
                stored=taken.stored, duplicate=taken.duplicate, out_of_order=taken.late,
                too_old=taken.too_old + too_old, future=future, over_limit=over, unknown=taken.unknown,
            )
        else:
            appended = Appended(too_old=too_old, future=future, over_limit=over)
        for name, counter in self._outcomes.items():
            count = getattr(appended, name)
            if count:
                counter.inc(count)
        return appended

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        """Keep those that are new; the oldest of all go first."""
        fresh = self._exemplars.add(exemplars)
        if fresh:
            rows = [[*(pair for pair in one.series.pairs), None, *(pair for pair in one.labels.pairs), None,
                     one.value, one.timestamp_ms] for one in fresh]
            with self._write_lock:
                self._wal.append(Kind.EXEMPLARS, compress(json.dumps(rows, ensure_ascii=False).encode()))

    def append_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Keep type, help and unit of metrics by name; written to the log only where they changed."""
        changed = {name: told for name, told in metadata.items() if self._metadata.get(name) != told}
        room = self._settings.metadata_limit - len(self._metadata)
        kept = {name: told for name, told in changed.items() if name in self._metadata}
        new = [name for name in changed if name not in kept]
        kept.update((name, changed[name]) for name in new[:room])
        if len(new) > room:
            self._telemetry.dropped("store", "metadata limit", len(new) - room)
        if kept:
            with self._write_lock:
                rows = {name: [told.type, told.help, told.unit] for name, told in kept.items()}
                self._wal.append(Kind.METADATA, compress(json.dumps(rows, ensure_ascii=False).encode()))
                self._metadata = {**self._metadata, **kept}

    def maintain(self, now_ms: int) -> None:
        """One small step of what is due; call it every few seconds. Raises `StorageError` where the disk refuses."""
        self._head.flush_late()
        if not self._settings.accept_old:
            self._head.drop_before(now_ms - self._settings.retention_ms)

    def stats(self) -> dict[str, int]:
        """What the store holds, for the console and `/api/v1/status/tsdb`."""
        parts = self._head.parts
        return {
            "series": len(self._index), "samples_packed": sum(part.samples for part in parts),
            "memory_bytes": sum(part.nbytes for part in parts), "log_bytes": self._wal.size_bytes(),
            "exemplars": len(self._exemplars), "newest_ms": self._head.newest_ms,
        }

    def sync(self) -> None:
        """Bring what was appended to the disk: at most this is lost with the power. Call it every 5 s."""
        self._wal.sync()

    def close(self) -> None:
        """Sync and let go of the files. Nothing may be called afterwards."""
        with self._write_lock:
            self._wal.close()

    # ------------------------------------------------------------ reading

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
        """Samples with ``start_ms <= t <= end_ms`` of every matching series that has any."""
        return self._head.select(matchers, start_ms, end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Names of matching series with samples in the range, sorted."""
        snapshot = self._head.snapshot(self._index.select(matchers), start_ms, end_ms)
        if snapshot is None:
            return []
        found = snapshot.counts() > 0
        return sorted(snapshot.labels[at] for at in np.flatnonzero(found).tolist())

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Label names of matching series; of all series in memory where there are no matchers."""
        if not matchers:
            return self._index.names()
        return sorted({name for labels in self.series(matchers, start_ms, end_ms) for name in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Values of one label; of all series in memory where there are no matchers."""
        if not matchers:
            return self._index.values(name)
        values = {labels.get(name, "") for labels in self.series(matchers, start_ms, end_ms)}
        return sorted(values - {""})

    def exemplars(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[Exemplar]:
        """Exemplars in the range whose series match any of the selectors, ascending in time."""
        return self._exemplars.select(selectors, start_ms, end_ms)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Type, help and unit by metric name."""
        return self._metadata
