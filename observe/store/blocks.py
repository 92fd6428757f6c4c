"""The bytes of a spool segment: blocks of entries, each found, checked and read on its own.

::

    header (56 bytes)  magic "OSB1", body length, crc32 of the body, entries, first sequence number, oldest and newest
                       time (ns), length of the payload before compression, crc32 of the header
    body               keys uint64[entries] (0: this entry has no identity), then the payload, zstd-compressed:
                       lengths uint32[entries] and the entries themselves

The keys stand outside the compression, so that opening a segment learns what it holds without decoding it. There
are two checksums, because a length that cannot be trusted must not decide where the next block begins.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cramjam
import numpy as np
from numpy.typing import NDArray

from observe.errors import StorageError

MAGIC: Final = b"OSB1"
_HEADER = struct.Struct("<4sIIIqqqII")
HEADER_BYTES: Final = _HEADER.size + 4
_LEVEL = 1  # level 3 costs twice the time and packs no better on log lines (measured)

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class BlockHead:
    """Where a block lies and what it holds."""

    offset: int
    body_bytes: int
    body_crc: int
    count: int
    first_seq: int
    oldest_ns: int
    newest_ns: int
    raw_bytes: int

    @property
    def end(self) -> int:
        return self.offset + HEADER_BYTES + self.body_bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes ``[offset, end)`` that are no block. `torn`: nothing whole follows, which is the mark of a crash."""

    offset: int
    end: int
    torn: bool


def encode(entries: Sequence[bytes], keys: NDArray[np.uint64], times_ns: NDArray[np.int64], first_seq: int) -> bytes:
    """One block."""
    lengths = np.fromiter((len(entry) for entry in entries), np.uint32, len(entries))
    raw = lengths.tobytes() + b"".join(entries)
    body = keys.tobytes() + bytes(cramjam.zstd.compress(raw, level=_LEVEL))
    head = _HEADER.pack(
        MAGIC, len(body), zlib.crc32(body), len(entries), first_seq, int(times_ns.min()), int(times_ns.max()),
        len(raw), 0,
    )
    return head + struct.pack("<I", zlib.crc32(head)) + body


def head_at(data: Bytes, offset: int, base: int = 0) -> BlockHead | None:
    """The header at `offset` of `data`, or None where no valid one stands. `base` is added to the offset kept."""
    raw = bytes(data[offset : offset + HEADER_BYTES])
    if len(raw) < HEADER_BYTES or raw[:4] != MAGIC:
        return None
    if struct.unpack_from("<I", raw, _HEADER.size)[0] != zlib.crc32(raw[: _HEADER.size]):
        return None
    _, body_bytes, body_crc, count, first_seq, oldest, newest, raw_bytes, _ = _HEADER.unpack_from(raw)
    return BlockHead(base + offset, body_bytes, body_crc, count, first_seq, oldest, newest, raw_bytes)


def body_is_whole(head: BlockHead, body: Bytes) -> bool:
    return len(body) == head.body_bytes and zlib.crc32(body) == head.body_crc


def keys_of(head: BlockHead, body: Bytes) -> NDArray[np.uint64]:
    return np.frombuffer(body, np.uint64, head.count)


def entries_of(head: BlockHead, body: Bytes, wanted: Sequence[int] | None = None) -> list[bytes]:
    """The entries (or those at the places in `wanted`) of a body that was found whole."""
    try:
        raw = bytes(cramjam.zstd.decompress(bytes(body[8 * head.count :]), output_len=head.raw_bytes))
    except cramjam.DecompressionError as error:
        raise StorageError(f"a block at byte {head.offset} passes its checksum but does not unpack: {error}") from error
    lengths = np.frombuffer(raw, np.uint32, head.count).astype(np.int64)
    ends = 4 * head.count + np.cumsum(lengths)
    starts = ends - lengths
    places = range(head.count) if wanted is None else wanted
    return [raw[starts[place] : ends[place]] for place in places]


def scan(data: bytes) -> Iterator[BlockHead | Damage]:
    """Every whole block of a segment in order, and the damage between them."""
    position, size = 0, len(data)
    while position < size:
        head = _whole(data, position)
        if head is not None:
            yield head
            position = head.end
            continue
        following = _next_whole(data, position + 1)
        if following is None:
            yield Damage(position, size, torn=True)
            return
        yield Damage(position, following, torn=False)
        position = following


def _whole(data: bytes, offset: int) -> BlockHead | None:
    head = head_at(data, offset)
    if head is None or head.end > len(data):
        return None
    return head if body_is_whole(head, memoryview(data)[offset + HEADER_BYTES : head.end]) else None


def _next_whole(data: bytes, start: int) -> int | None:
    position = data.find(MAGIC, start)
    while position >= 0:
        if _whole(data, position) is not None:
            return position
        position = data.find(MAGIC, position + 1)
    return None
