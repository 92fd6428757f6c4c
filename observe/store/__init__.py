"""Keep what was collected: metrics (columnar head, write-ahead log, Parquet), logs and spans (spool, index)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observe.store.opened import OpenedStore


def open(folder: str | Path) -> "OpenedStore":  # noqa: A001 - `observe.store.open` is what people type
    """Read the metrics under a data folder, also while observe runs there: ``open("data").frame("up", start, end)``."""
    from observe.store.opened import OpenedStore

    return OpenedStore(folder)
