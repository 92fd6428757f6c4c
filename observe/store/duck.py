"""The one way to DuckDB: in process, bounded, one thread of its own work, a cursor a thread of ours."""

import threading
from typing import Any

from observe.errors import StorageError


class Duck:
    """Opened at the first use: a store that only appends does without."""

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._local = threading.local()
        self._connection: Any = None

    def cursor(self) -> Any:
        """This thread's cursor."""
        known = getattr(self._local, "cursor", None)
        if known is not None:
            return known
        import duckdb

        with self._lock:
            if self._connection is None:
                try:
                    self._connection = duckdb.connect(":memory:", config={
                        "threads": 1, "memory_limit": f"{self.memory_bytes}B", "autoinstall_known_extensions": False,
                        "autoload_known_extensions": False, "temp_directory": "",  # never into the working folder
                    })
                except duckdb.Error as error:
                    raise StorageError(f"cannot start DuckDB for blocks of metrics: {error}") from error
            self._local.cursor = self._connection.cursor()
        return self._local.cursor

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._local = threading.local()
