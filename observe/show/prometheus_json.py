"""Results of queries as Prometheus writes them: `{"resultType": …, "result": …}` as bytes."""

import json
import math
from typing import Any

import numpy as np

from observe.model import Labels, Matrix, Samples, Vector, is_absent, is_stale


def result_json(result: Any, limit: int = 0) -> tuple[bytes, bool]:
    """The ``data`` member, and whether `limit` cut it."""
    match result:
        case Vector():
            return _vector(result, limit)
        case Matrix():
            return _matrix(result, limit)
        case Samples():
            return _samples(result, limit)
        case float() | int():
            raise TypeError("a scalar needs its time: (time_ms, value)")
        case (int(time_ms), str(text)):
            return b'{"resultType":"string","result":[%b,%b]}' % (_time(time_ms), json.dumps(text).encode()), False
        case (int(time_ms), value):
            return b'{"resultType":"scalar","result":[%b,"%b"]}' % (_time(time_ms), go_float(value).encode()), False
        case _:
            raise TypeError(f"no JSON for a {type(result).__name__}")


def _vector(vector: Vector, limit: int) -> tuple[bytes, bool]:
    at = _time(vector.time_ms)
    shown = len(vector.labels) if not limit else min(limit, len(vector.labels))
    rows = [
        b'{"metric":%b,"value":[%b,"%b"]}' % (metric_json(labels), at, go_float(value).encode())
        for labels, value in zip(vector.labels[:shown], vector.values[:shown].tolist(), strict=True)
    ]
    return b'{"resultType":"vector","result":[%b]}' % b",".join(rows), shown < len(vector.labels)


def _matrix(matrix: Matrix, limit: int) -> tuple[bytes, bool]:
    times = [_time(t) for t in matrix.times_ms.tolist()]
    present = ~is_absent(matrix.values) if matrix.values.size else np.zeros((0, 0), bool)
    rows = []
    for index, labels in enumerate(matrix.labels):
        where = np.flatnonzero(present[index]).tolist()
        if where:
            row = matrix.values[index].tolist()
            points = b",".join(b'[%b,"%b"]' % (times[i], go_float(row[i]).encode()) for i in where)
            rows.append(b'{"metric":%b,"values":[%b]}' % (metric_json(labels), points))
    shown = rows[:limit] if limit else rows
    return b'{"resultType":"matrix","result":[%b]}' % b",".join(shown), len(shown) < len(rows)


def _samples(samples: Samples, limit: int) -> tuple[bytes, bool]:
    stale = is_stale(samples.values)
    rows = []
    for index, labels in enumerate(samples.labels):
        span = range(int(samples.offsets[index]), int(samples.offsets[index + 1]))
        points = b",".join(
            b'[%b,"%b"]' % (_time(int(samples.timestamps[i])), go_float(float(samples.values[i])).encode())
            for i in span if not stale[i]
        )
        if points:
            rows.append(b'{"metric":%b,"values":[%b]}' % (metric_json(labels), points))
    shown = rows[:limit] if limit else rows
    return b'{"resultType":"matrix","result":[%b]}' % b",".join(shown), len(shown) < len(rows)


def metric_json(labels: Labels) -> bytes:
    return json.dumps(dict(labels.pairs), separators=(",", ":"), ensure_ascii=False).encode()


def _time(time_ms: int) -> bytes:
    seconds, rest = divmod(time_ms, 1000)
    return f"{time_ms / 1000:.3f}".encode() if rest else b"%d" % seconds


def go_float(value: float) -> str:
    """A float as Go's shortest form without an exponent between 1e-6 and 1e21, as Prometheus' JSON has it.

    >>> go_float(1e16), go_float(float("inf")), go_float(0.1)
    ('10000000000000000', '+Inf', '0.1')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    size = abs(value)
    text = repr(value)
    if size and (size < 1e-6 or size >= 1e21):
        mantissa, exponent = text.split("e")
        return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].zfill(2)}"
    return np.format_float_positional(value, trim="-") if "e" in text else text.removesuffix(".0")
