"""Recorded series from CSV files: `timestamp` (ISO 8601, UTC where it says nothing, or an epoch) and `value`."""

import csv
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.errors import InvalidInput, Problem

_STEP_SAMPLE = 64
"""Gaps between timestamps that the interval is told from: the first ones, so that later rows change nothing before."""
NO_EPOCH = 1e20
"""Not even nanoseconds since 1970 are so many."""
_SHOWN = 60
"""Characters of a cell that a message shows."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded series, with its cells as they were written."""

    times_ms: NDArray[np.int64]
    """[T], in the file's order."""
    points: NDArray[np.float64]
    """[T]; NaN where the cell is empty."""
    cells: list[tuple[str, str]]
    """[T] timestamp and value as text."""

    @property
    def interval_ms(self) -> int:
        """The usual distance of two points."""
        steps = np.diff(self.times_ms[: _STEP_SAMPLE + 1])
        steps = steps[steps > 0]
        return int(np.median(steps)) if len(steps) else 60_000


def read_series(path: Path) -> Recorded:
    """Read one file. Raises InvalidInput naming file and line. Blank lines are no rows."""
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            line = 1
            for row in reader:
                if row:
                    lines.append(line)
                    rows.append(row)
                line = reader.line_num + 1  # a quoted cell may go over several
    except UnicodeDecodeError as error:
        raise InvalidInput(Problem("the file cannot be read as CSV", where=str(path), why=str(error),
                                   fix="save it as UTF-8")) from error
    except (OSError, csv.Error) as error:
        raise InvalidInput(Problem("the file cannot be read as CSV", where=str(path), why=str(error))) from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "timestamp" not in header or "value" not in header:
        found = _short(", ".join(header)) or "an empty file"
        raise InvalidInput(Problem("columns `timestamp` and `value` are wanted", where=str(path), line=1,
                                   why=f"found: {found}", fix="start the file with the line `timestamp,value`"))
    at_time, at_value = header.index("timestamp"), header.index("value")
    least = max(at_time, at_value) + 1
    cells: list[tuple[str, str]] = []
    values = np.empty(len(rows) - 1)
    for number, (line, row) in enumerate(zip(lines[1:], rows[1:], strict=True)):
        if len(row) < least:
            raise InvalidInput(Problem(f"{len(row)} cells where {least} are wanted", where=str(path), line=line))
        text = row[at_value].strip()
        try:
            values[number] = float(text) if text else math.nan
        except ValueError as error:
            raise InvalidInput(Problem(f"`{_short(text)}` is not a number", where=str(path), line=line,
                                       fix="leave the cell empty where there is no value")) from error
        cells.append((row[at_time], row[at_value]))
    return Recorded(_times(path, [cell[0] for cell in cells], lines[1:]), values, cells)


def _short(text: str) -> str:
    """A cell as a message can bear it: one quote that is not closed makes the rest of the file one cell."""
    if len(text) <= _SHOWN and text.isprintable():
        return text
    return "".join(itertools.takewhile(str.isprintable, text[:_SHOWN])) + "…"


def _times(path: Path, stamps: list[str], lines: list[int]) -> NDArray[np.int64]:
    import pandas as pd

    if not stamps:
        return np.empty(0, np.int64)
    try:
        epochs = np.array(stamps, np.float64)
    except ValueError:  # words
        parsed = pd.to_datetime(pd.Series(stamps), utc=True, format="ISO8601", errors="coerce")
        wrong = parsed.isna().to_numpy()
        times = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    else:
        wrong = ~(np.abs(epochs) < NO_EPOCH)
        times = epoch_ms(np.where(wrong, 0.0, epochs))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidInput(Problem(f"`{_short(stamps[row])}` is not a time", where=str(path), line=lines[row],
                                   fix="write it as 2026-01-31T12:00:00Z"))
    return times


def epoch_ms(epochs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Epochs in s, ms, µs or ns, told by their magnitude, as milliseconds."""
    magnitude = float(np.nanmedian(np.abs(epochs))) if len(epochs) else 0.0
    scale = 1e3 if magnitude < 1e11 else 1.0 if magnitude < 1e14 else 1e-3 if magnitude < 1e17 else 1e-6
    return np.round(epochs * scale).astype(np.int64)
