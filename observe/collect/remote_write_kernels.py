"""Decode Prometheus' remote-write message into columns, without a Python object a sample.

The message is protobuf: ``WriteRequest{1: TimeSeries, 3: MetricMetadata}`` with ``TimeSeries{1: Label, 2: Sample{1:
double, 2: int64}, 3: Exemplar, 4: Histogram}``. Labels stay bytes: a series comes with the same ones again and again.
"""

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel

OK, TRUNCATED, WIRE_TYPE, SCATTERED = 0, 1, 2, 3
"""How a walk ended: well; a field reaches beyond its end; a wire type that the message has not; labels not together."""
SERIES, SAMPLES, EXEMPLARS, METADATA, HISTOGRAMS = 0, 1, 2, 3, 4
"""Places in the array of counts."""


@inlined
def read_varint(data: NDArray[np.uint8], pos: int, end: int) -> tuple[np.uint64, int]:
    """A varint and the place after it; -1 where it is cut."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while pos < end and shift < np.uint64(70):
        byte = np.uint64(data[pos])
        pos += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return value, pos
        shift += np.uint64(7)
    return value, -1


@inlined
def skip_field(data: NDArray[np.uint8], pos: int, end: int, wire: int) -> int:
    """The place after a field of this wire type; -1 where it is cut, -2 for a type that is not known."""
    if wire == 0:
        _, pos = read_varint(data, pos, end)
        return pos
    if wire in (1, 5):
        pos += 8 if wire == 1 else 4
        return pos if pos <= end else -1
    if wire == 2:
        length, pos = read_varint(data, pos, end)
        if pos < 0 or length > np.uint64(end - pos):
            return -1
        return pos + int(length)
    return -2


@inlined
def read_sample(
    data: NDArray[np.uint8], pos: int, end: int, times: NDArray[np.int64], bits: NDArray[np.uint64], at: int,
) -> int:
    """One Sample into ``times[at]`` and ``bits[at]``."""
    times[at] = 0
    bits[at] = np.uint64(0)
    while pos < end:
        tag, pos = read_varint(data, pos, end)
        if pos < 0:
            return TRUNCATED
        if tag == np.uint64(9):
            if pos + 8 > end:
                return TRUNCATED
            word = np.uint64(0)
            for n in range(8):
                word |= np.uint64(data[pos + n]) << np.uint64(8 * n)
            bits[at] = word
            pos += 8
        elif tag == np.uint64(16):
            value, pos = read_varint(data, pos, end)
            if pos < 0:
                return TRUNCATED
            times[at] = np.int64(value)
        else:
            pos = skip_field(data, pos, end, int(tag & np.uint64(7)))
            if pos < 0:
                return TRUNCATED if pos == -1 else WIRE_TYPE
    return OK


@kernel
def walk(
    data: NDArray[np.uint8], fill: bool, labels: NDArray[np.int64], offsets: NDArray[np.int64],
    times: NDArray[np.int64], bits: NDArray[np.uint64], exemplars: NDArray[np.int64], metadata: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Walk over a WriteRequest: without `fill` only `counts` is set, with it all arrays are, which have these sizes.

    `labels` [S, 2] is where each series' labels begin and end; `exemplars` [E, 3] is (series, begin, end).
    """
    counts[:] = 0
    size = len(data)
    pos = 0
    while pos < size:
        tag, pos = read_varint(data, pos, size)
        if pos < 0:
            return TRUNCATED
        if tag == np.uint64(26):  # 3: metadata
            length, pos = read_varint(data, pos, size)
            if pos < 0 or length > np.uint64(size - pos):
                return TRUNCATED
            if fill:
                metadata[counts[METADATA], 0] = pos
                metadata[counts[METADATA], 1] = pos + int(length)
            counts[METADATA] += 1
            pos += int(length)
            continue
        if tag != np.uint64(10):
            pos = skip_field(data, pos, size, int(tag & np.uint64(7)))
            if pos < 0:
                return TRUNCATED if pos == -1 else WIRE_TYPE
            continue
        length, pos = read_varint(data, pos, size)
        if pos < 0 or length > np.uint64(size - pos):
            return TRUNCATED
        end = pos + int(length)
        first = last = pos
        any_label = False
        if fill:
            offsets[counts[SERIES]] = counts[SAMPLES]
        while pos < end:
            start = pos
            tag, pos = read_varint(data, pos, end)
            if pos < 0:
                return TRUNCATED
            field = int(tag >> np.uint64(3))
            wire = int(tag & np.uint64(7))
            if wire != 2:
                pos = skip_field(data, pos, end, wire)
                if pos < 0:
                    return TRUNCATED if pos == -1 else WIRE_TYPE
                continue
            length, pos = read_varint(data, pos, end)
            if pos < 0 or length > np.uint64(end - pos):
                return TRUNCATED
            inner = pos + int(length)
            if field == 1:
                if any_label and last != start:
                    return SCATTERED
                if not any_label:
                    first = start
                any_label = True
                last = inner
            elif field == 2:
                if fill:
                    status = read_sample(data, pos, inner, times, bits, counts[SAMPLES])
                    if status != OK:
                        return status
                counts[SAMPLES] += 1
            elif field == 3:
                if fill:
                    exemplars[counts[EXEMPLARS], 0] = counts[SERIES]
                    exemplars[counts[EXEMPLARS], 1] = pos
                    exemplars[counts[EXEMPLARS], 2] = inner
                counts[EXEMPLARS] += 1
            elif field == 4:
                counts[HISTOGRAMS] += 1
            pos = inner
        if fill:
            labels[counts[SERIES], 0] = first
            labels[counts[SERIES], 1] = last
            offsets[counts[SERIES] + 1] = counts[SAMPLES]
        counts[SERIES] += 1
    return OK


def compile_all() -> None:
    """Call every kernel once with the types of production."""
    none = np.empty((0, 2), np.int64)
    walk(np.frombuffer(b"", np.uint8), False, none, np.zeros(1, np.int64), np.empty(0, np.int64),
         np.empty(0, np.uint64), np.empty((0, 3), np.int64), none, np.zeros(5, np.int64))
