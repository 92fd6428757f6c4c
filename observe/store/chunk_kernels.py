"""The code of a sealed chunk: up to some hundred values of one series as 64-bit words.

Most series of this field are counters and gauges with a few decimals. Where every value is an integer over a power
of ten (checked bit by bit, so decoding is exact), the chunk holds their differences, less the smallest one, packed at
one width; what does not fit (a counter reset, a NaN) is a patch. Everything else is packed as the exclusive-or of
neighbours. One width a chunk keeps decoding fast: about 1 ns a value.

Words of a chunk::

    0      mode (4 bits) | power of ten (4) | width (8) | patches (8) | .. | difference taken off (32, signed)
    1      bits of the first value
    [2     difference taken off, where 32 bits do not hold it (mode WIDE)]
    ..     packed differences or exclusive-ors, n - 1 of them
    ..     patches: positions, eight to a word, then one word of bits each
"""

# mypy: disable-error-code="arg-type,assignment,no-any-return,return-value"
# Numba unifies integers; the stubs of NumPy tell its scalars and int apart.

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel

CONSTANT = 0
INTEGER = 1
WIDE = 2
XOR = 3

LARGEST = 4503599627370496.0  # 2**52: integers up to here and their differences are exact in a double
MAX_POWER = 9
MAX_VALUES = 255
WORDS_OVER = 4
"""A chunk of n values takes at most n + WORDS_OVER words."""

Words = NDArray[np.uint64]
Longs = NDArray[np.int64]
Doubles = NDArray[np.float64]


@inlined
def bits_of(number: int) -> int:
    """How many bits an unsigned number takes."""
    width = 0
    while number > np.uint64(0):
        number >>= np.uint64(1)
        width += 1
    return width


@inlined
def scaled(value: float, power: float) -> int:
    """`value * power` as an integer, or the smallest integer of all where that is not exact."""
    number = value * power
    if not (-LARGEST < number < LARGEST):
        return np.int64(-9223372036854775808)
    whole = np.rint(number)
    if whole / power != value or (whole == 0.0 and np.signbit(value)):
        return np.int64(-9223372036854775808)
    return np.int64(whole)


@inlined
def pack(words: Words, at: int, width: int, index: int, number: int) -> None:
    """Put `number` at place `index` of the packed words that begin at `at` (cleared before)."""
    bit = index * width
    word = at + (bit >> 6)
    shift = np.uint64(bit & 63)
    words[word] |= number << shift
    if (bit & 63) + width > 64:
        words[word + 1] |= number >> (np.uint64(64) - shift)


@inlined
def encode(values: Doubles, raw: Words, count: int, words: Words, at: int, whole: Longs, steps: Longs) -> int:
    """Write `count` values (and their bits, `raw`) at `words[at]`; returns the place after them.

    `whole` and `steps` are scratch of at least `count`.
    """
    same = True
    for i in range(1, count):
        if raw[i] != raw[0]:
            same = False
            break
    words[at + 1] = raw[0]
    if same:
        words[at] = np.uint64(CONSTANT)
        return at + 2
    none = np.int64(-9223372036854775808)
    # The smallest power of ten that makes integers of nearly all.
    power = 0
    scale = 1.0
    odd = 0
    allowed = count // 8
    i = 0
    while i < count:
        number = scaled(values[i], scale)
        if number == none:
            higher = power
            higher_scale = scale
            while number == none and higher < MAX_POWER and np.isfinite(values[i]):
                higher += 1
                higher_scale *= 10.0
                number = scaled(values[i], higher_scale)
            if number == none:
                odd += 1
                if odd > allowed or i == 0:
                    break
            else:
                power = higher
                scale = higher_scale
        i += 1
    packed = -1
    if i == count:
        packed = _encode_integers(values, raw, count, words, at, whole, steps, power, scale)
    if packed >= 0:
        return packed
    # Exclusive-or of neighbours, without the zeros that all of them share at both ends.
    union = np.uint64(0)
    for i in range(1, count):
        union |= raw[i] ^ raw[i - 1]
    low = 0
    while (union >> np.uint64(low)) & np.uint64(1) == np.uint64(0):
        low += 1
    width = bits_of(union >> np.uint64(low))
    body = at + 2
    end = body + ((count - 1) * width + 63) // 64
    for i in range(body, end):
        words[i] = np.uint64(0)
    for i in range(1, count):
        pack(words, body, width, i - 1, (raw[i] ^ raw[i - 1]) >> np.uint64(low))
    words[at] = np.uint64(XOR) | np.uint64(width) << np.uint64(8) | np.uint64(low) << np.uint64(16)
    return end


@inlined
def _encode_integers(
    values: Doubles, raw: Words, count: int, words: Words, at: int, whole: Longs, steps: Longs, power: int,
    scale: float,
) -> int:
    """The integer form, or -1 where the other form is no longer."""
    none = np.int64(-9223372036854775808)
    first = scaled(values[0], scale)
    if first == none:
        return -1
    for i in range(count):
        whole[i] = scaled(values[i], scale)
    previous = first
    kept = 0
    lowest = np.int64(0)
    highest = np.int64(0)
    for i in range(1, count):
        if whole[i] == none:
            continue
        step = whole[i] - previous
        previous = whole[i]
        steps[kept] = step
        lowest = step if kept == 0 else min(lowest, step)
        highest = step if kept == 0 else max(highest, step)
        kept += 1
    odd = count - 1 - kept
    width = bits_of(np.uint64(highest - lowest))
    patches = odd
    if width > 6 and kept > 8:
        # Would leaving a few outliers to patches make the rest much narrower?
        ordered = np.sort(steps[:kept])
        best = (count - 1) * width + odd * 72
        for leave in range(1, min(kept // 8, 12) + 1):
            for below in range(leave + 1):
                span = ordered[kept - 1 - (leave - below)] - ordered[below]
                narrow = bits_of(np.uint64(span))
                # One outlier may need two patches: the way there and the way back.
                cost = (count - 1) * narrow + (odd + leave) * 72
                if cost < best:
                    best = cost
                    width = narrow
                    lowest = ordered[below]
                    highest = ordered[kept - 1 - (leave - below)]
    mode = INTEGER
    body = at + 2
    if not (-2147483648 <= lowest <= 2147483647):
        mode = WIDE
        words[body] = np.uint64(lowest)
        body += 1
    end = body + ((count - 1) * width + 63) // 64
    if end - at > count + 2:
        return -1
    for i in range(body, end):
        words[i] = np.uint64(0)
    patches = 0
    previous = first
    for i in range(1, count):
        step = whole[i] - previous if whole[i] != none else none
        if whole[i] != none and lowest <= step <= highest:
            pack(words, body, width, i - 1, np.uint64(step - lowest))
            previous = whole[i]
        else:
            steps[patches] = i
            patches += 1
            previous = previous + lowest if whole[i] == none else whole[i]
    places = end
    end = places + (patches + 7) // 8
    if end + patches - at > count + 2 or patches > MAX_VALUES:
        return -1
    for i in range(places, end):
        words[i] = np.uint64(0)
    for i in range(patches):
        words[places + i // 8] |= np.uint64(steps[i]) << np.uint64(8 * (i % 8))
        words[end] = raw[steps[i]]
        end += 1
    head = np.uint64(mode) | np.uint64(power) << np.uint64(4) | np.uint64(width) << np.uint64(8)
    head |= np.uint64(patches) << np.uint64(16)
    if mode == INTEGER:
        head |= np.uint64(lowest) << np.uint64(32)
    words[at] = head
    return end


@inlined
def unpack(words: Words, width: int, mask: int, place: int, buffer: int, have: int) -> tuple[int, int, int, int]:
    """The next packed number. `buffer` holds the lowest `have` bits that are left of the word at `place`.

    All are unsigned: a signed index would be checked for counting from the end at every value.
    """
    if have >= width:
        return buffer & mask, place, buffer >> width, have - width
    place += np.uint64(1)
    following = words[place]
    number = (buffer | following << have) & mask
    over = width - have
    return number, place, following >> over, np.uint64(64) - over


@inlined
def decode(words: Words, at: int, count: int, values: Doubles, raw: Words, to: int) -> None:
    """Read `count` values of the chunk at `words[at]` into ``values[to:]``, of which `raw` is the view as bits."""
    head = words[at]
    mode = np.int64(head & np.uint64(15))
    raw[to] = words[at + 1]
    if mode == CONSTANT:
        for i in range(1, count):
            raw[to + i] = words[at + 1]
        return
    # Packed numbers pass through a word-wide buffer.
    width = head >> np.uint64(8) & np.uint64(255)
    mask = (np.uint64(1) << (width & np.uint64(63))) - np.uint64(1)
    place = np.uint64(at + 2)
    end = np.uint64(at + 2) + (np.uint64(count - 1) * width + np.uint64(63) >> np.uint64(6))
    have = np.uint64(64)
    if mode == XOR:
        low = head >> np.uint64(16) & np.uint64(255)
        bits = words[at + 1]
        if width == np.uint64(64):
            for i in range(1, count):
                bits ^= words[place]
                place += np.uint64(1)
                raw[to + i] = bits
            return
        buffer = words[place]
        for i in range(1, count):
            number, place, buffer, have = unpack(words, width, mask, place, buffer, have)
            bits ^= number << low
            raw[to + i] = bits
        return
    power = np.int64(head >> np.uint64(4) & np.uint64(15))
    patches = np.int64(head >> np.uint64(16) & np.uint64(255))
    lowest = np.int64(head) >> np.int64(32)
    if mode == WIDE:
        lowest = np.int64(words[place])
        place += np.uint64(1)
        end += np.uint64(1)
    scale = 1.0
    for _ in range(power):
        scale *= 10.0
    total = np.int64(np.rint(values[to] * scale))
    buffer = words[place] if width > np.uint64(0) else np.uint64(0)
    patched = end + np.uint64(patches + 7 >> 3)
    start = 1
    for patch in range(patches + 1):
        stop = count
        if patch < patches:
            stop = np.int64(words[end + np.uint64(patch >> 3)] >> np.uint64(8 * (patch & 7)) & np.uint64(255))
        for i in range(start, min(stop + 1, count)):
            number, place, buffer, have = unpack(words, width, mask, place, buffer, have)
            total += lowest + np.int64(number)
            values[to + i] = total
        if power > 0:
            for i in range(start, stop):
                values[to + i] /= scale
        if patch < patches:
            raw[to + stop] = words[patched + np.uint64(patch)]
            number_there = scaled(values[to + stop], scale)
            if number_there != np.int64(-9223372036854775808):
                total = number_there
            start = stop + 1


@kernel
def encode_one(values: Doubles, words: Words, at: int) -> int:
    """Encode all of `values` at `words[at]`; returns the place after them."""
    scratch = np.empty(values.size, np.int64)
    return encode(values, values.view(np.uint64), values.size, words, at, scratch, np.empty(values.size, np.int64))


@kernel
def decode_one(words: Words, at: int, count: int) -> Doubles:
    values = np.empty(count, np.float64)
    decode(words, at, count, values, values.view(np.uint64), 0)
    return values


def compile_all() -> None:
    values = np.array([1.0, 2.5, 4.0])
    words = np.zeros(3 + WORDS_OVER, np.uint64)
    encode_one(values, words, 0)
    decode_one(words, 0, 3)
