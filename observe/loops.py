"""The loops that every server of ours runs: HTTP, rules, the metric store's upkeep. Each ends when `stop` is set."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from observe.alert.evaluate import RuleEvaluator
from observe.clock import Clock
from observe.collect.discovery import TargetBook, follow
from observe.collect.scrape import Scraper
from observe.collect.target import Target
from observe.model import Labels
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

_SYNC_EVERY_S = 5.0
"""At most so much of the metrics is lost when the power goes."""
_MAINTAIN_EVERY_S = 5.0
_LONGEST_PAUSE_S = 60.0
_BETWEEN_PIECES_S = 0.01
"""While a large snapshot is cut, the data thread takes samples in between: half of its time."""


class _Server(uvicorn.Server):
    """Leaves signals to the command, which stops everything in order, and sleeps until it is told to go."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Uvicorn's own wakes ten times a second: 3 ms of CPU each second, more than 2 000 series need."""
        await self.on_tick(0)  # sets the headers of all answers
        await self.leave.wait()


async def serve(web: ASGIApp, address: tuple[str, int], stop: asyncio.Event) -> None:
    """Answer HTTP on `address`. Sets `stop` when the server ends by itself."""
    host, port = address
    server = _Server(uvicorn.Config(
        web, host=host, port=port, log_level="warning", access_log=False, lifespan="on",
        timeout_graceful_shutdown=3, server_header=False, date_header=False,
        # As long as Prometheus: after uvicorn's own 5 s its clients find their connections closed.
        timeout_keep_alive=300,
    ))
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    server.leave.set()
    await serving
    stop.set()
    await stopping


async def evaluate(
    evaluator: RuleEvaluator, data: Executor, clock: Clock, telemetry: Telemetry, stop: asyncio.Event,
) -> None:
    """Tick the rules whenever a group is due, on the data thread."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        try:
            await loop.run_in_executor(data, evaluator.tick, clock.now_ms())
        except Exception:
            _log.exception("a tick of the rules failed; the next one comes")
            telemetry.dropped("rules", "tick failed")
        due_ms = evaluator.next_due_ms(clock.now_ms())
        try:
            while clock.now_ms() < due_ms and await loop.run_in_executor(data, evaluator.keep_on):
                if await pause(stop, _BETWEEN_PIECES_S):
                    break
        except Exception:
            _log.exception("a snapshot of the rules failed; a later one comes")
            telemetry.dropped("rules", "snapshot failed")
        await pause(stop, min(max(0.05, (due_ms - clock.now_ms()) / 1000), _LONGEST_PAUSE_S))


async def keep_metrics(metrics: MetricStore, clock: Clock, telemetry: Telemetry, stop: asyncio.Event) -> None:
    """Sync the log every 5 s; cut blocks, compact and delete what is too old in small steps."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_every(_SYNC_EVERY_S, metrics.sync, telemetry, stop))
        group.create_task(_every(_MAINTAIN_EVERY_S, lambda: metrics.maintain(clock.now_ms()), telemetry, stop))


async def _every(seconds: float, work: Callable[[], Any], telemetry: Telemetry, stop: asyncio.Event) -> None:
    while not await pause(stop, seconds):
        try:
            await asyncio.to_thread(work)
        except Exception:
            _log.exception("upkeep of the metric store failed; it is tried again")
            telemetry.dropped("store", "upkeep failed")


class TargetFollower:
    """Keeps the scraper's targets those of the current book and the fixed ones, also across reloads."""

    def __init__(self, scraper: Scraper, book: TargetBook, fixed: Sequence[Target]) -> None:
        self._scraper = scraper
        self._current = (book, tuple(fixed))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    @property
    def dropped(self) -> tuple[tuple[str, Labels], ...]:
        """Job and discovered labels of targets that relabelling dropped."""
        return self._current[0].dropped

    def switch(self, book: TargetBook, fixed: Sequence[Target]) -> None:
        """Follow these from now on. From any thread."""
        self._current = (book, tuple(fixed))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def run(self, stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            self._changed.clear()
            ended = asyncio.Event()
            book, fixed = self._current
            following = asyncio.create_task(follow(book, self._scraper, fixed, ended))
            changing = asyncio.create_task(self._changed.wait())
            await asyncio.wait({stopping, changing}, return_when=asyncio.FIRST_COMPLETED)
            changing.cancel()
            ended.set()
            await following


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; True as soon as `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()
