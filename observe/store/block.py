"""A block: an hour or a day of samples in a folder of its own, never changed once it is there.

::

    hour-20231114T22-00000017/
        block.json             what it holds, and up to which segment of the log
        series.parquet         series, metric, labels, samples, first and last time
        samples-000.parquet    series, timestamp_ms, value: by series, then time; then -001 and on
        index.bin              the labels once more, for us (block_index.py); made of series.parquet where missing

A value that is NULL is the staleness marker: the series ended there. NaN is a NaN that was reported.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observe.durable import sync_folder
from observe.errors import LimitExceeded, StorageError
from observe.model import NORMAL_NAN_BITS, STALE_NAN, STALE_NAN_BITS, Labels, Samples
from observe.store.block_index import BlockIndex
from observe.store.duck import Duck
from observe.store.postings import Ids

_ROW_GROUP = 30_720
_FEW_RUNS = 4
_OF_THE_PROCESS = frozenset({errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What may keep a process from reading a file that is whole."""
_NAMED_AT_ONCE = 20_000
FORMAT = 1


class DamagedBlock(StorageError):
    """A block does not hold what was written: the one reason to set it aside."""


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """What `block.json` says."""

    format: int
    start_ms: int
    end_ms: int
    """Samples are before this."""
    series: int
    samples: int
    pieces: list[int]
    """First series of each file of samples."""
    segment: int
    """Samples of these hours in segments of the log up to this one are here."""
    sources: list[str]
    """Blocks that this one replaces."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block on the disk."""

    path: Path
    info: BlockInfo
    size_bytes: int

    @classmethod
    def open(cls, path: Path) -> "Block":
        """Raises `DamagedBlock` where it is not whole, `StorageError` where this process cannot tell."""
        try:
            info = BlockInfo(**json.loads((path / "block.json").read_bytes()))
            if info.format != FORMAT:
                raise DamagedBlock(f"the block {path} has format {info.format}; this version reads {FORMAT}")
            size = sum((path / piece_name(n)).stat().st_size for n in range(len(info.pieces)))
            size += sum(file.stat().st_size for file in path.iterdir() if not file.name.startswith("samples-"))
        except (OSError, ValueError, TypeError) as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_PROCESS:
                raise _not_its_fault(path, error) from error
            raise DamagedBlock(f"the block {path} is not whole: {error}") from error
        return cls(path, info, size)

    def load_index(self, duck: Duck) -> BlockIndex:
        try:
            return BlockIndex.load((self.path / "index.bin").read_bytes())
        except (StorageError, OSError):
            return self._index_from_series(duck)

    def _index_from_series(self, duck: Duck) -> BlockIndex:
        sql = ("SELECT CAST(to_json(labels) AS VARCHAR) AS labels, samples, first_ms, last_ms FROM read_parquet(?) "
               "ORDER BY series")
        found = _ask(duck, self.path, sql, [str(self.path / "series.parquet")])
        labels = [Labels(json.loads(row)) for row in found["labels"]]
        counts, first, last = (np.asarray(found[name]).astype(np.int64) for name in ("samples", "first_ms", "last_ms"))
        return BlockIndex.of(labels, counts, first, last)

    def read(self, duck: Duck, ids: Ids, labels: Sequence[Labels], start_ms: int, end_ms: int) -> Samples:
        """Samples in the range of series `ids` (ascending), which are called `labels`."""
        series, times, values = self._columns(duck, ids, start_ms, end_ms)
        offsets = np.searchsorted(series, np.append(ids, ids[-1] + 1)).astype(np.int64)
        return Samples(tuple(labels), offsets, times, values)

    def _files(self, ids: Ids) -> list[str]:
        """Files that hold some of `ids`."""
        edges = np.searchsorted(ids, [*self.info.pieces, 2**32]).tolist()
        return [str(self.path / piece_name(piece)) for piece, (low, high) in enumerate(pairwise(edges)) if low < high]

    def _columns(
        self, duck: Duck, ids: Ids, start_ms: int, end_ms: int,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]:
        breaks = np.flatnonzero(np.diff(ids) != 1) + 1
        scattered = len(breaks) >= _FEW_RUNS
        if scattered:
            conditions = [f"series BETWEEN {ids[0]} AND {ids[-1]}"]
        else:
            runs = zip(ids[np.concatenate([[0], breaks])].tolist(), ids[np.concatenate([breaks - 1, [-1]])].tolist(),
                       strict=True)
            conditions = [" OR ".join(f"series BETWEEN {low} AND {high}" for low, high in runs)]
        if start_ms > self.info.start_ms:
            conditions.append(f"timestamp_ms >= {start_ms}")
        if end_ms < self.info.end_ms - 1:
            conditions.append(f"timestamp_ms <= {end_ms}")
        where = " AND ".join(f"({condition})" for condition in conditions)
        chosen = "SEMI JOIN wanted USING (series)" if scattered else ""
        sql = f"SELECT series, timestamp_ms, value FROM read_parquet(?) {chosen} WHERE {where}"  # noqa: S608 - numbers
        found = _ask(duck, self.path, sql, [self._files(ids)], {"wanted": {"series": ids}} if scattered else {})
        series = np.asarray(found["series"]).astype(np.uint32, copy=False)
        times = np.asarray(found["timestamp_ms"]).astype(np.int64, copy=False)
        values = _values(found["value"])
        if scattered and (series[1:] < series[:-1]).any():  # a join may turn around which side it reads in order
            order = np.lexsort((times, series))
            series, times, values = series[order], times[order], values[order]
        return series, times, values


class BlockWriter:
    """Writes a block beside its place; `finish` puts it there, whole and synced."""

    def __init__(self, duck: Duck, folder: Path, name: str) -> None:
        self._duck = duck
        self._folder = folder
        self._name = name
        self._path = folder / f".{name}.tmp"
        self._pieces: list[int] = []
        self._samples = 0
        remove_folder(self._path)
        self._path.mkdir(parents=True)

    def add(self, first_series: int, samples: Samples) -> None:
        """Append the samples of the series numbered `first_series` and on."""
        series = np.repeat(np.arange(first_series, first_series + len(samples), dtype=np.uint32),
                           np.diff(samples.offsets))
        nan = np.isnan(samples.values) & (samples.values.view(np.uint64) != np.uint64(STALE_NAN_BITS))
        # DuckDB takes every NaN of a NumPy column for NULL, which is right for the staleness marker alone.
        rows = {"series": series, "timestamp_ms": samples.timestamps, "value": samples.values}
        value = "value"
        if nan.any():
            rows["nan"] = nan
            value = "CASE WHEN nan THEN 'NaN'::DOUBLE ELSE value END AS value"
        select = f"SELECT series, timestamp_ms, {value} FROM rows"  # noqa: S608 - one of two constants
        _copy(self._duck, self._path / piece_name(len(self._pieces)), select, rows)
        self._pieces.append(first_series)
        self._samples += len(samples.values)

    def name(self, index: BlockIndex) -> Iterator[None]:
        """Write the names of the series, some ten thousand at a time."""
        whole = self._path / "series.parquet"
        parts: list[Path] = []
        for low in range(0, max(1, len(index)), _NAMED_AT_ONCE):
            some = slice(low, low + _NAMED_AT_ONCE)
            every = index.labels_between(low, min(low + _NAMED_AT_ONCE, len(index)))
            rows = {
                "series": index.all_ids()[some], "metric": np.array([labels.name for labels in every], object),
                "labels": np.array([json.dumps(dict(labels)) for labels in every], object),
                "samples": index.counts[some], "first_ms": index.first_ms[some], "last_ms": index.last_ms[some],
            }
            parts.append(self._path / f"series-{len(parts):03}.parquet")
            _copy(self._duck, parts[-1],
                  "SELECT series, metric, CAST(labels::JSON AS MAP(VARCHAR, VARCHAR)) AS labels, "
                  "samples, first_ms, last_ms FROM rows", rows)
            yield
        if len(parts) == 1:
            parts[0].rename(whole)
            return
        files = ", ".join(f"'{_quoted(part)}'" for part in parts)
        _copy(self._duck, whole, f"SELECT * FROM read_parquet([{files}])", {})  # noqa: S608 - names of our own
        for part in parts:
            part.unlink()
        yield

    def finish(
        self, index: BlockIndex, start_ms: int, end_ms: int, segment: int, sources: Sequence[str] = (),
    ) -> Block:
        """Sync everything, and let the block appear."""
        (self._path / "index.bin").write_bytes(index.dump())
        info = BlockInfo(FORMAT, start_ms, end_ms, len(index), self._samples, self._pieces, segment, list(sources))
        (self._path / "block.json").write_text(json.dumps(asdict(info)))
        for file in self._path.iterdir():
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(self._path)
        final = self._folder / self._name
        self._path.rename(final)
        sync_folder(self._folder)
        return Block.open(final)

    def abandon(self) -> None:
        remove_folder(self._path)


def piece_name(piece: int) -> str:
    return f"samples-{piece:03}.parquet"


def remove_folder(path: Path) -> None:
    """Delete a block: out of sight by one rename, so that a half deleted one is never taken for whole."""
    if not path.exists():
        return
    import shutil

    hidden = path if path.name.startswith(".") else path.with_name(f".{path.name}.gone")
    if hidden != path:
        path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _values(column: Any) -> NDArray[np.float64]:
    """A column of values: NULL is the staleness marker, every NaN Prometheus' ordinary one."""
    values = np.array(np.ma.getdata(column), np.float64)
    nan = np.isnan(values)
    if nan.any():
        values.view(np.uint64)[nan] = NORMAL_NAN_BITS
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
    if mask is not None and mask.any():
        values[mask] = STALE_NAN
    return values


def _ask(
    duck: Duck, path: Path, sql: str, arguments: Sequence[Any], tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The columns of the answer. `tables` are columns by name, to be joined with."""
    import duckdb

    try:
        cursor = duck.cursor()
        for name, columns in (tables or {}).items():
            cursor.register(name, columns)
        found: dict[str, Any] = cursor.execute(sql, arguments).fetchnumpy()
        for name in tables or ():
            cursor.unregister(name)
    except duckdb.OutOfMemoryException as error:
        raise LimitExceeded(
            f"DuckDB has no room to read the block {path.name}: ask for fewer series or a shorter range",
            limit="store.duckdb_bytes",
        ) from error
    except duckdb.Error as error:
        if "Too many open files" in str(error):  # says nothing about the block
            raise LimitExceeded(f"cannot open the block {path.name}: {error}", limit="ulimit -n") from error
        _look_whether_it_may_be_read(path)
        raise DamagedBlock(f"the block {path} cannot be read: {error}") from error
    return found


def _look_whether_it_may_be_read(path: Path) -> None:
    """Raises `FileNotFoundError` where the block is gone, `StorageError` where it is this process that cannot read."""
    try:
        for file in list(path.iterdir()):
            with file.open("rb") as opened:
                opened.read(1)
    except OSError as error:
        if error.errno in _OF_THE_PROCESS:
            raise _not_its_fault(path, error) from error
        if not path.exists():
            raise FileNotFoundError(path) from error


def _not_its_fault(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot read the block {path}: {error.strerror}: {error.filename or path}; give this user the right to read "
        "what is there, and more open files where they are too few",
    )


def _copy(duck: Duck, path: Path, select: str, rows: dict[str, Any]) -> None:
    import duckdb

    cursor = duck.cursor()
    try:
        if rows:
            cursor.register("rows", rows)
        # Without dictionaries integers are written as differences and doubles by byte streams: smaller, measured.
        cursor.execute(f"COPY ({select}) TO '{_quoted(path)}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, "
                       f"DICTIONARY_SIZE_LIMIT 1, ROW_GROUP_SIZE {_ROW_GROUP})")
    except (duckdb.Error, OSError) as error:
        raise StorageError(
            f"cannot write the block {path.parent}: {error}; its samples stay in memory and in the log: free some "
            "space there, or lower the retention",
        ) from error
    finally:
        cursor.unregister("rows")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
