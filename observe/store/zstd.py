"""Zstandard, the way of everything small that the metric store writes."""

import cramjam


def compress(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data, 1))


def decompress(data: bytes | memoryview) -> bytes:
    return bytes(cramjam.zstd.decompress(data))
