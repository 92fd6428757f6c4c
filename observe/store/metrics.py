"""The embedded metric store: a head in memory, a log that survives kill -9, blocks for what is complete.

Threads: `series_ids`, `append`, `append_exemplars` and `append_metadata` belong to the data thread. `sync` and
`maintain` may run on any one other thread at a time (they hold the writer up for milliseconds at most). Everything that
reads is safe from any thread.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.errors import StorageError
from observe.model import ABSENT_NAN_BITS, METRIC_NAME, Exemplar, Frame, Labels, Matcher, MetricMetadata, Samples
from observe.protocols import NO_SERIES, Appended
from observe.store.archive import Archive, TooMuch
from observe.store.block import Block
from observe.store.block_index import BlockIndex
from observe.store.combine import combine
from observe.store.duck import Duck
from observe.store.exemplars import ExemplarStore
from observe.store.head import Head, Snapshot, owned
from observe.store.head_kernels import NEVER
from observe.store.label_index import NO_SLOT, LabelIndex
from observe.store.maintenance import Maintenance
from observe.store.owners import Owners
from observe.store.part import PART_MS
from observe.store.replay import Replay
from observe.store.wal import Kind, Wal, compress
from observe.store.wal_kernels import count_samples
from observe.telemetry import Telemetry

_HOUR_MS = 3_600_000
_NOTHING = Matcher(METRIC_NAME, "=", "\0")
_SERIES_A_RECORD = 5_000


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """What may be set about the metric store; `storage` in observe.yml."""

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
    cut_idle_ms: int = 5 * 60_000
    """An hour that is over becomes a block when it got nothing for so long."""
    cache_bytes: int = 32_000_000
    """Hours that are in blocks already stay in memory as long as they and silent series take no more than this."""
    day_pairs: int = 300_000
    """Label pairs of a day's series: a day of more churn stays in hours, whose names are read one hour at a time."""
    samples_at_once: int = 50_000_000
    """Samples that one selector of a question may read: 16 bytes each while it is answered."""
    duckdb_bytes: int = 192_000_000
    """What DuckDB may use while it writes and reads blocks."""
    segment_bytes: int = 32_000_000
    """Size of a segment of the log."""
    exemplar_limit: int = 20_000
    metadata_limit: int = 50_000


class MetricStore:
    """`SampleSink` and `SampleSource` over one folder. The caller holds the folder's lock."""

    def __init__(
        self, folder: Path, settings: MetricSettings, clock: Clock, telemetry: Telemetry, *, read_only: bool = False,
    ) -> None:
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
        self._owners = Owners(self._head.owned)
        self._duck = Duck(settings.duckdb_bytes)
        try:
            if not read_only:
                (folder / "blocks").mkdir(parents=True, exist_ok=True)
            self._archive = Archive(folder / "blocks", self._duck, telemetry, repair=not read_only)
            self._wal = Wal(folder / "wal", settings.segment_bytes, repair=not read_only)
            persisted = self._archive.persisted()
            self._wal.segment = max(self._wal.segment, *persisted.values(), 0)  # also where someone deleted the log
            self.replay = Replay(
                self._wal, self._head, self._owners, self._exemplars, self._metadata, persisted)
            self.replay.run()
        except OSError as error:
            raise StorageError(
                f"cannot open the metric store {folder}: {error.strerror}; give this user the right to write there",
            ) from error
        self._hours = self.replay.hours
        self._checkpoints = self.replay.checkpoints
        self._maintenance = Maintenance(
            self._head, self._archive, clock, settings, self._close_hours, self._shorten_log,
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
                for begin in range(0, len(rows), _SERIES_A_RECORD):
                    some = rows[begin : begin + _SERIES_A_RECORD]
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
                hours = self._hours.setdefault(self._wal.segment, set())
                hours.update((times // PART_MS * PART_MS).tolist())
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
                self._log_exemplars(fresh)

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
                self._log_metadata(kept)
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

    def _shorten_log(self) -> Iterator[None]:
        """Name all living series anew at the end of the log; delete old segments whose samples are all in blocks.

        What is deleted ends where an earlier naming begins: those since the last one hold the hour that is not over.
        """
        with self._write_lock:
            first = self._wal.rotate()
        ids = self._index.all_ids()
        for begin in range(0, len(ids), _SERIES_A_RECORD):
            with self._write_lock, self._head.lock:
                some = ids[begin : begin + _SERIES_A_RECORD]
                slots = self._index.slots_of(some)
                there = slots != NO_SLOT
                some, slots = some[there], slots[there]
                named: dict[str, list[tuple[int, Labels]]] = {}
                for owner, series_id, labels in zip(
                    self._head.owner[slots].tolist(), some.tolist(), self._index.labels_at(slots), strict=True,
                ):
                    named.setdefault(self._owners.name(owner), []).append((series_id, labels))
                if named:
                    self._wal.append_series(named)
            yield
        with self._write_lock:
            self._log_exemplars(self._exemplars.all())
            self._log_metadata(self._metadata)
            self._wal.append_checkpoint(first)
        self._wal.sync()
        self._checkpoints.append(first)
        unsaved = self._head.unsaved_hours()
        with self._write_lock:
            needed = min((segment for segment, hours in self._hours.items() if hours & unsaved), default=first)
            begin = max((segment for segment in self._checkpoints if segment <= needed), default=0)
            self._hours = {segment: hours for segment, hours in self._hours.items() if segment >= begin}
        self._checkpoints = [segment for segment in self._checkpoints if segment >= begin]
        self._wal.remove_before(begin)
        yield

    def _log_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        rows = [[*one.series.pairs, None, *one.labels.pairs, None, one.value, one.timestamp_ms] for one in exemplars]
        if rows:
            self._wal.append(Kind.EXEMPLARS, compress(json.dumps(rows, ensure_ascii=False).encode()))

    def _log_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        rows = {name: [told.type, told.help, told.unit] for name, told in metadata.items()}
        if rows:
            self._wal.append(Kind.METADATA, compress(json.dumps(rows, ensure_ascii=False).encode()))

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

    # ------------------------------------------------------------ reading

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
        """Samples with ``start_ms <= t <= end_ms`` of every matching series that has any.

        Raises `LimitExceeded` where that is more than `samples_at_once`, before the memory is taken.
        """
        while True:
            blocks, snapshot = self._snapshot(matchers, start_ms, end_ms)
            pieces: list[Samples] = []
            room = self._settings.samples_at_once
            if snapshot is not None and (count := snapshot.size()) > room:
                raise TooMuch(count)
            try:
                for block in blocks:
                    found = self._archive.read(block, matchers, start_ms, end_ms, room)
                    pieces += found
                    room -= sum(len(piece.values) for piece in found)
            except FileNotFoundError:
                continue  # a block was replaced by that of its day: look again
            if snapshot is not None:
                pieces.append(snapshot.read())
            return combine(pieces)

    def _snapshot(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int,
    ) -> tuple[list[Block], Snapshot | None]:
        """The blocks to ask, and what memory holds: together everything, at one instant."""
        ids = self._index.select(matchers)  # before the lock: a regular expression may take its time
        with self._head.lock:
            in_memory = [part.block for part in self._head.parts if part.block is not None]
            blocks = [block for block in self._archive.blocks if block.info.start_ms <= end_ms
                      and block.info.end_ms > start_ms and block not in in_memory]
            return blocks, self._head.snapshot(ids, start_ms, end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Names of matching series with samples in the range, sorted. Of blocks: with samples about the range."""
        while True:
            blocks, snapshot = self._snapshot(matchers, start_ms, end_ms)
            try:
                found = set[Labels]()
                for block in blocks:
                    found.update(self._archive.series(block, matchers, start_ms, end_ms))
            except FileNotFoundError:
                continue
            if snapshot is not None:
                found.update(snapshot.labels[at] for at in np.flatnonzero(snapshot.counts() > 0).tolist())
            return sorted(found)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Label names of matching series; without matchers of all in memory, and in blocks about the range."""
        if matchers:
            return sorted({name for labels in self.series(matchers, start_ms, end_ms) for name in labels})
        indexes = self._indexes(start_ms, end_ms)
        return sorted({*self._index.names(), *(name for index in indexes for name in index.names())})

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Values of a label of matching series; without matchers of all in memory, and in blocks about the range."""
        if matchers:
            values = {labels.get(name, "") for labels in self.series(matchers, start_ms, end_ms)}
            return sorted(values - {""})
        indexes = self._indexes(start_ms, end_ms)
        if not indexes:
            return self._index.values(name)
        return sorted({*self._index.values(name), *(value for index in indexes for value in index.values_of(name))})

    def _indexes(self, start_ms: int, end_ms: int) -> list[BlockIndex]:
        """Names in the blocks about the range that are not in memory too."""
        while True:
            blocks, _ = self._snapshot([_NOTHING], start_ms, end_ms)
            try:
                return [index for block in blocks if (index := self._archive.index_of(block)) is not None]
            except FileNotFoundError:
                continue

    def exemplars(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[Exemplar]:
        """Exemplars in the range whose series match any of the selectors, ascending in time."""
        return self._exemplars.select(selectors, start_ms, end_ms)

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Type, help and unit by metric name."""
        return self._metadata
