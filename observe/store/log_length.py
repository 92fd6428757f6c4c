"""How far back the log of a metric store must reach, and how it is made to reach no further.

Each segment holds samples of some hours, and each checkpoint names every series that lived then. A segment may go when
its hours are all in blocks, and a checkpoint before it does not count on it.
"""

import threading
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from observe.model import Labels
from observe.store.head import Head
from observe.store.label_index import NO_SLOT
from observe.store.owners import Owners
from observe.store.part import PART_MS
from observe.store.replay import Replay
from observe.store.wal import Wal

SERIES_A_RECORD = 5_000


class LogLength:
    """Of one log. `write_lock` is held by whoever writes to it; `replayed` is what it held when it was opened."""

    def __init__(self, wal: Wal, head: Head, owners: Owners, write_lock: threading.RLock, replayed: Replay) -> None:
        self._wal = wal
        self._head = head
        self._owners = owners
        self._write_lock = write_lock
        self._hours = replayed.hours
        """Segment -> hours that it has samples of."""
        self._checkpoints = replayed.checkpoints
        """Segments from which on the log names every series that lived then."""

    def note(self, times: NDArray[np.int64]) -> None:
        """Samples of these times went to the current segment."""
        self._hours.setdefault(self._wal.segment, set()).update((times // PART_MS * PART_MS).tolist())

    def shorten(self, log_the_rest: Callable[[], None]) -> Iterator[None]:
        """Name all living series anew at the end of the log; delete old segments whose samples are all in blocks.

        What is deleted ends where an earlier naming begins: those since the last one hold the hour that is not over.
        `log_the_rest` writes what is neither samples nor names anew.
        """
        with self._write_lock:
            first = self._wal.rotate()
        ids = self._head.index.all_ids()
        for begin in range(0, len(ids), SERIES_A_RECORD):
            with self._write_lock, self._head.lock:
                named = self._named(ids[begin : begin + SERIES_A_RECORD])
                if named:
                    self._wal.append_series(named)
            yield
        with self._write_lock:
            log_the_rest()
            self._wal.append_checkpoint(first)
        self._wal.sync()
        self._checkpoints.append(first)
        self._wal.remove_before(self._needed_from(first))
        yield

    def _named(self, ids: NDArray[np.uint32]) -> dict[str, list[tuple[int, Labels]]]:
        """Those that are still in memory, by their owner."""
        slots = self._head.index.slots_of(ids)
        there = slots != NO_SLOT
        ids, slots = ids[there], slots[there]
        named: dict[str, list[tuple[int, Labels]]] = {}
        for owner, series_id, labels in zip(
            self._head.owner[slots].tolist(), ids.tolist(), self._head.index.labels_at(slots), strict=True,
        ):
            named.setdefault(self._owners.name(owner), []).append((series_id, labels))
        return named

    def _needed_from(self, newest: int) -> int:
        """The first segment that has to stay; `newest` is that of the last checkpoint."""
        unsaved = self._head.unsaved_hours()
        with self._write_lock:
            needed = min((segment for segment, hours in self._hours.items() if hours & unsaved), default=newest)
            begin = max((segment for segment in self._checkpoints if segment <= needed), default=0)
            self._hours = {segment: hours for segment, hours in self._hours.items() if segment >= begin}
        self._checkpoints = [segment for segment in self._checkpoints if segment >= begin]
        return begin
