"""Walk a page of metrics against the layout of the scrape before it, and read only the numbers.

A page is key, value, rest of the line, again and again. A key is every byte before a value: comment lines, name,
labels and blanks. Keys repeat from scrape to scrape, so they are compared, not parsed. Numbers are read exactly as C's
strtod does: by one exact multiplication where that is possible (Clinger 1990), else by a 128-bit product (Lemire,
"Number parsing at a gigabyte per second", 2021); the few that neither can settle are handed back.
"""

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel
from observe.model.nans import NORMAL_NAN_BITS

DONE, MISS, NEED_STAMPS, ODD_FULL = 0, 1, 2, 3
"""How a walk ended: all keys seen; a key differs; a line has a timestamp and there is no room for it; too many odd."""
ODD_VALUE, ODD_REST = 0, 1
"""What Python must finish: a number, or what follows a value."""
NO_STAMP = np.int64(-(2**63))

_NAN_BITS = np.uint64(NORMAL_NAN_BITS)
_POWERS = np.array([10.0**n for n in range(23)])
_LEAST, _MOST = -120, 120
"""Decimal exponents of the table; beyond them is Python's work."""


def _powers_of_five() -> NDArray[np.uint64]:
    """128-bit significands of 5**q, high and low words, [241, 2]: truncated upward of one, rounded up below it."""
    table = np.empty((_MOST - _LEAST + 1, 2), np.uint64)
    for q in range(_LEAST, _MOST + 1):
        five = 5 ** abs(q)
        if q >= 0:
            word = five << 128 >> five.bit_length()
        else:
            bits = (five - 1).bit_length()
            word = (1 << (bits + 127)) // five + 1 if q >= -27 else (1 << (2 * bits + 128)) // five + 1
            word >>= max(0, word.bit_length() - 128)
        table[q - _LEAST] = word >> 64, word & (2**64 - 1)
    return table


_FIVES = _powers_of_five()


@inlined
def product_high_low(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The 128-bit product of two 64-bit words."""
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    a_low, a_high = np.uint64(a) & mask, np.uint64(a) >> half
    b_low, b_high = np.uint64(b) & mask, np.uint64(b) >> half
    low = a_low * b_low
    cross = a_high * b_low + (low >> half)
    other = a_low * b_high + (cross & mask)
    return a_high * b_high + (cross >> half) + (other >> half), (other << half) | (low & mask)


@inlined
def scaled_bits(digits: np.uint64, exponent: int) -> np.uint64:
    """Bits of the double nearest to ``digits * 10**exponent``; 0 where this method cannot tell."""
    if exponent < _LEAST or exponent > _MOST:
        return np.uint64(0)
    word = np.uint64(digits)
    shift = 0
    while word & np.uint64(1 << 63) == np.uint64(0):
        word <<= np.uint64(1)
        shift += 1
    high, low = product_high_low(word, _FIVES[exponent - _LEAST, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = product_high_low(word, _FIVES[exponent - _LEAST, 1])
        before = low
        low += more
        if low < before:
            high += np.uint64(1)
    if low == np.uint64(0xFFFF_FFFF_FFFF_FFFF) and (exponent < -27 or exponent > 55):
        return np.uint64(0)
    top = high >> np.uint64(63)
    mantissa = high >> (top + np.uint64(9))
    power = ((217706 * exponent) >> 16) + 63 + int(top) - shift + 1023
    if power <= 0:
        return np.uint64(0)
    if low <= np.uint64(1) and -4 <= exponent <= 23 and mantissa & np.uint64(3) == np.uint64(1) and (
        mantissa << (top + np.uint64(9)) == high
    ):
        mantissa &= ~np.uint64(1)  # exactly half way: to even
    mantissa += mantissa & np.uint64(1)
    mantissa >>= np.uint64(1)
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        power += 1
    if power >= 2047:
        return np.uint64(0)
    return (mantissa & ~np.uint64(1 << 52)) | (np.uint64(power) << np.uint64(52))


@inlined
def read_number(
    body: NDArray[np.uint8], start: int, values: NDArray[np.float64], bits: NDArray[np.uint64], k: int,
) -> int:
    """Read one number into ``values[k]`` (`bits` is the same memory). Its end, or -1: Python must read it."""
    size = len(body)
    pos = start
    negative = False
    if pos < size and (body[pos] == 45 or body[pos] == 43):
        negative = body[pos] == 45
        pos += 1
    digits = np.uint64(0)
    count = 0  # significant digits
    exponent = 0
    seen = False
    point = -1
    while pos < size:
        d = np.uint64(body[pos]) - np.uint64(48)
        if d <= np.uint64(9):
            digits = digits * np.uint64(10) + d
            if count > 0 or d != np.uint64(0):
                count += 1
            seen = True
        elif body[pos] == 46 and point < 0:
            point = pos
        else:
            break
        pos += 1
    if point >= 0:
        exponent = point + 1 - pos
    if not seen:
        if pos == start + int(pos > start) and pos + 3 <= size and (pos + 3 == size or body[pos + 3] <= 32):
            a, b, c = body[pos] | 32, body[pos + 1] | 32, body[pos + 2] | 32
            if a == 110 and b == 97 and c == 110 and pos == start:
                bits[k] = _NAN_BITS
                return pos + 3
            if a == 105 and b == 110 and c == 102:
                values[k] = -np.inf if negative else np.inf
                return pos + 3
        return -1
    if pos < size and body[pos] | 32 == 101:
        pos += 1
        below = False
        if pos < size and (body[pos] == 45 or body[pos] == 43):
            below = body[pos] == 45
            pos += 1
        power = 0
        first = pos
        while pos < size and np.uint64(body[pos]) - np.uint64(48) <= np.uint64(9):
            power = power * 10 + (int(body[pos]) - 48)
            pos += 1
        if pos == first or pos - first > 4:
            return -1
        exponent += -power if below else power
    if pos < size and body[pos] != 10 and body[pos] != 32 and body[pos] != 9:
        return -1
    if count > 19:
        return -1
    if digits <= np.uint64(1 << 53) and -22 <= exponent <= 22:
        number = float(digits)
        number = number / _POWERS[-exponent] if exponent < 0 else number * _POWERS[exponent]
        values[k] = -number if negative else number
        return pos
    if digits == np.uint64(0):
        values[k] = -0.0 if negative else 0.0
        return pos
    found = scaled_bits(digits, exponent)
    if found == np.uint64(0):
        return -1
    bits[k] = found | (np.uint64(1 << 63) if negative else np.uint64(0))
    return pos


@kernel
def walk(
    body: NDArray[np.uint8], pos: int, keys: NDArray[np.uint8], offsets: NDArray[np.int64], slot: int,
    values: NDArray[np.float64], bits: NDArray[np.uint64], stamps: NDArray[np.int64], k: int,
    odd: NDArray[np.int64], odd_count: int, openmetrics: bool,
) -> tuple[int, int, int, int, int]:
    """Follow the layout from `slot` on while the keys in `body` are the expected ones.

    Value of slot ``slot + n`` goes to ``values[k + n]`` and its own timestamp, if it has one, to `stamps`. Returns how
    it ended, and pos, slot, k and odd_count there. `odd` rows are (k, kind, start, end).
    """
    size = len(body)
    slots = len(offsets) - 1
    while slot < slots:
        length = offsets[slot + 1] - offsets[slot]
        if pos + length > size:
            return MISS, pos, slot, k, odd_count
        here = body[pos : pos + length]
        there = keys[offsets[slot] : offsets[slot + 1]]
        different = np.uint8(0)
        for j in range(length):
            different |= here[j] ^ there[j]
        if different != 0:
            return MISS, pos, slot, k, odd_count
        start = pos + length
        if odd_count + 2 > len(odd):
            return ODD_FULL, pos, slot, k, odd_count
        end = read_number(body, start, values, bits, k)
        if end < 0:
            end = start
            while end < size and body[end] != 10 and body[end] != 32 and body[end] != 9:
                end += 1
            if end == start:
                return MISS, pos, slot, k, odd_count
            odd[odd_count, 0], odd[odd_count, 1], odd[odd_count, 2], odd[odd_count, 3] = k, ODD_VALUE, start, end
            odd_count += 1
        while end < size and (body[end] == 32 or body[end] == 9):
            end += 1
        if end < size and body[end] != 10:
            if len(stamps) == 0:
                return NEED_STAMPS, pos, slot, k, odd_count
            first = end
            below = body[end] == 45
            if below:
                end += 1
            stamp = np.int64(0)
            begin = end
            while end < size and end - begin < 18 and np.uint64(body[end]) - np.uint64(48) <= np.uint64(9):
                stamp = stamp * 10 + (np.int64(body[end]) - 48)
                end += 1
            if not openmetrics and end > begin and (end == size or body[end] == 10):
                stamps[k] = -stamp if below else stamp
            else:
                while end < size and body[end] != 10:
                    end += 1
                odd[odd_count, 0], odd[odd_count, 1], odd[odd_count, 2], odd[odd_count, 3] = k, ODD_REST, first, end
                odd_count += 1
        pos = end + 1 if end < size else end
        slot += 1
        k += 1
    return DONE, pos, slot, k, odd_count


def compile_all() -> None:
    """Call every kernel once with the types of production."""
    values = np.empty(1)
    for page in (b"a 1\n", bytearray(b"a 1\n")):  # made in this process, and come into a buffer that is used again
        walk(np.frombuffer(page, np.uint8), 0, np.frombuffer(b"a ", np.uint8), np.array([0, 2], np.int64), 0, values,
             values.view(np.uint64), np.empty(0, np.int64), 0, np.empty((8, 4), np.int64), 0, False)
