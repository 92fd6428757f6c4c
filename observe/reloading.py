"""One reload at a time, and what came of the last: a refused one leaves the old configuration and says so only here."""

import threading
from collections.abc import Callable

from observe.clock import Clock
from observe.telemetry import Telemetry


class Reloading:
    """`apply` behind a lock, its outcome kept and exported; call it as you would `apply`."""

    def __init__(self, apply: Callable[[], str], clock: Clock, telemetry: Telemetry) -> None:
        self._apply = apply
        self._clock = clock
        self._lock = threading.Lock()
        self._outcome = (True, clock.now_ms())
        self._successful = telemetry.gauge(
            "observe_config_last_reload_successful", "Whether the last reload of the configuration was taken.")
        self._at_s = telemetry.gauge(
            "observe_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read (Unix time).")
        self._keep(*self._outcome)

    @property
    def outcome(self) -> tuple[bool, int]:
        """Whether the last one was taken, and since when (ms) the configuration in force is."""
        return self._outcome

    def __call__(self) -> str:
        """What `apply` says; its exceptions pass."""
        with self._lock:
            try:
                said = self._apply()
            except BaseException:
                self._keep(False, self._outcome[1])
                raise
            self._keep(True, self._clock.now_ms())
            return said

    def _keep(self, taken: bool, at_ms: int) -> None:
        self._outcome = (taken, at_ms)
        self._successful.set(taken)
        self._at_s.set(at_ms / 1000)
