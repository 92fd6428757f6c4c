"""Collectors, which read one source each and fail alone, and the exporter that reads them.

A collector writes samples on a `Page`. One that fails loses its own samples and shows
``exporter_success{collector} 0``; the scrape itself never fails. Collectors with `every_s` run in the background once
the exporter is started, so that a slow source does not make a scrape slow.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Self

from observe.errors import ObserveError
from observe.exporters.page import Metric, Page

MAX_PROBLEM: Final = 500
"""Characters of a collector's problem that are told."""

log = logging.getLogger("observe.exporters")

SUCCESS: Final = Metric(
    "exporter_success", "gauge", "", "1 if the collector read its source, 0 if not.", ("collector",),
)
DURATION: Final = Metric(
    "exporter_duration_seconds", "gauge", "seconds", "Time that the collector's last reading took.", ("collector",),
)
LEFT_OUT: Final = Metric(
    "exporter_left_out", "gauge", "", "Things of the source beyond a limit, which are not shown.", ("collector",),
)


class NoData(ObserveError):
    """The source is not on this machine, or has nothing to say yet: success 0, and no noise in the log."""


@dataclass(frozen=True, slots=True)
class Collector:
    """One source: its name in ``exporter_success``, its metrics table, and how to read it once."""

    name: str
    metrics: tuple[Metric, ...]
    collect: Callable[[Page], None]
    every_s: float | None = None
    """None: read on each scrape. Else: read in the background this often, and scrapes show the last reading."""
    close: Callable[[], None] | None = None


@dataclass(slots=True)
class _Reading:
    """What a collector last said."""

    page: Page = field(default_factory=Page)
    succeeded: bool = False
    seconds: float = 0.0
    at: float = -math.inf


class Exporter:
    """The collectors of one exporter behind one `exposition()`. Safe from any thread.

    Without `start`, every collector is read on each call; with it, the slow ones are read in the background. Use as a
    context manager, or call `close`.
    """

    STALE_INTERVALS: Final = 5
    """A background reading older than this many intervals is no longer shown."""
    FIRST_ROUND_S: Final = 3.0
    """From the start on, scrapes wait so long for sources that have not answered at all yet: for all together."""

    CLOSE_S: Final = 2.0
    """`close` waits so long for its readers, all together; one that hangs ends with the process."""

    def __init__(
        self, name: str, collectors: Sequence[Collector], timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.collectors = tuple(collectors)
        self._timer = timer
        self._locks = {collector.name: threading.Lock() for collector in self.collectors}
        self._answered = {collector.name: threading.Event() for collector in self.collectors}
        self._readings: dict[str, _Reading] = {}
        self._complaints = {collector.name: "" for collector in self.collectors}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wait_until = -math.inf

    def start(self) -> Self:
        """Begin to read the slow sources in the background. Calling it again does nothing."""
        if not self._threads:
            self._wait_until = time.monotonic() + self.FIRST_ROUND_S
            for collector in self.collectors:
                if collector.every_s is not None:
                    thread = threading.Thread(
                        target=self._run, args=(collector, collector.every_s), name=f"export {collector.name}",
                        daemon=True,
                    )
                    self._threads.append(thread)
                    thread.start()
        return self

    def close(self) -> None:
        """Stop the background readers and let collectors give back what they hold."""
        self._stop.set()
        until = time.monotonic() + self.CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for collector in self.collectors:
            if collector.close is not None:
                collector.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def exposition(self) -> bytes:
        """The answer to a scrape, in text format 0.0.4."""
        return self.page().text()

    def page(self) -> Page:
        """The samples of all collectors, with ``exporter_success`` and ``exporter_duration_seconds`` at the end.

        Where a limit left something out, ``exporter_left_out`` too.
        """
        readings = self._current()
        page = Page()
        for reading in readings:
            page.merge(reading.page)
        for collector, reading in zip(self.collectors, readings, strict=True):
            page.add(SUCCESS, int(reading.succeeded), collector.name)
        for collector, reading in zip(self.collectors, readings, strict=True):
            page.add(DURATION, reading.seconds, collector.name)
        for collector, reading in zip(self.collectors, readings, strict=True):
            page.add(LEFT_OUT, reading.page.left_out or None, collector.name)
        return page

    def _current(self) -> list[_Reading]:
        if self._threads:
            return [self._last(one) if one.every_s is not None else self._read(one) for one in self.collectors]
        slow = [one for one in self.collectors if one.every_s is not None]
        if len(slow) < 2:
            return [self._read(one) for one in self.collectors]
        # Not started (--once): slow sources are asked side by side, so that one which hangs costs its own time only.
        with ThreadPoolExecutor(max_workers=min(16, len(slow))) as pool:
            return list(pool.map(self._read, self.collectors))

    def _last(self, collector: Collector) -> _Reading:
        reading = self._readings.get(collector.name)
        limit = self.STALE_INTERVALS * max(1.0, collector.every_s or 0.0)
        if reading is None:  # the first scrape came before the first round ended
            self._answered[collector.name].wait(max(0.0, self._wait_until - time.monotonic()))
            reading = self._readings.get(collector.name, _Reading())
        if self._timer() - reading.at > limit:
            return _Reading(seconds=reading.seconds)  # it hangs: its numbers are no longer true
        return reading

    def _run(self, collector: Collector, every_s: float) -> None:
        while not self._stop.is_set():
            self._read(collector)
            self._stop.wait(every_s)

    def _read(self, collector: Collector) -> _Reading:
        with self._locks[collector.name]:
            page, began = Page(), self._timer()
            problem = ""
            try:
                collector.collect(page)
            except NoData as error:
                log.debug("%s: %s", collector.name, error)
                problem = str(error)
            except Exception as error:
                problem = _brief(f"{type(error).__name__}: {error}")
                if isinstance(error, ModuleNotFoundError):
                    problem += "; pip install 'observe-stack[exporters]'"
                if self._complaints.get(collector.name) != problem:  # once for each new cause, not once a scrape
                    log.warning("collector %s failed: %s", collector.name, problem)
            self._complaints[collector.name] = problem
            ended = self._timer()
            reading = _Reading(Page() if problem else page, not problem, ended - began, ended)
            self._readings[collector.name] = reading
            self._answered[collector.name].set()
            return reading

    def problems(self) -> dict[str, str]:
        """Why each failing collector failed last time, by its name."""
        return {name: problem for name, problem in self._complaints.items() if problem}


def _brief(problem: str) -> str:
    """A message as a log can bear it: what a server answered may stand in it, a page of a megabyte on one line too."""
    cut = problem if len(problem) <= MAX_PROBLEM else f"{problem[:MAX_PROBLEM]}…"
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in cut)
