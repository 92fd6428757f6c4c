"""When one target is scraped: at its own offset within the interval, one scrape at a time.

Of the event loop: timers and connections only. A page that has come is handed to the data thread.
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor

from observe.clock import Clock
from observe.collect.fetched import Failed, Fetched, PageSource
from observe.collect.target import Target
from observe.collect.target_series import TargetSeries
from observe.telemetry import Telemetry


class TargetLoop:
    """Fetches a target's pages from `source` and has `series` take them on the `data` thread."""

    def __init__(
        self, target: Target, source: PageSource, series: TargetSeries, data: Executor,
        loop: asyncio.AbstractEventLoop, clock: Clock, telemetry: Telemetry, *, align_tolerance_ms: int,
    ) -> None:
        self.target = target
        self.series = series
        self._source = source
        self._data = data
        self._loop = loop
        self._clock = clock
        self._telemetry = telemetry
        self._align_tolerance_ms = align_tolerance_ms
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False
        digest = hashlib.blake2b(f"{target.url}\0{target.labels}".encode(), digest_size=8).digest()
        self._offset_ms = int.from_bytes(digest, "big") % target.interval_ms

    def start(self) -> None:
        now_ms = self._clock.now_ms()
        self._arm(self._due_after(now_ms - 1), now_ms)

    def halt(self) -> None:
        """No more scrapes; one in flight is given up."""
        if self._timer is not None:
            self._timer.cancel()
        self._source.close()

    def end(self) -> None:
        """The target is gone for good: its series end now."""
        at_ms = self._clock.now_ms()
        self._submit(lambda: self.series.end(at_ms))

    def _due_after(self, now_ms: int) -> int:
        """The first time after `now_ms` that is n intervals plus this target's offset."""
        interval = self.target.interval_ms
        return (now_ms - self._offset_ms) // interval * interval + interval + self._offset_ms

    def _arm(self, due_ms: int, now_ms: int) -> None:
        self._timer = self._loop.call_later(max(0, due_ms - now_ms) / 1000, self._tick, due_ms)

    def _tick(self, due_ms: int) -> None:
        now_ms = self._clock.now_ms()
        late_ms = now_ms - due_ms
        # A timer may go off a little early; a clock that was set starts the count anew.
        done_ms = max(now_ms, due_ms) if abs(late_ms) < self.target.interval_ms else now_ms
        self._arm(self._due_after(done_ms), now_ms)
        if self._busy:
            self._telemetry.dropped("scrape", "overrun")
            return
        self._busy = True
        at_ms = due_ms if abs(late_ms) <= self._align_tolerance_ms else now_ms
        began = self._clock.monotonic()
        self._source.fetch(lambda result: self._came(result, at_ms, began), self.target.timeout_ms / 1000)

    def _came(self, result: Fetched | Failed, at_ms: int, began: float) -> None:
        self._submit(lambda: self._take(result, at_ms, began))

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._data.submit(work)
        except RuntimeError:  # the data thread has ended: we are shutting down
            self._busy = False

    def _take(self, result: Fetched | Failed, at_ms: int, began: float) -> None:
        """On the data thread."""
        try:
            self.series.take(result, at_ms, began)
        finally:
            self._busy = False
