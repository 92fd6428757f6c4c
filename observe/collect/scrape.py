"""The scraper: a loop for every target that is wanted, and none for those that are not any more.

The event loop does sockets and timers only. A page that has come is handed to the data thread, which parses, appends
and reports. Each target has at most one scrape in flight; a slow or broken one delays nobody. At shutdown no series
ends, for we do not know that it did.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from observe.clock import Clock
from observe.collect.fetched import PageSource
from observe.collect.http_connection import Buffers
from observe.collect.http_page import HttpPage
from observe.collect.local_page import LocalPage
from observe.collect.target import Target
from observe.collect.target_loop import TargetLoop
from observe.collect.target_series import TargetSeries
from observe.model import Labels
from observe.protocols import SampleSink, TargetHealth
from observe.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """Bounds of the scraper."""

    body_size_limit: int = 64 * 1024 * 1024
    """Bytes of a page, after decompression; a target may have a lower one."""
    line_limit: int = 1_000_000
    """Lines of a page, whatever becomes of them: new lines are read one by one, and all targets share that thread."""
    align_tolerance_ms: int = 50
    """A scrape that starts no later than this after its time is stamped with its time: even steps compress better."""


class Scraper:
    """Scrapes a changing set of targets until told to stop."""

    def __init__(
        self, settings: ScrapeSettings, sink: SampleSink, data: Executor, clock: Clock, telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._data = data
        self._clock = clock
        self._telemetry = telemetry
        self._buffers = Buffers()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: tuple[Target, ...] = ()
        self._loops: dict[tuple[str, str, Labels], TargetLoop] = {}

    def set_targets(self, targets: Sequence[Target]) -> None:
        """Scrape these from now on; an unchanged one keeps its connection and its cache. From any thread."""
        self._wanted = tuple(targets)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._apply)

    async def run(self, stop: asyncio.Event) -> None:
        """Scrape until `stop`; then pages already here are still stored."""
        self._loop = asyncio.get_running_loop()
        self._apply()
        try:
            await stop.wait()
        finally:
            for each in self._loops.values():
                each.halt()
            self._loop = None

    def health(self) -> list[TargetHealth]:
        """Every target, by job and address. From any thread."""
        found = [each.series.health() for each in list(self._loops.values())]
        return sorted(found, key=lambda one: (one.job, one.url))

    def _apply(self) -> None:
        if self._loop is None:
            return
        wanted = {target.key: target for target in self._wanted}
        names = {target.labels for target in wanted.values()}
        for key in [key for key in self._loops if key not in wanted]:
            gone = self._loops.pop(key)
            gone.halt()
            if gone.target.labels not in names:
                gone.end()
        for key, target in wanted.items():
            running = self._loops.get(key)
            if running is not None and running.target == target and running.target.read == target.read:
                continue
            if running is not None:
                running.halt()
            self._loops[key] = made = self._target_loop(target, self._loop, running)
            made.start()

    def _target_loop(
        self, target: Target, loop: asyncio.AbstractEventLoop, before: TargetLoop | None,
    ) -> TargetLoop:
        limit = self._settings.body_size_limit
        body_limit = min(target.body_size_limit or limit, limit)
        source: PageSource
        if target.read is None:
            source = HttpPage(target, self._buffers, body_limit, loop)
        else:
            source = LocalPage(target.url, target.read, loop)
        series = TargetSeries(
            target, self._sink, self._clock, self._telemetry, None if before is None else before.series,
            body_limit=body_limit, line_limit=self._settings.line_limit,
        )
        return TargetLoop(target, source, series, self._data, loop, self._clock, self._telemetry,
                          align_tolerance_ms=self._settings.align_tolerance_ms)
