"""Faults to switch on and off while the gateway serves: `POST /faults/NAME?seconds=60`, `DELETE /faults/NAME`."""

import threading
import time
from collections.abc import Callable

FAULTS = {
    "slow_decode": "every decoded token waits, as on a GPU that throttles",
    "queue_pileup": "all workers but one stop taking work, so the queue fills and refuses",
    "error_burst": "one request in three fails in decode",
    "memory_leak": "every request leaves a megabyte and objects in cycles behind: memory and garbage collection grow",
    "cache_wipe": "the inference cache is emptied all the time",
}


class Faults:
    """Which faults are on, and until when. Safe from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def start(self, name: str, seconds: float) -> None:
        """Switch on for `seconds`. Raises KeyError for a fault that does not exist."""
        if name not in FAULTS:
            raise KeyError(name)
        with self._lock:
            self._until[name] = self._monotonic() + seconds

    def stop(self, name: str) -> None:
        with self._lock:
            self._until.pop(name, None)

    def on(self, name: str) -> bool:
        return self._until.get(name, 0.0) > self._monotonic()

    def active(self) -> dict[str, float]:
        """Name -> seconds left."""
        now = self._monotonic()
        with self._lock:
            return {name: until - now for name, until in self._until.items() if until > now}
