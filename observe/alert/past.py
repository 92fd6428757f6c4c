"""The past of one expression as columns to learn from: read backwards in small pieces, bounded in points.

A piece is small because a server that answers with JSON makes us parse it in one go; it must not hold up other threads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from observe.alert.replay import POINTS, is_selector, sample_times
from observe.detect.history import History
from observe.errors import LimitExceeded, QueryError
from observe.model import Labels, is_absent
from observe.protocols import QueryEngine

_PROBES = 32
"""Times, from long ago to just now, at which the expression is asked whether the store has anything of it."""
_FEWEST_TICKS = 120
_DAY_MS = 86_400_000
_RECENT_MS = _DAY_MS
"""Series without a point for so long at the end are not learned: what comes back after a day starts anew."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How much is read for one rule, and how much at once."""

    most_points: int = 4_000_000
    """Of all series together: 32 MB, and some seconds of folding."""
    most_ticks: int = 200_000
    """Five weeks of points every 15 s: bounds the questions of a rule that is evaluated each second."""
    points_at_once: int = 50_000
    """About 20 ms of JSON."""


@dataclass(frozen=True, slots=True)
class _Piece:
    first_ms: int
    labels: tuple[Labels, ...]
    values: NDArray[np.float64]
    """[S, T]."""
    sampled_at_ms: NDArray[np.int64] | None
    """[S, T] for a bare selector."""


def read_past(
    query: QueryEngine, expr: str, first_ms: int, last_ms: int, step_ms: int, reading: Reading,
    told: Callable[[int], None] = lambda _: None,
) -> History | None:
    """`expr` at last, last - step, … as far back as `first_ms`, or as there is anything; None where there is nothing.

    `told` is called with how far back (ms) has been read; it may raise to stop.
    """
    limited = (last_ms - first_ms) // step_ms >= reading.most_ticks
    first_ms = last_ms - (reading.most_ticks - 1) * step_ms if limited else first_ms
    began_ms = _begin(query, expr, first_ms, last_ms, step_ms, told)
    if began_ms is None:
        return None
    pieces: list[_Piece] = []
    points, series, end_ms, most_ticks = 0, 1, last_ms, POINTS
    while end_ms >= began_ms and points < reading.most_points:
        told(last_ms - end_ms)
        fitting = min(most_ticks, reading.points_at_once // series)
        ticks = _FEWEST_TICKS if not pieces else max(_FEWEST_TICKS, fitting)
        start_ms = max(began_ms, end_ms - (ticks - 1) * step_ms)
        try:
            piece = _read(query, expr, start_ms, end_ms, step_ms)
        except (LimitExceeded, QueryError):
            if ticks == _FEWEST_TICKS:
                raise
            most_ticks = ticks // 4  # the server may have a limit on what one question reads
            continue
        pieces.append(piece)
        series = max(series, len(piece.labels))
        points += piece.values.size
        end_ms = start_ms - step_ms
    return _put_together(pieces[::-1], last_ms, step_ms, cut=limited or points >= reading.most_points)


def _begin(
    query: QueryEngine, expr: str, first_ms: int, last_ms: int, step_ms: int, told: Callable[[int], None],
) -> int | None:
    """About where the store's knowledge begins, on the grid: cheap questions, so that an empty store costs nothing."""
    ticks = (last_ms - first_ms) // step_ms
    backs = np.unique(np.round(np.geomspace(1, max(1, ticks), _PROBES)).astype(np.int64))[::-1]
    older = int(ticks)
    for back in [*backs.tolist(), 0]:
        told(0)
        if len(query.instant(expr, last_ms - back * step_ms).labels):
            return last_ms - older * step_ms
        older = back
    return None


def _read(query: QueryEngine, expr: str, start_ms: int, end_ms: int, step_ms: int) -> _Piece:
    matrix = query.range(expr, start_ms, end_ms, step_ms)
    values = np.full((len(matrix.labels), (end_ms - start_ms) // step_ms + 1), np.nan)
    times: NDArray[np.int64] | None = None
    columns = (matrix.times_ms - start_ms) // step_ms
    if matrix.labels:
        values[:, columns] = np.where(is_absent(np.ascontiguousarray(matrix.values)), np.nan, matrix.values)
    if is_selector(expr):
        times = np.zeros(values.shape, np.int64)
        sampled = sample_times(matrix, query.range(f"timestamp({expr})", start_ms, end_ms, step_ms))
        if matrix.labels and sampled is not None:
            times[:, columns] = sampled
    return _Piece(start_ms, matrix.labels, values, times)


def _put_together(pieces: list[_Piece], last_ms: int, step_ms: int, *, cut: bool) -> History | None:
    """One table [T, S]; repeats of a sample are no points. Where a bound cut it short, it begins at a midnight."""
    first_ms = pieces[0].first_ms
    labels = tuple(sorted({name for piece in pieces for name in piece.labels}))
    place = {name: number for number, name in enumerate(labels)}
    shape = ((last_ms - first_ms) // step_ms + 1, len(labels))
    table = np.full(shape, np.nan)
    seen_at = np.zeros(shape, np.int64) if pieces[0].sampled_at_ms is not None else None
    for piece in pieces:
        if not piece.labels:
            continue
        at = (piece.first_ms - first_ms) // step_ms
        rows, to = slice(at, at + piece.values.shape[1]), [place[name] for name in piece.labels]
        table[rows, to] = piece.values.T
        if seen_at is not None and piece.sampled_at_ms is not None:
            seen_at[rows, to] = piece.sampled_at_ms.T
    if seen_at is not None:
        known = np.maximum.accumulate(np.where(np.isnan(table), 0, seen_at), axis=0)
        table[1:][seen_at[1:] <= known[:-1]] = np.nan
    times = first_ms + step_ms * np.arange(shape[0], dtype=np.int64)
    kept = ~np.isnan(table[max(0, shape[0] - max(1, _RECENT_MS // step_ms)) :]).all(axis=0)
    if not kept.any():
        return None
    names = tuple(name for name, one in zip(labels, kept.tolist(), strict=True) if one)
    history = History(times, names, table[:, kept])
    midnight = -(-first_ms // _DAY_MS) * _DAY_MS
    if cut and last_ms - midnight >= _DAY_MS:
        return history.part(int(np.searchsorted(times, midnight)), shape[0])
    return history
