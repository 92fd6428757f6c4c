"""What the metric store answers: memory and blocks read as one."""

from collections.abc import Mapping, Sequence

import numpy as np

from observe.model import METRIC_NAME, Exemplar, Labels, Matcher, MetricMetadata, Samples
from observe.store.archive import Archive, TooMuch
from observe.store.block import Block
from observe.store.block_index import BlockIndex
from observe.store.combine import combine
from observe.store.exemplars import ExemplarStore
from observe.store.head import Head, Snapshot

_NOTHING = Matcher(METRIC_NAME, "=", "\0")


class MetricReader:
    """`SampleSource` over a head and its archive. Safe from any thread."""

    def __init__(self, head: Head, archive: Archive, exemplars: ExemplarStore, samples_at_once: int) -> None:
        self._head = head
        self._index = head.index
        self._archive = archive
        self._exemplars = exemplars
        self._samples_at_once = samples_at_once
        self._metadata: Mapping[str, MetricMetadata] = {}
        """Never changed, but replaced."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
        """Samples with ``start_ms <= t <= end_ms`` of every matching series that has any.

        Raises `LimitExceeded` where that is more than `samples_at_once`, before the memory is taken.
        """
        while True:
            blocks, snapshot = self._snapshot(matchers, start_ms, end_ms)
            pieces: list[Samples] = []
            room = self._samples_at_once
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
