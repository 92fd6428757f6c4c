"""The only reader of time: wall time for what is stored, monotonic time for what is measured, and waiting.

Core functions take ``now_ms`` as an argument; loops take a `Clock`. `observe.testing.ManualClock` is the other one.
"""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A source of time, and a way to wait that a test can drive."""

    def now_ms(self) -> int:
        """Wall time, milliseconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean anything."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set (True) or `timeout_s` has passed (False)."""


class SystemClock:
    """The machine's own time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(max(0.0, timeout_s))
