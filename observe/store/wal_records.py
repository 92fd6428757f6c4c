"""What the records of the metric store's log say: each kind written by one function and read by another."""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.model import Exemplar, Labels, MetricMetadata
from observe.store.zstd import compress, decompress

FRAME: Final = struct.Struct("<IIII")
"""How a frame of samples begins: vector of ids, rows, width, sum of the bits; the times follow, then the samples."""

OwnedSeries = Mapping[str, Sequence[tuple[int, Labels]]]
"""Ids and names of series by who they belong to; "" is nobody."""


def series(named: OwnedSeries) -> bytes:
    rows: list[str | list[int | str]] = []
    for owner, members in named.items():
        rows.append(owner)
        rows += ([number, *(word for pair in labels.pairs for word in pair)] for number, labels in members)
    return _packed(rows)


def parse_series(payload: memoryview) -> OwnedSeries:
    """A text among the rows is the owner of those that follow it; before the first they are nobody's."""
    owner = ""
    named: dict[str, list[tuple[int, Labels]]] = {}
    for row in _unpacked(payload):
        if isinstance(row, str):
            owner = row
        else:
            labels = Labels.from_sorted(tuple(zip(row[1::2], row[2::2], strict=True)))
            named.setdefault(owner, []).append((row[0], labels))
    return named


def exemplars(told: Sequence[Exemplar]) -> bytes:
    return _packed([
        [*one.series.pairs, None, *one.labels.pairs, None, one.value, one.timestamp_ms] for one in told
    ])


def parse_exemplars(payload: memoryview) -> Iterator[Exemplar]:
    for row in _unpacked(payload):
        split = row.index(None)
        end = row.index(None, split + 1)
        yield Exemplar(
            Labels((name, value) for name, value in row[:split]),
            Labels((name, value) for name, value in row[split + 1 : end]),
            row[-2], row[-1],
        )


def metadata(told: Mapping[str, MetricMetadata]) -> bytes:
    return _packed({name: [one.type, one.help, one.unit] for name, one in told.items()})


def parse_metadata(payload: memoryview) -> dict[str, MetricMetadata]:
    return {name: MetricMetadata(*told) for name, told in _unpacked(payload).items()}


def vector(number: int, ids: NDArray[np.uint32]) -> bytes:
    """The ids that frames name by this number."""
    steps = np.diff(ids, prepend=np.uint32(0))
    return struct.pack("<I", number) + compress(steps.tobytes())


def parse_vector(payload: memoryview) -> tuple[int, NDArray[np.uint32]]:
    steps = np.frombuffer(decompress(payload[4:]), np.uint32)
    return struct.unpack_from("<I", payload)[0], np.cumsum(steps, dtype=np.uint32)


def parse_frame(payload: memoryview) -> tuple[int, int, int, int, NDArray[np.int64], NDArray[np.uint8], int]:
    """Vector, rows, width, sum, times, and where in the payload the samples begin."""
    number, rows, width, total = FRAME.unpack_from(payload)
    begin = FRAME.size + 8 * rows
    times = np.frombuffer(payload[FRAME.size : begin], "<i8")
    return number, rows, width, total, times, np.frombuffer(payload, np.uint8), begin


def checkpoint(first: int) -> bytes:
    """From segment `first` on the log names every series that lived when it began."""
    return first.to_bytes(8, "little")


def parse_checkpoint(payload: memoryview) -> int:
    return int.from_bytes(payload, "little")


def _packed(rows: Any) -> bytes:
    return compress(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode())


def _unpacked(payload: memoryview) -> Any:
    return json.loads(decompress(payload))
