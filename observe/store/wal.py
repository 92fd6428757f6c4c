"""The write-ahead log of the metric store: what was acknowledged survives kill -9.

A folder of segments (wal_segment.py), ``00000001.wal`` and on. A record is handed to the kernel by one write before
`append` returns; `sync` brings it to the disk. A segment is never continued by another process: opening reads the old
ones and starts a new one.

Samples are told relative to the ones before them in the segment (wal_kernels.py), so a segment needs none but the names
of series from those before it.
"""

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.durable import sync_folder
from observe.errors import StorageError
from observe.model import Exemplar, MetricMetadata
from observe.store import wal_records
from observe.store.wal_kernels import MOST_BYTES, write_samples
from observe.store.wal_records import FRAME
from observe.store.wal_segment import HEAD_BYTES, MAGIC, Damage, Kind, Record, read_records, seal_record, whole_record

_MOST_VECTORS = 8192
_NO_RIGHT = "give this user the right to write there"
_NO_FILES = "allow this process more open files (ulimit -n)"
_log = logging.getLogger(__name__)
_WANTED = {
    errno.EACCES: _NO_RIGHT, errno.EPERM: _NO_RIGHT, errno.EROFS: "mount it for writing",
    errno.EMFILE: _NO_FILES, errno.ENFILE: _NO_FILES, errno.EIO: "look after the disk",
}
"""What to do about it, where it is not the room."""


class Wal:
    """The segments of one folder. Appending is for one thread at a time; `sync` for any.

    Without `repair` nothing is ever changed: for a look into a folder that another process may own.
    """

    def __init__(self, folder: Path, segment_bytes: int, *, repair: bool = True) -> None:
        self._repair = repair
        self._folder = folder
        self._segment_bytes = segment_bytes
        if repair:
            folder.mkdir(parents=True, exist_ok=True)
        self._sync_lock = threading.Lock()
        self._unsynced: list[int] = []
        self._file = -1
        self._size = 0
        self._written = 0
        self._dirty = False
        self.segment = max(self.segments(), default=0)
        self._before = np.zeros(1024, np.uint64)
        self._vectors: dict[bytes, int] = {}
        self._fixed: dict[int, tuple[NDArray[np.uint32], NDArray[np.uint32], int, int]] = {}
        """By identity: ids that nobody changes, their slots, the number of their vector, the highest slot."""
        self._buffer = np.empty(65536, np.uint8)
        self._told = False
        """That it cannot be written has been logged."""

    # ------------------------------------------------------------ reading

    def segments(self) -> list[int]:
        """Numbers of the segments there are."""
        return sorted(int(path.stem) for path in self._folder.glob("*.wal") if path.stem.isdigit())

    def path(self, segment: int) -> Path:
        return self._folder / f"{segment:08}.wal"

    def size_bytes(self) -> int:
        total = 0
        for segment in self.segments():
            try:
                total += self.path(segment).stat().st_size
            except FileNotFoundError:
                continue
        return total

    def records(self, segment: int, damages: list[Damage]) -> Iterator[Record]:
        """Whole records of a segment; damage is told in `damages`, set aside, and passed over."""
        return read_records(self.path(segment), segment, damages, repair=self._repair)

    # ------------------------------------------------------------ writing

    def rotate(self) -> int:
        """Begin a new segment; returns its number."""
        file = -1
        try:
            number = max(self.segment, *self.segments(), 0) + 1  # one that failed half way may still be there
            path = self.path(number)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
            _write_whole(file, MAGIC)
            sync_folder(self._folder)
        except OSError as error:
            if file >= 0:
                os.close(file)
                with contextlib.suppress(OSError):
                    path.unlink()
            raise self._refused(error) from error
        with self._sync_lock:
            if self._file >= 0:
                self._unsynced.append(self._file)
            self._file = file
            self._dirty = True
        self.segment = number
        self._size = len(MAGIC)
        self._before[:] = 0
        self._vectors.clear()
        self._fixed.clear()
        return number

    def append(self, kind: Kind, payload: bytes) -> None:
        """Write one record. Raises `StorageError`, and then nothing was written."""
        self._ready()
        self._write(whole_record(kind, payload))

    def append_checkpoint(self, first: int) -> None:
        """Say that from segment `first` on the log names every series that lived when it began."""
        self.append(Kind.CHECKPOINT, wal_records.checkpoint(first))

    def append_series(self, named: wal_records.OwnedSeries) -> None:
        """Name series, by owner."""
        self.append(Kind.SERIES, wal_records.series(named))

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        if exemplars:
            self.append(Kind.EXEMPLARS, wal_records.exemplars(exemplars))

    def append_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        if metadata:
            self.append(Kind.METADATA, wal_records.metadata(metadata))

    def append_frame(
        self, ids: NDArray[np.uint32], slots: NDArray[np.uint32], times: NDArray[np.int64], raw: NDArray[np.uint64],
    ) -> None:
        """Write samples ``raw[t, n]`` (as bits). `slots` are the rows of `ids` in the head."""
        self._ready()
        vector, highest = self._known(ids, slots)
        rows, width = raw.shape
        begin = HEAD_BYTES + FRAME.size + 8 * rows
        most = begin + rows * width * MOST_BYTES + rows * width // 4 + 1
        if most > len(self._buffer):
            self._buffer = np.empty(most, np.uint8)
        if highest >= len(self._before):
            larger = np.zeros(max(highest + 1, 2 * len(self._before)), np.uint64)
            larger[: len(self._before)] = self._before
            self._before = larger
        out = self._buffer
        try:
            end, total = write_samples(slots, raw, self._before, out, begin)
            view = memoryview(out.data)[:end]
            FRAME.pack_into(view, HEAD_BYTES, vector, rows, width, total)
            view[begin - 8 * rows : begin] = times.astype("<i8", copy=False).tobytes()
            seal_record(Kind.FRAME, view)
            self._write(view)
        except BaseException:
            self._size = self._segment_bytes  # what follows would be relative to samples that are not there
            raise

    def forget(self, slots: NDArray[np.uint32]) -> None:
        """These slots get new series."""
        self._before[slots[slots < len(self._before)]] = 0

    def _known(self, ids: NDArray[np.uint32], slots: NDArray[np.uint32]) -> tuple[int, int]:
        """The vector of these ids, and their highest slot."""
        known = self._fixed.get(id(ids))
        if known is not None and known[0] is ids and known[1] is slots:
            return known[2], known[3]
        vector = self._vector(ids)
        highest = int(slots[slots != np.uint32(0xFFFF_FFFF)].max(initial=0))
        if not ids.flags.writeable and len(self._fixed) < _MOST_VECTORS:
            self._fixed[id(ids)] = ids, slots, vector, highest
        return vector, highest

    def _vector(self, ids: NDArray[np.uint32]) -> int:
        key = ids.tobytes()
        known = self._vectors.get(key)
        if known is not None:
            return known
        if len(self._vectors) >= _MOST_VECTORS:
            self._vectors.clear()
            self._fixed.clear()
        number = self._written & 0xFFFF_FFFF
        self.append(Kind.VECTOR, wal_records.vector(number, ids))
        self._vectors[key] = number
        return number

    def _ready(self) -> None:
        if self._file < 0 or self._size >= self._segment_bytes:
            self.rotate()

    def _write(self, data: bytearray | memoryview) -> None:
        try:
            _write_whole(self._file, data)
        except OSError as error:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._size = self._segment_bytes  # half a record at the end: go on in another segment
            raise self._refused(error) from error
        if self._told:
            self._told = False
            _log.warning("the log %s is written again", self._folder)
        self._size += len(data)
        self._written += 1
        self._dirty = True

    def _refused(self, error: OSError) -> StorageError:
        wanted = _WANTED.get(error.errno or 0, "free some space there, or lower the retention")
        refusal = StorageError(
            f"cannot write to the log {self._folder}: {error.strerror}; samples are refused until that is mended: "
            f"{wanted}",
        )
        if not self._told:  # once: each scrape and rule is refused from now on
            self._told = True
            _log.error("%s", refusal)
        return refusal

    def sync(self) -> None:
        """Bring everything written so far to the disk."""
        with self._sync_lock:
            if not self._dirty and not self._unsynced:
                return
            self._dirty = False
            try:
                while self._unsynced:
                    os.fsync(self._unsynced[0])
                    os.close(self._unsynced.pop(0))
                if self._file >= 0:
                    os.fsync(self._file)
            except OSError as error:
                self._dirty = True
                raise self._refused(error) from error

    def remove_before(self, segment: int) -> int:
        """Delete the segments before this one; returns how many."""
        gone = [number for number in self.segments() if number < segment]
        for number in gone:
            self.path(number).unlink(missing_ok=True)
        if gone:
            sync_folder(self._folder)
        return len(gone)

    def close(self) -> None:
        self.sync()
        with self._sync_lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def _write_whole(file: int, data: bytes | bytearray | memoryview) -> None:
    if os.write(file, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
