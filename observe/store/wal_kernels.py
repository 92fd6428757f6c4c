"""Samples on their way into and out of the write-ahead log.

Each sample is told by two bits and some bytes, relative to the sample of its series before it in the same segment (0
where there is none): 0 the same bits; 1 both are integers, the difference follows as a zigzag varint; 2 the
exclusive-or of the bits follows, without its leading and trailing zero bytes; 3 no sample. The sum over all bits tells
a reader who lost a record whether it still knows what the others were relative to.
"""

# mypy: disable-error-code="arg-type,assignment,no-any-return,return-value"
# Numba unifies integers; the stubs of NumPy tell its scalars and int apart.

import numpy as np
from numpy.typing import NDArray

from observe.jit import kernel
from observe.model.nans import ABSENT_NAN_BITS

Words = NDArray[np.uint64]
Ids = NDArray[np.uint32]
Bytes = NDArray[np.uint8]

_SAME, _STEP, _XOR, _ABSENT = range(4)
_EXACT = 9007199254740992.0
_MIX = 0x9E3779B97F4A7C15
_NO_SLOT = 0xFFFF_FFFF
MOST_BYTES = 10
"""A sample takes no more than this, the two bits aside."""


@kernel
def write_samples(slots: Ids, raw: Words, before: Words, out: Bytes, at: int) -> tuple[int, int]:
    """Write ``raw[t, n]`` of the series in ``slots[n]`` to ``out[at:]``; returns the end and the sum.

    ``before[slot]`` is the last value of a series, kept up to date.
    """
    rows, width = raw.shape
    body = at + (rows * width + 3) // 4
    for i in range(at, body):
        out[i] = 0
    absent = np.uint64(ABSENT_NAN_BITS)
    total = np.uint64(0)
    index = 0
    was_bits = np.empty(1, np.uint64)
    was = was_bits.view(np.float64)
    now_bits = np.empty(1, np.uint64)
    now = now_bits.view(np.float64)
    for t in range(rows):
        for n in range(width):
            bits = raw[t, n]
            slot = slots[n]
            code = _SAME
            if bits == absent or slot == np.uint32(_NO_SLOT):
                code = _ABSENT
            else:
                total = (total ^ bits) * np.uint64(_MIX)
                total ^= total >> np.uint64(29)
                was_bits[0] = before[slot]
                if bits != was_bits[0]:
                    now_bits[0] = bits
                    code = _XOR
                    if -_EXACT < now[0] < _EXACT and -_EXACT < was[0] < _EXACT:
                        whole = np.int64(now[0])
                        old = np.int64(was[0])
                        if whole == now[0] and old == was[0] and (whole != 0 or bits == np.uint64(0)):
                            code = _STEP
                            step = whole - old
                            number = np.uint64(step << np.int64(1)) ^ np.uint64(step >> np.int64(63))
                            while number >= np.uint64(128):
                                out[body] = np.uint8(number & np.uint64(127)) | np.uint8(128)
                                body += 1
                                number >>= np.uint64(7)
                            out[body] = np.uint8(number)
                            body += 1
                    if code == _XOR:
                        change = bits ^ was_bits[0]
                        low = 0
                        while change & np.uint64(255) == np.uint64(0):
                            change >>= np.uint64(8)
                            low += 1
                        header = body
                        body += 1
                        size = 0
                        while change != np.uint64(0):
                            out[body] = np.uint8(change & np.uint64(255))
                            body += 1
                            size += 1
                            change >>= np.uint64(8)
                        out[header] = np.uint8(low << 4 | size)
                    before[slot] = bits
            out[at + (index >> 2)] |= np.uint8(code << ((index & 3) * 2))
            index += 1
    return body, np.int64(total ^ (total >> np.uint64(32))) & np.int64(0xFFFFFFFF)


@kernel
def read_samples(slots: Ids, rows: int, before: Words, data: Bytes, at: int, raw: Words) -> tuple[int, int]:
    """The inverse: fill ``raw[t, n]``; returns the end and the sum. Reads nothing behind the end of `data`."""
    width = slots.size
    body = at + (rows * width + 3) // 4
    absent = np.uint64(ABSENT_NAN_BITS)
    total = np.uint64(0)
    index = 0
    limit = data.size
    was_bits = np.empty(1, np.uint64)
    was = was_bits.view(np.float64)
    now_bits = np.empty(1, np.uint64)
    now = now_bits.view(np.float64)
    if body > limit:
        return -1, 0
    for t in range(rows):
        for n in range(width):
            code = data[at + (index >> 2)] >> np.uint8((index & 3) * 2) & np.uint8(3)
            index += 1
            if code == _ABSENT:
                raw[t, n] = absent
                continue
            slot = slots[n]
            known = slot != np.uint32(_NO_SLOT)
            was_bits[0] = before[slot] if known else np.uint64(0)
            bits = was_bits[0]
            if code == _STEP:
                number = np.uint64(0)
                shift = np.uint64(0)
                while True:
                    if body >= limit:
                        return -1, 0
                    byte = data[body]
                    body += 1
                    number |= np.uint64(byte & np.uint8(127)) << shift
                    shift += np.uint64(7)
                    if byte < np.uint8(128) or shift > np.uint64(63):
                        break
                step = np.int64(number >> np.uint64(1)) ^ -np.int64(number & np.uint64(1))
                now[0] = np.float64(np.int64(was[0]) + step) if -_EXACT < was[0] < _EXACT else 0.0
                bits = now_bits[0]
            elif code == _XOR:
                if body >= limit:
                    return -1, 0
                low = np.uint64(data[body] >> np.uint8(4))
                size = np.int64(data[body] & np.uint8(15))
                body += 1
                if body + size > limit:
                    return -1, 0
                change = np.uint64(0)
                for i in range(size):
                    change |= np.uint64(data[body + i]) << np.uint64(8 * i)
                body += size
                bits = was_bits[0] ^ change << (np.uint64(8) * low)
            total = (total ^ bits) * np.uint64(_MIX)
            total ^= total >> np.uint64(29)
            raw[t, n] = bits
            if known:
                before[slot] = bits
    return body, np.int64(total ^ (total >> np.uint64(32))) & np.int64(0xFFFFFFFF)


@kernel
def count_samples(raw: Words) -> int:
    """How many of these bits are samples."""
    absent = np.uint64(ABSENT_NAN_BITS)
    found = 0
    rows, width = raw.shape
    for t in range(rows):
        for n in range(width):
            if raw[t, n] != absent:
                found += 1
    return found


def compile_all() -> None:
    slots, raw, before = np.zeros(1, np.uint32), np.zeros((1, 1), np.uint64), np.zeros(1, np.uint64)
    out = np.zeros(32, np.uint8)
    write_samples(slots, raw, before, out, 0)
    read_samples(slots, 1, before, out, 0, raw)
    frozen = np.frombuffer(bytes(32), np.uint8)
    read_samples(slots, 1, before, frozen, 0, raw)
    count_samples(raw)
