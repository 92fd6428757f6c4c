"""Results of queries as the JSON that Prometheus' API has under ``data``, written at memory speed."""

import json
from functools import lru_cache
from itertools import pairwise

import numpy as np
import orjson
from numpy.typing import NDArray

from observe.model import Labels, Matrix, Samples, Vector, is_stale
from observe.promql.recent import Recent
from observe.promql.render_kernels import LONGEST, floats, points, rows_of_one
from observe.promql.result import Scalar, Text, Value

_HEADS: Recent[tuple[NDArray[np.uint8], NDArray[np.int64]]] = Recent(40_000)


def result_json(value: Value, limit: int = 0) -> tuple[bytes, bool]:
    """The ``data`` of `value`, of at most `limit` series (0: all), and whether the limit cut it."""
    match value:
        case Vector():
            return _vector(value, limit)
        case Matrix():
            return _matrix(value, limit)
        case Samples():
            return _samples(value, limit)
        case Scalar():
            [number] = texts(np.array([value.value]))
            return b'{"resultType":"scalar","result":[%b,"%b"]}' % (time_json(value.time_ms), number), False
        case Text():
            said = json.dumps(value.value, ensure_ascii=False).encode()
            return b'{"resultType":"string","result":[%b,%b]}' % (time_json(value.time_ms), said), False


@lru_cache(maxsize=100_000)
def metric_json(labels: Labels) -> bytes:
    """The labels as an object."""
    pairs = dict(labels.pairs)
    try:
        return orjson.dumps(pairs)
    except TypeError:  # bytes that are no UTF-8 came in as halves of characters
        return json.dumps(pairs, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def time_json(time_ms: int) -> bytes:
    """Seconds, with milliseconds only where there are some."""
    if time_ms % 1000 == 0:
        return b"%d" % (time_ms // 1000)
    sign, size = ("-" if time_ms < 0 else ""), abs(time_ms)
    return f"{sign}{size // 1000}.{size % 1000:03d}".encode()


def texts(values: NDArray[np.float64]) -> list[bytes]:
    """Each value as text."""
    values = np.require(values, np.float64, ["C", "W"])
    out, bounds = np.empty(len(values) * LONGEST + 1, dtype=np.uint8), np.empty(len(values) + 1, dtype=np.int64)
    floats(values, values.view(np.uint64), out, bounds)
    written = out[: bounds[-1]].tobytes()
    return [written[begin:end] for begin, end in pairwise(bounds.tolist())]


def go_float(value: float) -> str:
    """One value as Prometheus writes it."""
    return texts(np.array([value]))[0].decode()


def _vector(vector: Vector, limit: int) -> tuple[bytes, bool]:
    shown = min(limit or len(vector.labels), len(vector.labels))
    names, ends = _HEADS("", vector.labels, _heads)
    at = np.frombuffer(bytearray(b'"value":[%b,"' % time_json(vector.time_ms)), dtype=np.uint8)
    values = np.require(vector.values[:shown], np.float64, ["C", "W"])
    out = np.empty(int(ends[shown]) + shown * (len(at) + LONGEST + 5) + 1, dtype=np.uint8)
    size = rows_of_one(values, values.view(np.uint64), names, ends, at, out)
    return b'{"resultType":"vector","result":[%b]}' % out[:size].tobytes(), shown < len(vector.labels)


def _heads(labels: tuple[Labels, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """What stands before the value of each row, one after another, and where each begins."""
    texts_ = [b'{"metric":%b,' % metric_json(one) for one in labels]
    ends = np.zeros(len(texts_) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, texts_), np.int64, len(texts_)), out=ends[1:])
    return np.frombuffer(bytearray(b"".join(texts_)), dtype=np.uint8), ends


def _rows(times: list[int], values: NDArray[np.float64]) -> list[bytes]:
    """The points of each row of [S, T]."""
    values = np.require(values, np.float64, ["C", "W"])
    stamps = [time_json(time) for time in times]
    ends = np.cumsum([len(stamp) for stamp in stamps]).astype(np.int64)
    widest = max(map(len, stamps), default=0) + LONGEST + 6
    out = np.empty(values.size * widest + 1, dtype=np.uint8)
    bounds = np.empty(len(values) + 1, dtype=np.int64)
    size = points(values, values.view(np.uint64), np.frombuffer(b"".join(stamps), dtype=np.uint8).copy(), ends, out,
                  bounds)
    written = out[:size].tobytes()
    return [written[begin:end] for begin, end in pairwise(bounds.tolist())]


def _series(labels: tuple[Labels, ...], rows: list[bytes], limit: int) -> tuple[bytes, bool]:
    filled = [
        b'{"metric":%b,"values":[%b]}' % (metric_json(name), row) for name, row in zip(labels, rows, strict=True) if row
    ]
    shown = filled[:limit] if limit else filled
    return b'{"resultType":"matrix","result":[%b]}' % b",".join(shown), len(shown) < len(filled)


def _matrix(matrix: Matrix, limit: int) -> tuple[bytes, bool]:
    return _series(matrix.labels, _rows(matrix.times_ms.tolist(), matrix.values), limit)


def _samples(samples: Samples, limit: int) -> tuple[bytes, bool]:
    numbers = texts(samples.values)
    kept = (~is_stale(np.ascontiguousarray(samples.values))).tolist()
    times = samples.timestamps.tolist()
    rows = [
        b",".join(b'[%b,"%b"]' % (time_json(times[i]), numbers[i]) for i in range(begin, end) if kept[i])
        for begin, end in pairwise(samples.offsets.tolist())
    ]
    return _series(samples.labels, rows, limit)
