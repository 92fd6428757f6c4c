"""Bands' state as bytes: a header, then chunks of some thousand series, each with its length and checksum.

Chunk: magic ``OBB1``, length of names, of arrays, CRC-32 of both, then the names (JSON, one list of label pairs a
series) and the columns, compressed. A torn, foreign or older state is refused by `StorageError`: it is a cache of what
the store holds, so the engine then folds it again from there.
"""

import gc
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from observe.detect.columns import BLOCK_SERIES, Array
from observe.detect.slots import SlotTable
from observe.errors import StorageError
from observe.model import Labels

_MAGIC = b"OBB1"
_HEAD = struct.Struct("<4sIQI")
VERSION = 1
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
    for first in firsts:
        block = slots.blocks[first // BLOCK_SERIES]
        owners = slots.owner[first : min(first + CHUNK_SERIES, (first // BLOCK_SERIES + 1) * BLOCK_SERIES)]
        offsets = np.array([at for at, name in enumerate(owners) if name is not None], np.int64) + first % BLOCK_SERIES
        names = json.dumps([name.pairs for name in owners if name is not None], ensure_ascii=False)
        raw = b"".join(array.tobytes() for array in block.take(offsets).values())
        yield _chunk(names.encode("utf-8", "surrogatepass"), bytes(cramjam.lz4.compress_block(raw, store_size=True)))


def read(state: bytes, slots: SlotTable, identity: str) -> dict[str, Any]:
    """Fill an empty table; returns what was `beside`. Raises StorageError where the bytes cannot be trusted."""
    view = memoryview(state)
    head, _, at = _next(view, 0)
    header = json.loads(head)
    if header.get("version") != VERSION or header.get("identity") != identity:
        raise StorageError(
            f"the saved bands are of another kind ({header.get('identity')}, version {header.get('version')}; wanted: "
            f"{identity}, version {VERSION}); they are learned again from the store",
        )
    collecting = gc.isenabled()
    gc.disable()  # a million names are made and none is garbage: looking for it was over half of the time
    try:
        for _ in range(header["chunks"]):
            names, arrays, at = _next(view, at)
            _fill(slots, json.loads(names), arrays)
    finally:
        if collecting:
            gc.enable()
    if at != len(view):
        extra = len(view) - at
        raise StorageError(f"the saved bands have {extra} bytes too many; they are learned again from the store")
    beside: dict[str, Any] = header.get("beside", {})
    return beside


def _next(view: memoryview, at: int) -> tuple[bytes, bytes, int]:
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
    return bytes(names), bytes(arrays), end


def _fill(slots: SlotTable, names: list[list[tuple[str, str]]], packed: bytes) -> None:
    import cramjam

    if not names:
        return
    raw = memoryview(bytes(cramjam.lz4.decompress_block(packed)))
    values: dict[str, Array] = {}
    at, count = 0, len(names)
    for column in slots.columns:
        size = column.bytes_per_series * count
        shape = (count, column.rows) if column.by_series else (column.rows, count)
        values[column.name] = np.frombuffer(raw[at : at + size], column.dtype).reshape(shape)
        at += size
    owners = [Labels.from_sorted(tuple((name, value) for name, value in pairs)) for pairs in names]
    places = slots.place(owners)
    for number in np.unique(places // BLOCK_SERIES):
        mine = places // BLOCK_SERIES == number
        part = {
            column.name: values[column.name][mine] if column.by_series else values[column.name][:, mine]
            for column in slots.columns
        }
        slots.blocks[int(number)].put(places[mine] % BLOCK_SERIES, part)
