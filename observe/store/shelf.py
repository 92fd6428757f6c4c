"""One kind of record on its spool, with an index in each segment: what logs and spans have in common."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from observe.errors import StorageError
from observe.store.index import IndexDamaged, SegmentIndex
from observe.store.index_kinds import Kind
from observe.store.segment import Segment
from observe.store.spool import Spool
from observe.telemetry import Telemetry

logger = logging.getLogger(__name__)

T = TypeVar("T")

_COMMIT_EVERY = 50_000  # documents: bounds what a rebuild holds back


class Shelf:
    """A spool and its indexes. One thread calls `catch_up` and `rest`, and is woken by `wake`; any thread reads."""

    def __init__(
        self, spool: Spool, kind: Kind, unpack: Any, wake: Callable[[], None], telemetry: Telemetry,
    ) -> None:
        self.spool = spool
        self.kind = kind
        self._unpack = unpack
        self._wake = wake
        self._telemetry = telemetry
        self._indexes: dict[Segment, SegmentIndex] = {}
        self._damaged: set[Segment] = set()
        self._indexed = telemetry.counter(
            "observe_signals_indexed_total", "Records that became searchable.", ("kind",)).labels(kind.name)
        self._rebuilt = telemetry.counter(
            "observe_signals_index_rebuilds_total", "Indexes made again from their segment.", ("kind",),
        ).labels(kind.name)
        for segment in spool.segments:
            self._open(segment)

    # ------------------------------------------------------------ indexing (one thread)

    def _open(self, segment: Segment) -> SegmentIndex:
        folder = segment.folder / "index"
        try:
            index = SegmentIndex(folder, self.kind)
        except IndexDamaged as error:
            logger.warning("%s", error)
            self._rebuilt.inc()
            shutil.rmtree(folder, ignore_errors=True)
            index = SegmentIndex(folder, self.kind)
        self._indexes[segment] = index
        return index

    def catch_up(self, *, stop: Any = None) -> None:
        """Index what is on the disk and not yet searchable, the newest segment first. `stop` is asked on the way."""
        segments = self.spool.segments
        for gone in self._indexes.keys() - set(segments):
            self._indexes.pop(gone)
        for segment in reversed(segments):
            try:
                if segment in self._damaged:
                    self._remake(segment)
                index = self._indexes.get(segment) or self._open(segment)
                if index.next_seq < segment.end_seq:
                    self._fill(index, segment, stop)
                if segment.sealed:
                    index.rest()
            except (IndexDamaged, FileNotFoundError):
                if not segment.folder.exists():
                    continue  # retention took it meanwhile
                self._damaged.add(segment)
                raise
            if stop is not None and stop():
                return

    def _fill(self, index: SegmentIndex, segment: Segment, stop: Any) -> None:
        end, waiting = segment.end_seq, 0
        for chunk in self.spool.read(index.next_seq, segment):
            for place, entry in enumerate(chunk.entries):
                self._add(index, entry, chunk.first_seq + place)
            waiting += len(chunk.entries)
            if waiting >= _COMMIT_EVERY:
                index.commit()
                self._indexed.inc(waiting)
                waiting = 0
            if stop is not None and stop():
                break
        else:
            index.next_seq = max(index.next_seq, end)
        index.commit()
        self._indexed.inc(waiting)

    def _add(self, index: SegmentIndex, entry: bytes, seq: int) -> None:
        try:
            index.add(self._unpack(entry, seq), seq)
        except StorageError:
            raise
        except Exception as error:
            # One record that cannot be read must not keep the others from being found.
            logger.error("%s: record %d cannot be indexed: %s", self.kind.name, seq, error)  # noqa: TRY400
            self._telemetry.dropped(f"index {self.kind.name}", "not indexable")
            index.next_seq = seq + 1

    def _remake(self, segment: Segment) -> None:
        self._damaged.discard(segment)
        self._indexes.pop(segment, None)
        shutil.rmtree(segment.folder / "index", ignore_errors=True)
        self._rebuilt.inc()

    def rest(self) -> None:
        """Free the writers."""
        for index in list(self._indexes.values()):
            index.rest()

    @property
    def behind(self) -> bool:
        """Something on the disk is not yet searchable."""
        if self._damaged:
            return True
        segments = self.spool.segments
        return any(
            (index := self._indexes.get(segment)) is None or index.next_seq < segment.end_seq or index.dirty
            for segment in segments
        )

    # ------------------------------------------------------------ reading (any thread)

    def _overlapping(self, start_ns: int, end_ns: int) -> Iterator[tuple[Segment, SegmentIndex]]:
        """Segments that hold records of this time, the newest first."""
        for segment in reversed(self.spool.segments):
            if segment.entries and segment.newest_ns >= start_ns and segment.oldest_ns <= end_ns:
                index = self._indexes.get(segment)
                if index is not None:
                    yield segment, index

    def is_whole(self, start_ns: int, end_ns: int) -> bool:
        """Every segment of this time has an index that answers (new lines may still be on their way into it)."""
        return not self._damaged and all(
            segment in self._indexes and (not segment.sealed or self._indexes[segment].next_seq >= segment.end_seq)
            for segment in self.spool.segments
            if segment.newest_ns >= start_ns and segment.oldest_ns <= end_ns
        )

    def ask(
        self, start_ns: int, end_ns: int, question: Callable[[SegmentIndex], T],
    ) -> Iterator[tuple[Segment, T]]:
        """The answers of the segments of a time; one whose index is damaged is left out and made again."""
        for segment, index in self._overlapping(start_ns, end_ns):
            try:
                yield segment, question(index)
            except IndexDamaged as error:
                if segment.folder.exists():
                    logger.warning("%s", error)
                    self._damaged.add(segment)
                self._wake()

    def records(self, hits: Iterable[tuple[Segment, int]]) -> list[Any]:
        """The records of hits, in their order; those that are no longer readable are left out."""
        wanted: dict[Segment, list[int]] = {}
        ordered = list(hits)
        for segment, seq in ordered:
            wanted.setdefault(segment, []).append(seq)
        found = {segment: self._read(segment, seqs) for segment, seqs in wanted.items()}
        return [found[segment][seq] for segment, seq in ordered if seq in found[segment]]

    def _read(self, segment: Segment, seqs: Sequence[int]) -> dict[int, Any]:
        records = {}
        for seq, entry in self.spool.fetch(segment, seqs).items():
            try:
                records[seq] = self._unpack(entry, seq)
            except Exception as error:
                logger.error("%s: record %d cannot be read: %s", self.kind.name, seq, error)  # noqa: TRY400
                self._telemetry.dropped(f"read {self.kind.name}", "not readable")
        return records
