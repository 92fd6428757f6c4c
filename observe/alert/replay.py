"""The past as a sequence of evaluations: the same vectors that production saw, read as ranges."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from observe.errors import QueryError
from observe.model import Labels, Matrix, Vector, is_absent
from observe.promql.ast import Selector, unwrap
from observe.promql.parse import parse
from observe.protocols import QueryEngine

POINTS = 2_000
"""Points a series asked for at once: bounds memory, and stays below the limits of Prometheus' API."""


def vectors(query: QueryEngine, expr: str, first_ms: int, last_ms: int, step_ms: int) -> Iterator[Vector]:
    """The result of `expr` at first, first + step, … last."""
    start = first_ms
    while start <= last_ms:
        end = min(last_ms, start + (POINTS - 1) * step_ms)
        matrix = query.range(expr, start, end, step_ms)
        sampled = query.range(f"timestamp({expr})", start, end, step_ms) if is_selector(expr) else None
        yield from _columns(matrix, sampled, start, end, step_ms)
        start = end + step_ms


def _columns(matrix: Matrix, sampled: Matrix | None, first_ms: int, last_ms: int, step_ms: int) -> Iterator[Vector]:
    there = ~is_absent(np.ascontiguousarray(matrix.values)) if matrix.values.size else np.empty((0, 0), dtype=np.bool_)
    place = {int(time): index for index, time in enumerate(matrix.times_ms.tolist())}
    when = sample_times(matrix, sampled)
    known: tuple[bytes, tuple[Labels, ...]] = (b"", ())
    for time_ms in range(first_ms, last_ms + 1, step_ms):
        index = place.get(time_ms)
        if index is None or not matrix.labels:
            yield Vector(time_ms, (), np.empty(0), np.empty(0, dtype=np.int64))
            continue
        rows = np.flatnonzero(there[:, index])
        if (mark := rows.tobytes()) != known[0]:  # the same series as before are the same tuple: no re-aligning
            known = (mark, tuple(matrix.labels[row] for row in rows.tolist()))
        times = when[rows, index] if when is not None else np.full(len(rows), time_ms, dtype=np.int64)
        yield Vector(time_ms, known[1], np.ascontiguousarray(matrix.values[rows, index]), times)


def sample_times(matrix: Matrix, sampled: Matrix | None) -> np.ndarray[tuple[int, int], np.dtype[np.int64]] | None:
    """[S, T] ms of the sample behind each point of a bare selector."""
    if sampled is None:
        return None
    rows = {labels.without("__name__"): row for row, labels in enumerate(sampled.labels)}
    times = np.broadcast_to(matrix.times_ms, matrix.values.shape).astype(np.int64)
    for row, labels in enumerate(matrix.labels):
        other = rows.get(labels.without("__name__"))
        if other is not None:
            with np.errstate(invalid="ignore"):
                seconds = np.nan_to_num(sampled.values[other], nan=0.0)
            times[row] = np.rint(seconds * 1000).astype(np.int64)
    return times


@lru_cache(maxsize=4096)
def is_selector(expr: str) -> bool:
    """Whether the expression is a bare selector: only then may a result repeat an old sample."""
    try:
        return isinstance(unwrap(parse(expr)), Selector)
    except QueryError:
        return False
