"""Results for a terminal: a table of an instant, curves of a range."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from observe.promql.numbers import shortest

_BARS: Final = " ▁▂▃▄▅▆▇█"
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille dots of a cell, four rows of two."""

Curve = Sequence[float | None]
"""Values at even steps, None where there is none."""


def number(value: float) -> str:
    """Six significant digits.

    >>> [number(value) for value in (1234567.0, 0.1, math.nan)]
    ['1.23457e+06', '0.1', 'NaN']
    """
    return shortest(value) if not math.isfinite(value) else f"{value:.6g}"


def table(rows: Sequence[tuple[str, float]], width: int) -> list[str]:
    """One line a series: its name, cut if need be, and its value."""
    values = [number(value) for _, value in rows]
    for_value = max(map(len, values), default=0)
    for_name = min(max((len(name) for name, _ in rows), default=0), max(20, width - for_value - 2))
    return [f"{_cut(name, for_name):<{for_name}}  {value:>{for_value}}"
            for (name, _), value in zip(rows, values, strict=True)]


def spark(curve: Curve, width: int) -> str:
    """A curve in one line of bars; a gap is blank."""
    columns = _squeezed(curve, width)
    known = [value for value in columns if value is not None]
    if not known:
        return " " * len(columns)
    low, high = min(known), max(known)
    size = high - low or 1.0
    return "".join(" " if value is None else _BARS[1 + round((value - low) / size * 7)] for value in columns)


def chart(curve: Curve, start_ms: int, end_ms: int, width: int, height: int = 12) -> list[str]:
    """One curve in braille dots, with the values at the left and the time below."""
    known = [value for value in curve if value is not None and math.isfinite(value)]
    if not known:
        there = sorted({number(value) for value in curve if value is not None})
        return [f"every value in this range is {' or '.join(there)}" if there else "no value in this range"]
    low, high = min(known), max(known)
    marks = [number(high), number((low + high) / 2), number(low)]
    margin = max(map(len, marks)) + 1
    across = max(10, width - margin - 1)
    columns = _squeezed(curve, across * 2)
    cells = [[0] * across for _ in range(height)]
    size = high - low or 1.0
    before: int | None = None
    for x, value in enumerate(columns):
        if value is None:
            before = None
            continue
        y = round((high - value) / size * (height * 4 - 1)) if high > low else height * 2
        reached = y if before is None else before + (y > before) - (y < before)
        for dot in range(min(y, reached), max(y, reached) + 1):  # a steep line has no holes
            cells[dot // 4][x // 2] |= _DOTS[dot % 4][x % 2]
        before = y
    labels = {0: marks[0], height // 2: marks[1], height - 1: marks[2]}
    rows = [f"{labels.get(row, ''):>{margin}}│{''.join(chr(0x2800 + cell) for cell in line)}"
            for row, line in enumerate(cells)]
    begin, end = clock(start_ms), clock(end_ms)
    return [*rows, " " * margin + "└" + "─" * across, " " * (margin + 1) + begin + end.rjust(across - len(begin))]


def clock(time_ms: int) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _squeezed(curve: Curve, width: int) -> list[float | None]:
    """At most `width` columns; of the values that fall into one the greatest, so that no peak is lost."""
    if len(curve) <= width:
        return [value if value is not None and math.isfinite(value) else None for value in curve]
    columns: list[float | None] = []
    for column in range(width):
        part = curve[column * len(curve) // width : (column + 1) * len(curve) // width]
        columns.append(max((value for value in part if value is not None and math.isfinite(value)), default=None))
    return columns


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
