"""The embedded metric store: a head in memory, a log that survives kill -9, blocks for what is complete.

Threads: `series_ids`, `append`, `append_exemplars` and `append_metadata` belong to the data thread. `sync` and
`maintain` may run on any one other thread at a time (they hold the writer up for milliseconds at most). Everything that
reads is safe from any thread.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.errors import StorageError
from observe.model import ABSENT_NAN_BITS, METRIC_NAME, Exemplar, Frame, Labels, MetricMetadata
from observe.protocols import NO_SERIES, Appended
from observe.store.archive import Archive
from observe.store.duck import Duck
from observe.store.exemplars import ExemplarStore
from observe.store.head import Head, owned
from observe.store.head_kernels import NEVER
from observe.store.label_index import LabelIndex
from observe.store.log_length import SERIES_A_RECORD, LogLength
from observe.store.maintenance import Maintenance
from observe.store.metric_reader import MetricReader
from observe.store.metric_settings import MetricSettings
from observe.store.owners import Owners
from observe.store.part import PART_MS
from observe.store.replay import Replay
from observe.store.wal import Wal
from observe.store.wal_kernels import count_samples
from observe.telemetry import Telemetry


class MetricStore(MetricReader):
    """`SampleSink` and `SampleSource` over one folder. The caller holds the folder's lock."""

    def __init__(
        self, folder: Path, settings: MetricSettings, clock: Clock, telemetry: Telemetry, *, read_only: bool = False,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._folder = folder
        self._write_lock = threading.RLock()
        window = 2**62 if settings.accept_old else settings.late_window_ms
        head = Head(LabelIndex(), settings.rows, window)
        exemplars = ExemplarStore(settings.exemplar_limit)
        metadata: dict[str, MetricMetadata] = {}
        self._owners = Owners(head.owned)
        self._duck = Duck(settings.duckdb_bytes)
        try:
            if not read_only:
                (folder / "blocks").mkdir(parents=True, exist_ok=True)
            archive = Archive(folder / "blocks", self._duck, telemetry, repair=not read_only)
            self._wal = Wal(folder / "wal", settings.segment_bytes, repair=not read_only)
            persisted = archive.persisted()
            self._wal.segment = max(self._wal.segment, *persisted.values(), 0)  # also where someone deleted the log
            self.replay = Replay(self._wal, head, self._owners, exemplars, metadata, persisted)
            self.replay.run()
        except OSError as error:
            raise StorageError(
                f"cannot open the metric store {folder}: {error.strerror}; give this user the right to write there",
            ) from error
        super().__init__(head, archive, exemplars, settings.samples_at_once)
        self._metadata = metadata
        self._log_length = LogLength(self._wal, head, self._owners, self._write_lock, self.replay)
        self._maintenance = Maintenance(
            head, archive, clock, settings, self._close_hours, lambda: self._log_length.shorten(self._log_the_rest),
        )
        self._work: Iterator[None] | None = None
        self._appended = telemetry.counter(
            "observe_store_samples_total", "Samples offered to the metric store, by what became of them.", ("outcome",),
        )
        self._refused = {name: self._appended.labels(name) for name in Appended.__dataclass_fields__}
        self._stored = self._refused.pop("stored")

    # ------------------------------------------------------------ writing

    def series_ids(self, labels: Sequence[Labels], owner: str = "") -> NDArray[np.uint32]:
        """The ids of these series; `NO_SERIES` where the store or `owner` has as many as it may.

        An id stays good while its series gets a sample at least every half hour; after that samples may come back
        counted as `unknown`, and the series is to be asked for again.
        """
        ids = np.empty(len(labels), np.uint32)
        fresh: dict[Labels, int] = {}
        with self._write_lock:
            number = self._owners.number(owner)
            room = self._settings.series_limit - len(self._index)
            if number:
                room = min(room, self._settings.owner_limit - self._head.owned[number])
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
                for begin in range(0, len(rows), SERIES_A_RECORD):
                    some = rows[begin : begin + SERIES_A_RECORD]
                    self._wal.append_series({owner: [(series_id, series) for series, series_id in some]})
                    for series, series_id in some:
                        self._head.add(series, series_id, number)
        return ids

    def append(self, frame: Frame) -> Appended:
        """Keep a frame: logged and readable when this returns. Raises `StorageError`, and then nothing is kept."""
        times, ids = owned(frame.timestamps, np.int64), frame.ids.astype(np.uint32, copy=False)
        raw = owned(frame.values, np.float64).view(np.uint64)
        future = too_old = over = 0
        if not self._settings.accept_old and len(times):
            now_ms = self._clock.now_ms()
            latest, earliest = now_ms + self._settings.future_ms, now_ms - self._settings.retention_ms
            if len(times) > 1 or not earliest <= int(times[0]) <= latest:
                ahead, behind = times > latest, times < earliest
                future, too_old = count_samples(raw[ahead]), count_samples(raw[behind])
                kept = ~(ahead | behind)
                times, raw = times[kept], raw[kept]
        if not self._index.holds(ids) and (refused := ids == NO_SERIES).any():
            over = count_samples(np.ascontiguousarray(raw[:, refused]))
            raw = raw.copy()
            raw[:, refused] = ABSENT_NAN_BITS
        if len(times) and len(ids):
            with self._write_lock:
                self._wal.append_frame(ids, self._index.slots_of(ids), times, raw)
                self._log_length.note(times)
                taken = self._head.take(ids, times, raw.view(np.float64))
            appended = Appended(
                stored=taken.stored, duplicate=taken.duplicate, out_of_order=taken.late,
                too_old=taken.too_old + too_old, future=future, over_limit=over, unknown=taken.unknown,
            )
        else:
            appended = Appended(too_old=too_old, future=future, over_limit=over)
        self._count(appended)
        return appended

    def _count(self, appended: Appended) -> None:
        """Most often there is only one thing to count."""
        self._stored.inc(appended.stored)
        if appended != Appended(stored=appended.stored):
            for name, counter in self._refused.items():
                counter.inc(getattr(appended, name))

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        """Keep those that are new; the oldest of all go first."""
        fresh = self._exemplars.add(exemplars)
        if fresh:
            with self._write_lock:
                self._wal.append_exemplars(fresh)

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
                self._wal.append_metadata(kept)
                self._metadata = {**self._metadata, **kept}

    def maintain(self, now_ms: int, budget_s: float = 0.05) -> bool:
        """Do some of what is due: blocks, retention, compaction. Call it every few seconds; True: there is more to do.

        Raises `StorageError` where the disk refuses; what was not done is tried again at the next call.
        """
        began = self._clock.monotonic()
        if self._work is None:
            self._work = self._maintenance.work(now_ms)
        try:
            for _ in self._work:
                if self._clock.monotonic() - began >= budget_s:
                    return True
        except OSError as error:
            self._work = None
            raise StorageError(f"cannot maintain the metrics in {self._folder}: {error}; it is tried again") from error
        except BaseException:
            self._work = None
            raise
        self._work = None
        return False

    def _close_hours(self, hours: Sequence[int]) -> None:
        with self._write_lock:
            segment = self._wal.segment
            self._wal.rotate()
            self._head.close(hours, segment)

    def _log_the_rest(self) -> None:
        self._wal.append_exemplars(self._exemplars.all())
        self._wal.append_metadata(self._metadata)

    def stats(self) -> dict[str, Any]:
        """What the store holds, for `/api/v1/status/tsdb`; `cardinality` has what most series are of."""
        parts, blocks = self._head.parts, self._archive.blocks
        starts = [*(part.start_ms for part in parts), *(block.info.start_ms for block in blocks)]
        newest = self._head.newest_ms if self._head.newest_ms != NEVER else 0
        cardinality = self.cardinality()
        return {
            "series": len(self._index), "label_pairs": cardinality.pop("total")[0][1],
            "samples_packed": sum(part.samples for part in parts), "chunks": sum(part.chunks for part in parts),
            "min_time_ms": min(starts, default=newest // PART_MS * PART_MS), "max_time_ms": newest,
            "memory_bytes": sum(part.nbytes for part in parts), "log_bytes": self._wal.size_bytes(),
            "blocks": len(blocks), "block_bytes": self._archive.size_bytes(),
            "block_samples": sum(block.info.samples for block in blocks), "exemplars": len(self._exemplars),
            "newest_ms": newest, "damages": len(self.replay.damages) + len(self._archive.damaged),
            "cardinality": cardinality,
        }

    def damages(self) -> list[str]:
        """What was found damaged and set aside, in words."""
        log = [f"{damage.size} bytes of {damage.path} " + ("were torn off by a crash" if damage.torn else "are damaged")
               for damage in self.replay.damages]
        if self.replay.nameless and any(not damage.torn for damage in self.replay.damages):
            log.append(f"{self.replay.nameless} samples of the log are of series whose names are damaged")
        return [*log, *self._archive.damaged]

    def cardinality(self, limit: int = 10) -> dict[str, list[tuple[str, int]]]:
        """The metrics and label pairs with most series in memory, the names with most values; `total` label pairs."""
        counts = self._index.counts()
        pairs = {f"{name}={value}": count for name, values in counts.items() for value, count in values.items()}
        tables = {
            "series_by_metric": counts.get(METRIC_NAME, {}), "series_by_pair": pairs,
            "values_by_name": {name: len(values) for name, values in counts.items()}, "total": {"": len(pairs)},
        }
        return {table: nlargest(limit, rows.items(), key=itemgetter(1)) for table, rows in tables.items()}

    def sync(self) -> None:
        """Bring what was appended to the disk: at most this is lost with the power. Call it every 5 s."""
        self._wal.sync()

    def close(self) -> None:
        """Sync and let go of the files. Nothing may be called afterwards."""
        with self._write_lock:
            self._wal.close()
            self._duck.close()
