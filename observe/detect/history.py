"""Old data for new bands: a range query, a CSV or a Parquet file as columns that an engine can learn at once.

A file has the columns ``timestamp`` and ``value``; every other column of a Parquet file is a label.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.detect.recorded import epoch_ms, read_series
from observe.errors import InvalidInput, Problem
from observe.model import Labels, Matrix


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


def from_matrix(matrix: Matrix) -> History:
    """The result of a range query."""
    return History(matrix.times_ms, matrix.labels, np.ascontiguousarray(matrix.values.T))


def read_csv(path: Path, labels: Labels) -> History:
    """One series from a CSV file `timestamp,value`."""
    series = read_series(path)
    times, first = np.unique(series.times_ms, return_index=True)
    return History(times, (labels,), series.points[first].reshape(-1, 1))


def read_parquet(path: Path) -> History:
    """Series from a Parquet file: a row a sample; the columns beside `timestamp` and `value` are labels."""
    import duckdb

    if not path.exists():
        raise InvalidInput(Problem("there is no such file", where=str(path)))
    with duckdb.connect() as connection:
        try:
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        except duckdb.Error as error:
            unreadable = Problem("the file cannot be read as Parquet", where=str(path), why=str(error))
            raise InvalidInput(unreadable) from error
        columns = {name[0]: column for name, column in zip(found.description, found.fetchnumpy().values(), strict=True)}
    if not {"timestamp", "value"} <= columns.keys():
        raise InvalidInput(Problem("columns `timestamp` and `value` are wanted", where=str(path),
                                   why=f"found: {', '.join(columns)}"))
    stamps = np.asarray(columns.pop("timestamp"))
    values = np.asarray(columns.pop("value"), np.float64)
    stamped = stamps.dtype.kind == "M"
    times: NDArray[np.int64] = (
        stamps.astype("datetime64[ms]").astype(np.int64) if stamped else epoch_ms(stamps.astype(np.float64))
    )
    names = [Labels((key, str(cell)) for key, cell in zip(columns, row, strict=True))
             for row in zip(*columns.values(), strict=True)] or [Labels()] * len(values)
    return _grid(times, names, values)


def _grid(times: NDArray[np.int64], names: list[Labels], values: NDArray[np.float64]) -> History:
    grid, rows = np.unique(times, return_inverse=True)
    labels = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(labels)}
    table = np.full((len(grid), len(labels)), np.nan)
    table[rows, [place[name] for name in names]] = values
    return History(grid, labels, table)
