"""Bands' state as bytes: a header, then chunks of some thousand series, each with its length and checksum.

Chunk: magic ``OBB1``, length of names, of arrays, CRC-32 of both, then the names (JSON, one list of label pairs a
series) and the columns, compressed. A torn, foreign or older state is refused by `StorageError`: it is a cache of what
the store holds, so the engine then folds it again from there.
"""

import gc
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observe.detect.columns import BLOCK_SERIES, Array, Column
from observe.detect.slots import SlotTable
from observe.distinct import distinct
from observe.errors import StorageError
from observe.model import Labels

_MAGIC = b"OBB1"
_HEAD = struct.Struct("<4sIQI")
VERSION = 2
CHUNK_SERIES = 4_096
"""Series of one chunk: a step waits for no more than that."""


def _chunk(names: bytes, arrays: bytes) -> bytes:
    checksum = zlib.crc32(arrays, zlib.crc32(names))
    return _HEAD.pack(_MAGIC, len(names), len(arrays), checksum) + names + arrays


def write(slots: SlotTable, identity: str, beside: Mapping[str, Any] | None = None) -> Iterator[bytes]:
    """Chunks of the state. Between two of them the state may move on. `beside` is what goes with all series."""
    import cramjam

    firsts = [
        number * BLOCK_SERIES + first
        for number, block in enumerate(slots.blocks) for first in range(0, block.used, CHUNK_SERIES)
    ]
    header = {"version": VERSION, "identity": identity, "chunks": len(firsts), "beside": dict(beside or {})}
    yield _chunk(json.dumps(header).encode(), b"")
    buffer = _buffer(slots)
    for first in firsts:
        block = slots.blocks[first // BLOCK_SERIES]
        owners = slots.owner[first : min(first + CHUNK_SERIES, (first // BLOCK_SERIES + 1) * BLOCK_SERIES)]
        offsets = np.array([at for at, name in enumerate(owners) if name is not None], np.int64) + first % BLOCK_SERIES
        names = json.dumps([name.pairs for name in owners if name is not None], ensure_ascii=False)
        values, size = _laid_out(slots.columns, len(offsets), buffer)
        block.copy(offsets, values)
        packed = bytes(cramjam.lz4.compress_block(buffer.data[:size], store_size=True))
        yield _chunk(names.encode("utf-8", "surrogatepass"), packed)


def _buffer(slots: SlotTable) -> NDArray[np.uint8]:
    """Room for the columns of one chunk, used again for each: fresh pages cost more than what is done with them."""
    return np.empty(CHUNK_SERIES * sum(column.bytes_per_series for column in slots.columns), np.uint8)


def _laid_out(columns: Sequence[Column], count: int, buffer: NDArray[np.uint8]) -> tuple[dict[str, Array], int]:
    """Columns of so many series, one after the other in a buffer; and how many bytes of it they are."""
    values: dict[str, Array] = {}
    at = 0
    for column in columns:
        shape = (count, column.rows) if column.by_series else (column.rows, count)
        values[column.name] = np.ndarray(shape, column.dtype, buffer.data, at)
        at += column.bytes_per_series * count
    return values, at


def read(view: memoryview, at: int, slots: SlotTable, identity: str) -> tuple[dict[str, Any], int]:
    """Fill an empty table from the state at `at`; returns what was `beside`, and where the state ends.

    Raises StorageError where the bytes cannot be trusted.
    """
    head, _, at = _next(view, at)
    header = json.loads(head)
    if header.get("version") != VERSION or header.get("identity") != identity:
        raise StorageError(
            f"the saved bands are of another kind ({header.get('identity')}, version {header.get('version')}; wanted: "
            f"{identity}, version {VERSION}); they are learned again from the store",
        )
    collecting = gc.isenabled()
    gc.disable()  # a million names are made and none is garbage: looking for it was over half of the time
    try:
        buffer = _buffer(slots)
        for _ in range(header["chunks"]):
            names, arrays, at = _next(view, at)
            _fill(slots, json.loads(names), arrays, buffer)
    finally:
        if collecting:
            gc.enable()
    beside: dict[str, Any] = header.get("beside", {})
    return beside, at


def expect_end(view: memoryview, at: int) -> None:
    if at != len(view):
        extra = len(view) - at
        raise StorageError(f"the saved bands have {extra} bytes too many; they are learned again from the store")


def _next(view: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    torn = StorageError(f"the saved bands are torn at byte {at} of {len(view)}; they are learned again from the store")
    if len(view) - at < _HEAD.size:
        raise torn
    magic, names_bytes, arrays_bytes, checksum = _HEAD.unpack_from(view, at)
    at += _HEAD.size
    end = at + names_bytes + arrays_bytes
    if magic != _MAGIC or end > len(view):
        raise torn
    names, arrays = view[at : at + names_bytes], view[at + names_bytes : end]
    if zlib.crc32(arrays, zlib.crc32(names)) != checksum:
        raise torn
    return bytes(names), arrays, end


def _fill(slots: SlotTable, names: list[list[tuple[str, str]]], packed: memoryview, buffer: NDArray[np.uint8]) -> None:
    import cramjam

    if not names:
        return
    values, size = _laid_out(slots.columns, len(names), buffer)
    cramjam.lz4.decompress_block_into(packed, buffer.data[:size])
    owners = [Labels.from_sorted(tuple([(name, value) for name, value in pairs])) for pairs in names]
    places = slots.place(owners)
    for number in distinct(places // BLOCK_SERIES).tolist():
        mine = places // BLOCK_SERIES == number
        part = values if mine.all() else {
            column.name: values[column.name][mine] if column.by_series else values[column.name][:, mine]
            for column in slots.columns
        }
        slots.blocks[number].put(places[mine] % BLOCK_SERIES, part)
