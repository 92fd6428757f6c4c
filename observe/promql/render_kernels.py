"""Kernels that write floats as text: the shortest digits that read back as the same double.

Raffaello Giulietti's "The Schubfach way to render doubles" (2020): the decimal with the fewest digits in the interval
of reals that round to the double, found with one 126-bit multiplication of each end. Written as in Prometheus' JSON:
plain between 1e-6 and 1e21, else with an exponent of at least two digits (Go's ``strconv.AppendFloat``).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.jit import inlined, kernel
from observe.model.nans import ABSENT_NAN_BITS

LONGEST: Final = 26
"""Bytes that one number takes at most: sign, 17 digits, point, leading zeros or exponent."""

_K_MIN, _K_MAX = -324, 292
_ABSENT = np.uint64(ABSENT_NAN_BITS)


def _powers() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """``g(k) = floor(10^k / 2^r) + 1`` with 126 bits, in two words of 63: for k from -292 to 324."""
    high, low = [], []
    for k in range(-_K_MAX, -_K_MIN + 1):
        exponent = (k * 913124641741) >> 38  # floor(log2(10^k))
        shift = exponent - 125
        if k >= 0:
            value = 10**k >> shift if shift > 0 else 10**k << -shift
        else:
            value = (1 << -shift) // 10**-k
        value += 1
        high.append(value >> 63)
        low.append(value & ((1 << 63) - 1))
    return np.array(high, dtype=np.uint64), np.array(low, dtype=np.uint64)


_G1, _G0 = _powers()
_MASK32 = np.uint64(0xFFFF_FFFF)
_MASK63 = np.uint64((1 << 63) - 1)
_U32 = np.uint64(32)
_U63 = np.uint64(63)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_TEN = np.uint64(10)
_HUNDRED = np.uint64(100)
_TENS = np.array([10**places for places in range(20)], dtype=np.uint64)
_PAIRS = np.array([[48 + pair // 10, 48 + pair % 10] for pair in range(100)], dtype=np.uint8)
_ZERO = np.uint64(0)


@inlined
def _high_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of a 64 by 64 bit product."""
    a0, a1 = a & _MASK32, a >> _U32
    b0, b1 = b & _MASK32, b >> _U32
    low = a0 * b0
    middle = a1 * b0 + (low >> _U32)
    other = a0 * b1 + (middle & _MASK32)
    return a1 * b1 + (middle >> _U32) + (other >> _U32)


@inlined
def _rounded_to_odd(g1: np.uint64, g0: np.uint64, cp: np.uint64) -> np.uint64:
    x1 = _high_product(g0, cp)
    y0 = g1 * cp
    y1 = _high_product(g1, cp)
    z = (y0 >> _ONE) + x1
    w = y1 + (z >> _U63)
    return w | (((z & _MASK63) + _MASK63) >> _U63)


@inlined
def _decimal(bits: np.uint64) -> tuple[np.uint64, np.int64]:
    """Digits and decimal exponent of a finite, positive double."""
    fraction = bits & np.uint64((1 << 52) - 1)
    biased = np.int64(bits >> np.uint64(52)) & np.int64(0x7FF)
    if biased > 0:
        c, q = fraction | np.uint64(1 << 52), biased - 1075
    else:
        c, q = fraction, np.int64(-1074)
    odd = c & _ONE
    cb = c << _TWO
    cbr = cb + _TWO
    if fraction != _ZERO or biased <= 1:
        cbl = cb - _TWO
        k = (q * 661971961083) >> 41  # floor(log10(2^q))
    else:  # a power of two: the gap below is half the gap above
        cbl = cb - _ONE
        k = (q * 661971961083 - 274743187321) >> 41  # floor(log10(3/4 * 2^q))
    h = np.uint64(q + ((-k * 913124641741) >> 38) + 2)
    g1, g0 = _G1[-k + _K_MAX], _G0[-k + _K_MAX]
    vb = _rounded_to_odd(g1, g0, cb << h)
    vbl = _rounded_to_odd(g1, g0, cbl << h)
    vbr = _rounded_to_odd(g1, g0, cbr << h)
    s = vb >> _TWO
    if s >= _TEN:
        tens = s // _TEN * _TEN
        more = tens + _TEN
        low_in = vbl + odd <= tens << _TWO
        high_in = (more << _TWO) + odd <= vbr
        if low_in != high_in:
            return (tens if low_in else more), k
    t = s + _ONE
    low_in = vbl + odd <= s << _TWO
    high_in = (t << _TWO) + odd <= vbr
    if low_in != high_in:
        return (s if low_in else t), k
    half = (s + t) << _ONE
    if vb < half or (vb == half and (s & _ONE) == _ZERO):
        return s, k
    return t, k


@inlined
def _digit_count(value: np.uint64) -> int:
    """Decimal digits of an integer below 10^20. Most doubles have 16 or 17."""
    count = 16 if value >= _TENS[15] else 1
    while count < 20 and value >= _TENS[count]:
        count += 1
    return count


@inlined
def _put_digits(value: np.uint64, count: int, out: NDArray[np.uint8], at: int) -> int:
    """Write `value` with `count` digits, zeros in front; returns where it ends."""
    end = at + count
    while count >= 2:
        hundredth = value // _HUNDRED
        pair = value - hundredth * _HUNDRED
        out[at + count - 2] = _PAIRS[pair, 0]
        out[at + count - 1] = _PAIRS[pair, 1]
        value = hundredth
        count -= 2
    if count:
        out[at] = 48 + np.uint8(value)
    return end


@inlined
def _without_zeros(digits: np.uint64, exponent: int) -> tuple[np.uint64, int]:
    """The same number without zeros at the end of its digits."""
    for places in (8, 4, 2, 1, 1):
        shorter = digits // _TENS[places]
        if shorter * _TENS[places] == digits:
            digits = shorter
            exponent += places
    return digits, exponent


@inlined
def _put_scientific(digits: np.uint64, count: int, power: int, out: NDArray[np.uint8], at: int) -> int:
    if count == 1:
        at = _put_digits(digits, 1, out, at)
    else:
        first = digits // _TENS[count - 1]
        at = _put_digits(first, 1, out, at)
        out[at] = 46
        at = _put_digits(digits - first * _TENS[count - 1], count - 1, out, at + 1)
    out[at] = 101
    out[at + 1] = 45 if power < 0 else 43
    size = np.uint64(abs(power))
    return _put_digits(size, max(2, _digit_count(size)), out, at + 2)


@inlined
def put_float(value: float, bits: np.uint64, out: NDArray[np.uint8], at: int) -> int:
    """Write `value` at `at`; returns where it ends."""
    if math.isnan(value):
        out[at], out[at + 1], out[at + 2] = 78, 97, 78  # NaN
        return at + 3
    if math.isinf(value):
        out[at] = 45 if value < 0 else 43
        out[at + 1], out[at + 2], out[at + 3] = 73, 110, 102  # Inf
        return at + 4
    if bits >> _U63:
        out[at] = 45
        at += 1
        value = -value
        bits &= _MASK63
    if value < 9007199254740992.0 and value == math.floor(value):
        whole = np.uint64(value)
        return _put_digits(whole, _digit_count(whole), out, at)
    digits, scale = _decimal(bits)
    digits, exponent = _without_zeros(digits, int(scale))
    count = _digit_count(digits)
    point = count + exponent  # digits before the decimal point
    if value < 1e-6 or value >= 1e21:
        return _put_scientific(digits, count, point - 1, out, at)
    if point <= 0:
        out[at], out[at + 1] = 48, 46
        for place in range(at + 2, at + 2 - point):
            out[place] = 48
        return _put_digits(digits, count, out, at + 2 - point)
    if point >= count:
        at = _put_digits(digits, count, out, at)
        for place in range(at, at + point - count):
            out[place] = 48
        return at + point - count
    unit = _TENS[count - point]
    whole = digits // unit
    at = _put_digits(whole, point, out, at)
    out[at] = 46
    return _put_digits(digits - whole * unit, count - point, out, at + 1)


@kernel
def points(
    values: NDArray[np.float64], bits: NDArray[np.uint64], times: NDArray[np.uint8], ends: NDArray[np.int64],
    out: NDArray[np.uint8], bounds: NDArray[np.int64],
) -> int:
    """The points of each row of `values` [S, T] as ``[time,"value"],[time,"value"]``, absent ones left out.

    `times` are the texts of the times one after another, each ending at `ends` [T]. Row s is written to
    ``out[bounds[s]:bounds[s + 1]]``. Returns how many bytes were written.
    """
    at = 0
    for s in range(values.shape[0]):
        bounds[s] = at
        for t in range(values.shape[1]):
            if bits[s, t] == _ABSENT:
                continue
            if at > bounds[s]:
                out[at] = 44
                at += 1
            out[at] = 91
            at += 1
            for i in range(0 if t == 0 else ends[t - 1], ends[t]):
                out[at] = times[i]
                at += 1
            out[at], out[at + 1] = 44, 34
            at = put_float(values[s, t], bits[s, t], out, at + 2)
            out[at], out[at + 1] = 34, 93
            at += 2
    bounds[values.shape[0]] = at
    return at


@kernel
def rows_of_one(
    values: NDArray[np.float64], bits: NDArray[np.uint64], heads: NDArray[np.uint8], ends: NDArray[np.int64],
    time: NDArray[np.uint8], out: NDArray[np.uint8],
) -> int:
    """Rows of one value each: ``HEAD TIME value"]}`` with a comma between; returns how many bytes were written.

    Head n is ``heads[ends[n]:ends[n + 1]]``.
    """
    at = 0
    for n in range(len(values)):
        if n:
            out[at] = 44
            at += 1
        size = ends[n + 1] - ends[n]
        out[at : at + size] = heads[ends[n] : ends[n + 1]]  # by slices: bytes one by one take twice as long
        at += size
        out[at : at + len(time)] = time
        at += len(time)
        at = put_float(values[n], bits[n], out, at)
        out[at], out[at + 1], out[at + 2] = 34, 93, 125
        at += 3
    return at


@kernel
def floats(
    values: NDArray[np.float64], bits: NDArray[np.uint64], out: NDArray[np.uint8], bounds: NDArray[np.int64],
) -> None:
    """Each of `values` [N] as text at ``out[bounds[n]:bounds[n + 1]]``."""
    at = 0
    for n in range(len(values)):
        bounds[n] = at
        at = put_float(values[n], bits[n], out, at)
    bounds[len(values)] = at


def compile_all() -> None:
    values = np.array([[1.5]])
    text = np.zeros(64, dtype=np.uint8)
    points(values, values.view(np.uint64), text[:1].copy(), np.array([1], dtype=np.int64), text,
           np.zeros(2, dtype=np.int64))
    floats(values[0], values[0].view(np.uint64), text, np.zeros(2, dtype=np.int64))
    rows_of_one(values[0], values[0].view(np.uint64), text[:1].copy(), np.array([0, 1], dtype=np.int64),
                text[:1].copy(), text)
