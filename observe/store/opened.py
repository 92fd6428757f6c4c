"""A look into a data folder from Python, beside the process that owns it: `observe.store.open(folder).frame(...)`."""

import importlib
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from observe.clock import SystemClock
from observe.duration import parse_duration_ms
from observe.errors import StorageError, UsageError
from observe.model import ABSENT_NAN_BITS
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry

if TYPE_CHECKING:
    import pandas as pd

Moment = datetime | str | float
"""A time: a datetime or ISO text (UTC where it names no zone), or seconds since the epoch as in the HTTP API."""
_TRIES = 5


class OpenedStore:
    """The metrics of one folder as they are when it is opened. Nothing in the folder is changed."""

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder)
        if (path / "metrics").is_dir():
            path /= "metrics"
        if not (path / "wal").is_dir():
            raise StorageError(f"{folder} holds no metrics of observe; give the folder that was named with --data")
        self.store = _read(path)
        # PromQL stands on top of the store, so only a person's question may reach up to it, and by name.
        engine = importlib.import_module("observe.promql.engine").Engine
        self._engine: Any = engine(self.store)

    def frame(self, expr: str, start: Moment, end: Moment, step: str = "15s") -> "pd.DataFrame":
        """`expr` from `start` to `end`: a row each `step` (UTC), a column each series, NaN where there is no point."""
        import pandas as pd

        matrix = self._engine.range(expr, moment_ms(start), moment_ms(end), parse_duration_ms(step))
        values = np.array(matrix.values.T)  # noqa: PD011 - a Matrix, not a frame
        values[values.view(np.uint64) == np.uint64(ABSENT_NAN_BITS)] = np.nan
        return pd.DataFrame(
            values, index=pd.DatetimeIndex(pd.to_datetime(matrix.times_ms, unit="ms", utc=True), name="time"),
            columns=[str(labels) for labels in matrix.labels],
        )

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()


def moment_ms(moment: Moment) -> int:
    """Milliseconds since the epoch."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise UsageError(f"`{moment}` is no time; write it like 2026-11-21T04:00, or as seconds") from error
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return round(moment * 1000)


def _read(path: Path) -> MetricStore:
    """Read blocks and log. Where the owner moved samples from one to the other meanwhile, read again."""
    for _ in range(_TRIES):
        before = _listing(path)
        try:
            store = MetricStore(path, MetricSettings(), SystemClock(), Telemetry(), read_only=True)
        except FileNotFoundError:
            continue
        if _listing(path) == before:
            return store
        store.close()
    raise StorageError(f"{path} changes faster than it can be read; try again")


def _listing(path: Path) -> list[str]:
    """The blocks there are."""
    return sorted(entry.name for entry in (path / "blocks").glob("[!.]*"))
