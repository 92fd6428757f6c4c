"""Read protobuf fields by hand, for the few messages that are too small or too many for generated classes."""

import struct
from collections.abc import Iterator

from observe.errors import MalformedData


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field: an integer for varints and fixed words (as unsigned bits), bytes else."""
    pos = 0
    while pos < len(data):
        tag, pos = _varint(data, pos)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, pos = _varint(data, pos)
            yield number, value
            continue
        if wire == 2:
            length, pos = _varint(data, pos)
        elif wire in {1, 5}:
            length = 8 if wire == 1 else 4
        else:
            raise MalformedData(f"wire type {wire} is not known")
        if pos + length > len(data):
            raise MalformedData("the message is cut short")
        part = data[pos : pos + length]
        yield number, part if wire == 2 else int.from_bytes(part, "little")
        pos += length


def double(value: int | bytes) -> float:
    """The double of a fixed 64-bit field."""
    if isinstance(value, bytes):
        raise MalformedData("a number is wanted where bytes stand")
    return float(struct.unpack("<d", struct.pack("<Q", value))[0])


def signed(value: int | bytes) -> int:
    """An int64 field."""
    if isinstance(value, bytes):
        raise MalformedData("an integer is wanted where bytes stand")
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def string(value: int | bytes) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else ""
    except UnicodeDecodeError as error:
        raise MalformedData(f"{value!r:.80} is not UTF-8") from error


def varint(value: int) -> bytes:
    """A varint as bytes."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(number: int, payload: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    value = shift = 0
    while pos < len(data) and shift < 70:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
        shift += 7
    raise MalformedData("the message is cut short")
