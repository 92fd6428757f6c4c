"""Remote write 1.0, written by hand: what a test needs to put samples into a real Prometheus."""

import struct

import cramjam

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def _varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number, payload):
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def request(series):
    """The body for ``[(labels, [(time_ms, value)])]``."""
    out = bytearray()
    for labels, samples in series:
        message = bytearray()
        for name, value in labels.pairs:
            message += _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for time_ms, value in samples:
            message += _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time_ms))
        out += _field(1, bytes(message))
    return bytes(cramjam.snappy.compress_raw(bytes(out)))
