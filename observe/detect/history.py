"""Old data for new bands: a range query, a CSV or a Parquet file as columns that an engine can learn at once.

A file has the columns ``timestamp`` and ``value``; every other column is a label.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.detect.recorded import NO_EPOCH, epoch_ms, read_series
from observe.errors import InvalidInput, Problem
from observe.model import Labels

_PIECE_POINTS = 250_000


@dataclass(frozen=True, slots=True)
class History:
    """The past of some series on one grid of times."""

    times_ms: NDArray[np.int64]
    """[T] ascending."""
    labels: tuple[Labels, ...]
    """[S]."""
    values: NDArray[np.float64]
    """[T, S]; NaN where a series has no point."""

    @property
    def span_ms(self) -> int:
        return int(self.times_ms[-1] - self.times_ms[0]) if len(self.times_ms) > 1 else 0

    def part(self, first: int, last: int) -> "History":
        """Ticks `first` to before `last`."""
        return History(self.times_ms[first:last], self.labels, self.values[first:last])

    def pieces(self, points: int = _PIECE_POINTS) -> Iterator["History"]:
        """The same in parts of about so many points, in the order of time: bounds what a fold holds at once."""
        ticks = max(1, points // max(1, len(self.labels)))
        for first in range(0, len(self.times_ms), ticks):
            yield self.part(first, first + ticks)


def joined(older: History, newer: History) -> History:
    """`newer`, and of `older` what lies before it."""
    if not len(older.times_ms) or not len(newer.times_ms):
        return newer if len(newer.times_ms) else older
    older = older.part(0, int(np.searchsorted(older.times_ms, newer.times_ms[0])))
    labels = tuple(sorted({*older.labels, *newer.labels}))
    place = {name: number for number, name in enumerate(labels)}
    table = np.full((len(older.times_ms) + len(newer.times_ms), len(labels)), np.nan)
    for part, first in ((older, 0), (newer, len(older.times_ms))):
        table[first : first + len(part.times_ms), [place[name] for name in part.labels]] = part.values
    return History(np.concatenate([older.times_ms, newer.times_ms]), labels, table)


def read_csv(path: Path, labels: Labels) -> History:
    """One series from a CSV file `timestamp,value`."""
    series = read_series(path)
    times, first = np.unique(series.times_ms, return_index=True)
    return History(times, (labels,), series.points[first].reshape(-1, 1))


def read_file(path: Path) -> History:
    """Series from a CSV (``.csv``) or else a Parquet file: a row a sample, columns beside the two are labels."""
    import duckdb

    if not path.exists():
        raise InvalidInput(Problem("there is no such file", where=str(path), fix="correct the path"))
    is_csv = path.suffix.lower() == ".csv"
    kind, reader = ("CSV", "read_csv(?, header = true)") if is_csv else ("Parquet", "read_parquet(?)")
    with duckdb.connect() as connection:
        try:
            kinds = connection.execute(f"DESCRIBE FROM {reader}", [str(path)]).fetchall()
            types = {str(row[0]): str(row[1]) for row in kinds}
            if not {"timestamp", "value"} <= types.keys():
                raise InvalidInput(Problem("columns `timestamp` and `value` are wanted", where=str(path),
                                           why=f"found: {', '.join(types)}"))
            stamped = types["timestamp"].startswith(("TIMESTAMP", "DATE"))
            when = "epoch_ms(timestamp)" if stamped else "timestamp::DOUBLE"
            others = "".join(f', "{_quoted(name)}"' for name in types if name not in {"timestamp", "value"})
            found = connection.execute(f"SELECT {when} AS at, value::DOUBLE AS value{others} FROM {reader} "  # noqa: S608
                                       "WHERE timestamp IS NOT NULL", [str(path)])
            cells = found.fetchnumpy().values()
            columns = {name[0]: column for name, column in zip(found.description, cells, strict=True)}
        except duckdb.Error as error:
            unreadable = Problem(f"the file cannot be read as {kind}", where=str(path), why=str(error).splitlines()[0])
            raise InvalidInput(unreadable) from error
    at, values = np.asarray(columns.pop("at")), np.ma.filled(np.ma.asarray(columns.pop("value"), np.float64), np.nan)
    if not stamped and not (np.abs(at.astype(np.float64)) < NO_EPOCH).all():
        raise InvalidInput(Problem("a `timestamp` of it is no time", where=str(path),
                                   fix="write times as 2026-01-31T12:00:00Z, or as epochs"))
    times: NDArray[np.int64] = at.astype(np.int64) if stamped else epoch_ms(at.astype(np.float64))
    words = [np.ma.filled(np.ma.asarray(column).astype(object), "") for column in columns.values()]
    names = [Labels((key, str(cell)) for key, cell in zip(columns, row, strict=True))
             for row in zip(*words, strict=True)] or [Labels()] * len(values)
    return _grid(times, names, values)


def _quoted(name: str) -> str:
    """A column's name as it stands within SQL's quotes."""
    return name.replace('"', '""')


def _grid(times: NDArray[np.int64], names: list[Labels], values: NDArray[np.float64]) -> History:
    grid, rows = np.unique(times, return_inverse=True)
    labels = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(labels)}
    table = np.full((len(grid), len(labels)), np.nan)
    table[rows, [place[name] for name in names]] = values
    return History(grid, labels, table)
