"""The write-ahead log of the metric store: what was acknowledged survives kill -9.

A folder of segments, ``00000001.wal`` and on. Each begins with a magic; then records: head (magic, type, length,
CRC-32) and payload. A record is handed to the kernel by one write before `append` returns; `sync` brings it to the
disk. A segment is never continued by another process: opening reads the old ones and starts a new one.

Samples are told relative to the ones before them in the segment (wal_kernels.py), so a segment needs none but the names
of series from those before it.
"""

import errno
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import cramjam
import numpy as np
from numpy.typing import NDArray

from observe.durable import sync_folder
from observe.errors import StorageError
from observe.model import Labels
from observe.store.wal_kernels import MOST_BYTES, write_samples

MAGIC = b"OBSWAL01"
_HEAD = struct.Struct("<HBBII")
"""Magic, type, zero, length, CRC-32 of the first eight bytes and the payload."""
_MARK = 0xB10C
_FRAME = struct.Struct("<IIII")
"""Vector of ids, rows, width, sum of the bits."""
_MOST_VECTORS = 8192


OwnedSeries = Mapping[str, Sequence[tuple[int, Labels]]]
"""Ids and names of series by who they belong to; "" is nobody."""


class Kind(IntEnum):
    SERIES = 1
    VECTOR = 2
    FRAME = 3
    EXEMPLARS = 4
    METADATA = 5
    CHECKPOINT = 6


_KINDS = frozenset(int(kind) for kind in Kind)


@dataclass(frozen=True, slots=True)
class Record:
    segment: int
    kind: Kind
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of the log that say nothing any more."""

    path: Path
    size: int
    torn: bool
    """At the end of a segment: a write that a crash cut off, never acknowledged."""


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
        path = self.path(segment)
        data = path.read_bytes()
        view = memoryview(data)
        at = len(MAGIC) if data.startswith(MAGIC) else 0
        spans: list[tuple[int, int]] = []
        lost: list[Damage] = []
        while at < len(data):
            found = _record_at(view, at)
            if found is None:
                following = _next_record(data, view, at + 1)
                lost.append(Damage(path, (len(data) if following is None else following) - at, following is None))
                if following is None:
                    break
                at = following
                continue
            kind, payload = found
            end = at + _HEAD.size + len(payload)
            spans.append((at, end))
            at = end
            if kind is not None:
                yield Record(segment, kind, payload)
        damages.extend(lost)
        if lost and self._repair:
            self._set_aside(path, data, spans, keep=any(not damage.torn for damage in lost))

    def _set_aside(self, path: Path, data: bytes, spans: Sequence[tuple[int, int]], *, keep: bool) -> None:
        """Leave only whole records in a segment; the damaged original stays beside it where it may hold more."""
        beside = path.with_suffix(".tmp")
        with beside.open("wb") as file:
            file.write(MAGIC + b"".join(data[low:high] for low, high in spans))
            file.flush()
            os.fsync(file.fileno())
        if keep:
            path.replace(path.with_suffix(".damaged"))
        beside.replace(path)
        sync_folder(path.parent)

    # ------------------------------------------------------------ writing

    def rotate(self) -> int:
        """Begin a new segment; returns its number."""
        number = self.segment + 1
        path = self.path(number)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                _write_whole(file, MAGIC)
            except OSError:
                os.close(file)
                path.unlink(missing_ok=True)
                raise
            sync_folder(self._folder)
        except OSError as error:
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
        head = _HEAD.pack(_MARK, kind, 0, len(payload), 0)[:8]
        check = zlib.crc32(payload, zlib.crc32(head))
        self._write(head + struct.pack("<I", check) + payload)

    def append_checkpoint(self, first: int) -> None:
        """Say that from segment `first` on the log names every series that lived when it began."""
        self.append(Kind.CHECKPOINT, first.to_bytes(8, "little"))

    def append_series(self, named: OwnedSeries) -> None:
        """Name series, by owner."""
        rows: list[str | list[int | str]] = []
        for owner, series in named.items():
            rows.append(owner)
            rows += ([number, *(word for pair in labels.pairs for word in pair)] for number, labels in series)
        self.append(Kind.SERIES, compress(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()))

    def append_frame(
        self, ids: NDArray[np.uint32], slots: NDArray[np.uint32], times: NDArray[np.int64], raw: NDArray[np.uint64],
    ) -> None:
        """Write samples ``raw[t, n]`` (as bits). `slots` are the rows of `ids` in the head."""
        self._ready()
        vector, highest = self._known(ids, slots)
        rows, width = raw.shape
        begin = _HEAD.size + _FRAME.size + 8 * rows
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
            _FRAME.pack_into(view, _HEAD.size, vector, rows, width, total)
            view[begin - 8 * rows : begin] = times.astype("<i8", copy=False).tobytes()
            _HEAD.pack_into(view, 0, _MARK, Kind.FRAME, 0, end - _HEAD.size, 0)
            check = zlib.crc32(view[_HEAD.size :], zlib.crc32(view[:8]))
            _HEAD.pack_into(view, 0, _MARK, Kind.FRAME, 0, end - _HEAD.size, check)
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
        steps = np.diff(ids, prepend=np.uint32(0))
        self.append(Kind.VECTOR, struct.pack("<I", number) + compress(steps.tobytes()))
        self._vectors[key] = number
        return number

    def _ready(self) -> None:
        if self._file < 0 or self._size >= self._segment_bytes:
            self.rotate()

    def _write(self, data: bytes | memoryview) -> None:
        try:
            _write_whole(self._file, data)
        except OSError as error:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._size = self._segment_bytes  # half a record at the end: go on in another segment
            raise self._refused(error) from error
        self._size += len(data)
        self._written += 1
        self._dirty = True

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write to the log {self._folder}: {error.strerror}; samples are refused until there is room: "
            "free some space there, or lower the retention",
        )

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


def _write_whole(file: int, data: bytes | memoryview) -> None:
    if os.write(file, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def compress(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data, 1))


def decompress(data: bytes | memoryview) -> bytes:
    return bytes(cramjam.zstd.decompress(data))


def _record_at(view: memoryview, at: int) -> tuple[Kind | None, memoryview] | None:
    """The record at this place, or None. Its kind is None where a newer version wrote it."""
    if at + _HEAD.size > len(view):
        return None
    mark, kind, _, length, check = _HEAD.unpack_from(view, at)
    begin = at + _HEAD.size
    if mark != _MARK or begin + length > len(view):
        return None
    payload = view[begin : begin + length]
    if zlib.crc32(payload, zlib.crc32(view[at : at + 8])) != check:
        return None
    return (Kind(kind) if kind in _KINDS else None), payload


def _next_record(data: bytes, view: memoryview, at: int) -> int | None:
    """Where the next whole record begins."""
    mark = struct.pack("<H", _MARK)
    while (at := data.find(mark, at)) >= 0:
        if _record_at(view, at) is not None:
            return at
        at += 1
    return None


def parse_checkpoint(payload: memoryview) -> int:
    """The segment from which on all series are named."""
    return int.from_bytes(payload, "little")


def parse_series(payload: memoryview) -> OwnedSeries:
    """A text among the rows is the owner of those that follow it; before the first they are nobody's."""
    owner = ""
    named: dict[str, list[tuple[int, Labels]]] = {}
    for row in json.loads(decompress(payload)):
        if isinstance(row, str):
            owner = row
        else:
            labels = Labels.from_sorted(tuple(zip(row[1::2], row[2::2], strict=True)))
            named.setdefault(owner, []).append((row[0], labels))
    return named


def parse_vector(payload: memoryview) -> tuple[int, NDArray[np.uint32]]:
    steps = np.frombuffer(decompress(payload[4:]), np.uint32)
    return struct.unpack_from("<I", payload)[0], np.cumsum(steps, dtype=np.uint32)


def parse_frame(payload: memoryview) -> tuple[int, int, int, int, NDArray[np.int64], NDArray[np.uint8], int]:
    """Vector, rows, width, sum, times, and where in the payload the samples begin."""
    vector, rows, width, total = _FRAME.unpack_from(payload)
    begin = _FRAME.size + 8 * rows
    times = np.frombuffer(payload[_FRAME.size : begin], "<i8")
    return vector, rows, width, total, times, np.frombuffer(payload, np.uint8), begin
