"""One segment of the metric store's log: records, and what is left of them after a crash or decay.

A segment begins with a magic; then records: head (magic, type, length, CRC-32) and payload.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from observe.durable import sync_folder

MAGIC: Final = b"OBSWAL01"
_HEAD: Final = struct.Struct("<HBBII")
"""Magic, type, zero, length, CRC-32 of the first eight bytes and the payload."""
HEAD_BYTES: Final = _HEAD.size
_MARK: Final = 0xB10C


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


def whole_record(kind: Kind, payload: bytes) -> bytearray:
    """Head and payload."""
    record = bytearray(HEAD_BYTES + len(payload))
    record[HEAD_BYTES:] = payload
    seal_record(kind, memoryview(record))
    return record


def seal_record(kind: Kind, record: memoryview) -> None:
    """Write the head of a record whose payload is in its place, after `HEAD_BYTES`."""
    size = len(record) - HEAD_BYTES
    _HEAD.pack_into(record, 0, _MARK, kind, 0, size, 0)
    check = zlib.crc32(record[HEAD_BYTES:], zlib.crc32(record[:8]))
    _HEAD.pack_into(record, 0, _MARK, kind, 0, size, check)


def read_records(path: Path, segment: int, damages: list[Damage], *, repair: bool) -> Iterator[Record]:
    """Whole records of a segment; damage is told in `damages` and passed over, and with `repair` set aside."""
    data = path.read_bytes()
    view = memoryview(data)
    at = len(MAGIC) if data.startswith(MAGIC) else 0
    spans: list[tuple[int, int]] = []
    lost: list[Damage] = []
    while at < len(data):
        found = record_at(view, at)
        if found is None:
            following = _next_record(data, view, at + 1)
            lost.append(Damage(path, (len(data) if following is None else following) - at, following is None))
            if following is None:
                break
            at = following
            continue
        kind, payload = found
        end = at + HEAD_BYTES + len(payload)
        spans.append((at, end))
        at = end
        if kind is not None:
            yield Record(segment, kind, payload)
    damages.extend(lost)
    if lost and repair:
        _set_aside(path, data, spans, keep=any(not damage.torn for damage in lost))


def _set_aside(path: Path, data: bytes, spans: Sequence[tuple[int, int]], *, keep: bool) -> None:
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


def record_at(view: memoryview, at: int) -> tuple[Kind | None, memoryview] | None:
    """The record at this place, or None. Its kind is None where a newer version wrote it."""
    if at + HEAD_BYTES > len(view):
        return None
    mark, kind, _, length, check = _HEAD.unpack_from(view, at)
    begin = at + HEAD_BYTES
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
        if record_at(view, at) is not None:
            return at
        at += 1
    return None
