"""A durable queue of small entries: what it took is on the disk, synced, before `append` returns.

Calls from any thread are gathered: one of the waiting callers writes for all and syncs once, at most once per
`sync_every_s` or `sync_bytes`. The log store keeps its lines here and builds its index from here; a sink that is down
is fed from here later. Entries are named by sequence numbers, which rise with arrival (milliseconds of the clock in the
high 43 bits) and are never given twice.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.errors import LimitExceeded, StorageError
from observe.store.segment import Segment
from observe.store.spool_reader import Chunk, SpoolReader
from observe.store.spool_segments import SpoolSegments
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry


@dataclass(slots=True)
class _Group:
    """Entries that share one sync."""

    entries: list[bytes] = field(default_factory=list)
    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    times: list[NDArray[np.int64]] = field(default_factory=list)
    size: int = 0
    done: bool = False
    error: Exception | None = None


class Spool:
    """Segments in a folder. `append` and the readers may be called from any thread."""

    def __init__(self, folder: Path, settings: SpoolSettings, clock: Clock, telemetry: Telemetry, name: str) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._name = name
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._fuller = threading.Condition(self._lock)
        self._group = _Group()
        self._in_flight: _Group | None = None
        self._leading = False
        self._closed = False
        self._last_sync = -1e9
        self._pending_keys: set[int] = set()
        self._reader = SpoolReader(name, telemetry)
        labels = ("spool",)
        self._syncs = telemetry.counter(
            "observe_spool_syncs_total", "Group syncs of a spool to the disk.", labels).labels(name)
        self._appended = telemetry.counter(
            "observe_spool_entries_total", "Entries taken by a spool.", labels).labels(name)
        self._repeats = telemetry.counter(
            "observe_spool_repeats_total", "Entries delivered again and not stored twice.", labels).labels(name)
        try:
            self._segments = SpoolSegments(folder, settings, clock, telemetry, name)
        except OSError as error:
            raise StorageError(
                f"cannot open the {name} spool in {folder}: {error.strerror or error}; "
                "check the rights and the free space of that folder") from error

    # ------------------------------------------------------------ appending

    def append(
        self, entries: Sequence[bytes], keys: NDArray[np.uint64], times_ns: NDArray[np.int64],
    ) -> int:
        """Keep `entries`; synced when this returns. Entries whose key is already kept are left out (key 0: never).

        Returns how many were new. Raises `LimitExceeded` when full, `StorageError` when the disk refuses; then none of
        the call's new entries is kept.
        """
        if not len(entries):
            return 0
        size = sum(map(len, entries))
        with self._lock:
            if self._closed:
                raise StorageError(f"the {self._name} spool is closed")
            self._refuse_when_full(size)
            fresh = self._fresh(keys, times_ns)
            group = self._group
            kept = int(fresh.sum())
            if kept < len(entries):
                entries = [entry for entry, wanted in zip(entries, fresh.tolist(), strict=True) if wanted]
                keys, times_ns = keys[fresh], times_ns[fresh]
            if kept:
                group.entries.extend(entries)
                group.keys.append(keys)
                group.times.append(times_ns)
                group.size += size
                self._pending_keys.update(key for key in keys.tolist() if key)
                if group.size >= self._settings.sync_bytes:
                    self._fuller.notify()
            awaited = [group] if group.entries else []
            if kept < len(fresh) and self._in_flight is not None:
                awaited.append(self._in_flight)  # what is repeated may be on its way, and may yet fail
            while not all(one.done for one in awaited):
                if self._leading:
                    self._written.wait()
                else:
                    self._lead()
            for one in awaited:
                if one.error is not None:
                    raise one.error
        self._appended.inc(kept)
        self._repeats.inc(len(fresh) - kept)
        return kept

    def _refuse_when_full(self, size: int) -> None:
        waiting = self._group.size + (self._in_flight.size if self._in_flight is not None else 0)
        if waiting and waiting + size > self._settings.pending_bytes:
            self._telemetry.dropped(f"spool {self._name}", "too much waiting")
            raise LimitExceeded(
                f"the {self._name} spool has {waiting} bytes waiting for the disk; send it again later, or slower",
                "pending_bytes")
        most = self._settings.max_bytes
        if self._settings.when_full == "refuse" and self.disk_bytes + self._group.size + size > most:
            self._telemetry.dropped(f"spool {self._name}", "full")
            raise LimitExceeded(
                f"the {self._name} spool in {self._folder} is full ({most} bytes) because nothing "
                "takes from it; bring its sink back, or raise the limit", "max_bytes")

    def _fresh(self, keys: NDArray[np.uint64], times_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which entries are not yet kept, nor earlier in the same call."""
        named = keys != 0
        if not named.any():
            return np.ones(len(keys), np.bool_)
        repeat = self._segments.holds(keys, int(times_ns[named].min()), int(times_ns[named].max()))
        if self._pending_keys:
            waiting = (key in self._pending_keys for key in keys.tolist())
            repeat |= np.fromiter(waiting, np.bool_, len(keys))
        first = np.zeros(len(keys), np.bool_)
        first[np.unique(keys, return_index=True)[1]] = True
        fresh: NDArray[np.bool_] = ~named | (~repeat & first)
        return fresh

    def _lead(self) -> None:
        """Write for everyone who waits. Called, and returns, with the lock held."""
        self._leading = True
        # Paced on real time whatever the clock: this is about the disk, not about what is stored.
        pause = self._last_sync + self._settings.sync_every_s - self._clock.monotonic()
        if pause > 0 and self._group.size < self._settings.sync_bytes:
            self._fuller.wait(min(pause, self._settings.sync_every_s))
        group, self._group = self._group, _Group()
        self._in_flight = group
        self._lock.release()
        keys, heads = np.empty(0, np.uint64), []
        try:
            if group.entries:
                keys = np.concatenate(group.keys)
                heads = self._segments.write(group.entries, keys, np.concatenate(group.times))
                self._syncs.inc()
        except (OSError, StorageError) as error:
            group.error = self._segments.take_back(error)
        except Exception as error:
            group.error = error  # a bug: every waiting caller sees it, none waits for ever
        finally:
            self._lock.acquire()
            if group.error is None:
                self._segments.note(heads, keys)
            self._pending_keys.difference_update(keys.tolist())
            self._in_flight = None
            self._last_sync = self._clock.monotonic()
            self._leading = False
            group.done = True
            self._written.notify_all()

    # ------------------------------------------------------------ reading

    @property
    def segments(self) -> list[Segment]:
        """Oldest first; the last one is being written."""
        return self._segments.all

    @property
    def end_seq(self) -> int:
        """One more than the last sequence number that is on the disk."""
        return self._segments.active.end_seq

    def read(self, from_seq: int, segment: Segment | None = None) -> Iterator[Chunk]:
        """Entries from a sequence number on, in order, as far as they are on the disk now; damaged blocks left out."""
        return self._reader.read([segment] if segment is not None else self.segments, from_seq)

    def fetch(self, segment: Segment, seqs: Sequence[int]) -> dict[int, bytes]:
        """Single entries of one segment by sequence number; those that cannot be read are left out."""
        return self._reader.fetch(segment, seqs)

    # ------------------------------------------------------------ bounds

    def measure(self) -> int:
        """Bytes on disk now, indexes beside the data included."""
        return self._segments.measure()

    @property
    def disk_bytes(self) -> int:
        """As last measured, the active segment's data as of now."""
        return self._segments.disk_bytes

    def enforce(self) -> int:
        """Drop whole segments, the oldest first, that are too old or over the limit of size; returns how many."""
        return self._segments.enforce()

    def discard(self, segment: Segment, reason: str) -> None:
        """Remove a sealed segment with all that is in it."""
        self._segments.discard(segment, reason)

    def close(self) -> None:
        """Stop taking entries. What was acknowledged is on the disk already."""
        with self._lock:
            self._closed = True
            while self._leading:
                self._written.wait()
            self._segments.close()
