"""The scrape loop: every target at its own offset, its page into the store, `up` and its companions beside it.

The event loop does sockets and timers only. A page that has come is handed to the data thread, which parses, appends
and reports. Each target has at most one scrape in flight; a slow or broken one delays nobody. Staleness as in
Prometheus: what is gone from a page, from a failed target, or with a removed target gets the marker; at shutdown
nothing does, for we do not know that it ended.
"""

import asyncio
import contextlib
import hashlib
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.collect.exposition import NO_STAMP, Family, Page, PageParser
from observe.collect.fetched import Failed, Fetched
from observe.collect.http_connection import Buffers
from observe.collect.http_page import HttpPage
from observe.collect.target import Target, series_name
from observe.errors import LimitExceeded, MalformedData, ObserveError
from observe.model import ABSENT_NAN, METRIC_NAME, STALE_NAN, Frame, Labels, MetricMetadata
from observe.protocols import NO_SERIES, SampleSink, TargetHealth
from observe.telemetry import Telemetry

REPORT_SERIES: Final = (
    "up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
_GZIP: Final = 31
_REFUSED_RETRY_MS = 60_000


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
        self.settings = settings
        self.sink = sink
        self.data = data
        self.clock = clock
        self.telemetry = telemetry
        self.buffers = Buffers()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.scrapes = telemetry.counter("observe_scrapes_total", "Scrapes by outcome.", ("outcome",))
        self.well = self.scrapes.labels("ok")
        self.samples = telemetry.counter("observe_scrape_samples_total", "Samples read from targets.")
        self._wanted: tuple[Target, ...] = ()
        self._loops: dict[tuple[str, str, Labels], TargetLoop] = {}

    def set_targets(self, targets: Sequence[Target]) -> None:
        """Scrape these from now on; an unchanged one keeps its connection and its cache. From any thread."""
        self._wanted = tuple(targets)
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._apply)

    async def run(self, stop: asyncio.Event) -> None:
        """Scrape until `stop`; then pages already here are still stored."""
        self.loop = asyncio.get_running_loop()
        self._apply()
        try:
            await stop.wait()
        finally:
            for each in self._loops.values():
                each.halt()
            self.loop = None

    def health(self) -> list[TargetHealth]:
        """Every target, by job and address. From any thread."""
        found = [each.health() for each in list(self._loops.values())]
        return sorted(found, key=lambda one: (one.job, one.url))

    def families(self) -> dict[Target, dict[str, Family]]:
        """What the pages' comments say of their metrics. From any thread."""
        return {each.target: each.families() for each in list(self._loops.values())}

    def _apply(self) -> None:
        if self.loop is None:
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
            self._loops[key] = made = TargetLoop(self, target, self.loop, running)
            made.start()


class TargetLoop:
    """One target: its timer and connection on the event loop, its parser on the data thread."""

    def __init__(
        self, scraper: Scraper, target: Target, loop: asyncio.AbstractEventLoop, before: "TargetLoop | None",
    ) -> None:
        self.target = target
        self._scraper = scraper
        self._loop = loop
        self._before = before
        limit = scraper.settings.body_size_limit
        self._limit = min(target.body_size_limit or limit, limit)
        self._page = HttpPage(target, scraper.buffers, self._limit, loop) if target.read is None else None
        self._timer: asyncio.TimerHandle | None = None
        self._halted = False
        self._busy = False
        self._turn = 0
        self._making: threading.Thread | None = None
        digest = hashlib.blake2b(f"{target.url}\0{target.labels}".encode(), digest_size=8).digest()
        self._offset_ms = int.from_bytes(digest, "big") % target.interval_ms
        # From here on: of the data thread.
        self._parser: PageParser | None = None
        self._report_ids: NDArray[np.uint32] = np.empty(0, np.uint32)
        self._report_kept: NDArray[np.bool_] = np.zeros(len(REPORT_SERIES), np.bool_)
        self._ids_lost = False
        """The store forgot series that were silent for long: ask for all ids again."""
        self._told: dict[str, Family] = {}
        """Families whose metadata the store has."""
        self._owner = f"{target.job} {target.url}"
        self._asked_again_ms = 0
        self._last_ms = 0
        self._said: tuple[bool, int, str, int, float] | None = None
        """The last scrape: up, time, error, samples, seconds it took. `health` puts it in words when it is asked."""
        self._health = TargetHealth(target.job, target.url, target.labels, None, None, 0.0, "",
                                    interval_ms=target.interval_ms, timeout_ms=target.timeout_ms,
                                    discovered=target.discovered)

    def start(self) -> None:
        now_ms = self._scraper.clock.now_ms()
        self._arm(self._due_after(now_ms - 1), now_ms)

    def halt(self) -> None:
        """No more scrapes; one in flight is given up."""
        self._halted = True
        if self._timer is not None:
            self._timer.cancel()
        if self._page is not None:
            self._page.close()

    def end(self) -> None:
        """The target is gone for good: its series end now."""
        at_ms = self._scraper.clock.now_ms()
        self._submit(lambda: self._mark_ended(max(at_ms, self._last_ms + 1)))

    def health(self) -> TargetHealth:
        if self._said is None:
            return self._health
        up, at_ms, error, samples, took_s = self._said
        return replace(self._health, up=up, last_scrape_ms=at_ms, last_error=error, samples=samples,
                       last_duration_s=took_s)

    def families(self) -> dict[str, Family]:
        return dict(self._parser.families) if self._parser is not None else {}

    # ------------------------------------------------------------ on the event loop

    def _due_after(self, now_ms: int) -> int:
        """The first time after `now_ms` that is n intervals plus this target's offset."""
        interval = self.target.interval_ms
        return (now_ms - self._offset_ms) // interval * interval + interval + self._offset_ms

    def _arm(self, due_ms: int, now_ms: int) -> None:
        self._timer = self._loop.call_later(max(0, due_ms - now_ms) / 1000, self._tick, due_ms)

    def _tick(self, due_ms: int) -> None:
        now_ms = self._scraper.clock.now_ms()
        self._arm(self._due_after(max(now_ms, due_ms) if abs(now_ms - due_ms) < self.target.interval_ms else now_ms),
                  now_ms)
        if self._busy:
            self._scraper.telemetry.dropped("scrape", "overrun")
            return
        self._busy = True
        self._turn += 1
        late_ms = now_ms - due_ms
        at_ms = due_ms if abs(late_ms) <= self._scraper.settings.align_tolerance_ms else now_ms
        began = self._scraper.clock.monotonic()
        turn = self._turn
        if self._page is not None:
            self._page.fetch(lambda result: self._came(turn, result, at_ms, began), self.target.timeout_ms / 1000)
        else:
            self._read_local(turn, at_ms, began)

    def _read_local(self, turn: int, at_ms: int, began: float) -> None:
        read = self.target.read
        assert read is not None
        timeout_s = self.target.timeout_ms / 1000
        if self._making is not None and self._making.is_alive():
            self._came(turn, Failed("timeout", "the page of the scrape before is still being made"), at_ms, began)
            return
        late = Failed("timeout", f"the page was not made within {timeout_s:g} s")
        timer = self._loop.call_later(timeout_s, self._came, turn, late, at_ms, began)

        def make() -> None:
            result: Fetched | Failed
            try:
                body = memoryview(read())
                result = Fetched(body, gzip=False, openmetrics=False, release=body.release)
            except Exception as error:
                result = Failed("local", f"the page could not be made: {type(error).__name__}: {error}")
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(arrive, result)

        def arrive(result: Fetched | Failed) -> None:
            timer.cancel()
            self._came(turn, result, at_ms, began)

        # A thread of its own, and a daemon: a page that hangs must hold up neither the others nor our exit.
        self._making = threading.Thread(target=make, name=f"observe-{self.target.url}", daemon=True)
        self._making.start()

    def _came(self, turn: int, result: Fetched | Failed, at_ms: int, began: float) -> None:
        """A page or a failure; of a turn that is over nothing is wanted any more."""
        if self._halted or turn != self._turn or not self._busy:
            if isinstance(result, Fetched):
                result.release()
            return
        self._turn += 1
        self._submit(lambda: self._digest(result, at_ms, began))

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._scraper.data.submit(work)
        except RuntimeError:  # the data thread has ended: we are shutting down
            self._busy = False

    # ------------------------------------------------------------ on the data thread

    def _digest(self, result: Fetched | Failed, at_ms: int, began: float) -> None:
        """Store a page, or what its failure means."""
        scraper = self._scraper
        outcome = "ok"
        samples = 0
        error = ""
        try:
            self._take_over()
            if isinstance(result, Failed):
                outcome, error = result.reason, result.message
            else:
                samples = self._store(result, at_ms, began)
        except ObserveError as failure:
            outcome, error = _reason(failure), str(failure)
        except Exception as failure:
            outcome, error = "bug", f"{type(failure).__name__}: {failure}"
        try:
            if error:
                self._store_failure(at_ms, began)
        except ObserveError as failure:
            outcome, error = "store", f"{error}; and that could not be stored: {failure}"
        finally:
            if isinstance(result, Fetched):
                result.release()
            self._last_ms = max(self._last_ms, at_ms)
            self._said = not error, at_ms, error, samples, scraper.clock.monotonic() - began
            (scraper.well if outcome == "ok" else scraper.scrapes.labels(outcome)).inc()
            self._busy = False

    def _store(self, result: Fetched, at_ms: int, began: float) -> int:
        body = _inflated(result.body, self._limit) if result.gzip else result.body
        page = self._store_page(body, at_ms, began, openmetrics=result.openmetrics)
        if self._ids_lost:  # at long intervals ids are forgotten from one scrape to the next: ask, and store again
            self._take_over()
            assert self._parser is not None
            self._parser.relearn()
            page = self._store_page(body, at_ms, began, openmetrics=result.openmetrics)
        self._scraper.samples.inc(page.scraped)
        return page.scraped

    def _store_page(self, body: memoryview | bytes, at_ms: int, began: float, *, openmetrics: bool) -> Page:
        target, scraper = self.target, self._scraper
        parser = self._parser
        assert parser is not None
        page = parser.parse(
            body, at_ms, openmetrics=openmetrics, honor_stamps=target.honor_timestamps,
            sample_limit=target.sample_limit, line_limit=scraper.settings.line_limit,
        )
        values = page.values
        room = len(values) - len(self._report_ids)
        report = (1.0, scraper.clock.monotonic() - began, page.scraped, page.kept, len(page.added))
        if self._report_kept.all():
            values[room:] = report
        else:
            values[room:] = np.array(report)[self._report_kept]
        if page.stamps is not None:
            self._store_stamped(page)
        appended = scraper.sink.append(Frame(np.array([at_ms]), page.ids, values.reshape(1, -1)))
        self._ids_lost = appended.unknown > 0
        if len(parser.families) != len(self._told) or page.added.size:
            self._tell_families(parser.families)
        if len(page.gone):
            self._mark(page.gone, at_ms)
        if page.exemplars:
            scraper.sink.append_exemplars(page.exemplars)
        if page.duplicates:
            scraper.telemetry.dropped("scrape", "duplicate series", page.duplicates)
        if page.refused:
            scraper.telemetry.dropped("scrape", "series limit", page.refused)
            if at_ms - self._asked_again_ms > _REFUSED_RETRY_MS:
                self._asked_again_ms = at_ms
                parser.relearn()
        return page

    def _tell_families(self, families: dict[str, Family]) -> None:
        """Type, help and unit of what is new on the page."""
        fresh = {name: family for name, family in families.items() if self._told.get(name) != family}
        if fresh:
            self._told.update(fresh)
            self._scraper.sink.append_metadata({
                name: MetricMetadata(family.type, family.help, family.unit) for name, family in fresh.items()
            })

    def _store_stamped(self, page: Page) -> None:
        """Samples with timestamps of their own: a frame for each time, and absent from the scrape's."""
        assert page.stamps is not None
        own = np.flatnonzero(page.stamps != NO_STAMP)
        times, which = np.unique(page.stamps[own], return_inverse=True)
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(times) + 1))
        for n, time_ms in enumerate(times.tolist()):
            slots = own[order[bounds[n] : bounds[n + 1]]]
            frame = Frame(np.array([time_ms]), page.ids[slots], page.values[slots].reshape(1, -1))
            self._scraper.sink.append(frame)
        page.values[own] = ABSENT_NAN

    def _store_failure(self, at_ms: int, began: float) -> None:
        ended = self._parser.forget() if self._parser is not None else np.empty(0, np.uint32)
        report = np.array([0.0, self._scraper.clock.monotonic() - began, 0.0, 0.0, 0.0])[self._report_kept]
        values = np.concatenate([np.full(len(ended), STALE_NAN), report])
        ids = np.concatenate([ended, self._report_ids])
        at = np.array([at_ms])
        if len(ids) and self._scraper.sink.append(Frame(at, ids, values.reshape(1, -1))).unknown:
            self._ids_lost = True
            self._take_over()
            self._scraper.sink.append(Frame(at, self._report_ids, report.reshape(1, -1)))

    def _mark(self, ids: NDArray[np.uint32], at_ms: int) -> None:
        values = np.full((1, len(ids)), STALE_NAN)
        self._scraper.sink.append(Frame(np.array([at_ms]), ids, values))

    def _mark_ended(self, at_ms: int) -> None:
        ended = self._parser.forget() if self._parser is not None else self.left_behind()[0]
        ids = np.concatenate([ended, self._report_ids])
        if len(ids):
            self._mark(ids, at_ms)

    def left_behind(self) -> tuple[NDArray[np.uint32], int]:
        """The ids that still live, and the time of the last sample: for who goes on with this target."""
        if self._parser is None and self._before is not None:
            return self._before.left_behind()
        return self._parser.tracked if self._parser is not None else np.empty(0, np.uint32), self._last_ms

    def _take_over(self) -> None:
        """At the first page: ask for the ids of the report series, and end what an earlier self left behind."""
        if self._parser is not None and self._report_kept.all() and not self._ids_lost:
            return
        self._ids_lost = False
        names = [self.target.labels.updated({METRIC_NAME: name}) for name in REPORT_SERIES]
        sink = self._scraper.sink
        ids = sink.series_ids(names, self._owner)
        kept = ids != NO_SERIES
        if self._parser is not None and np.array_equal(ids[kept], self._report_ids):
            return
        self._report_kept, self._report_ids = kept, ids[kept]
        tracked, self._last_ms = self.left_behind()
        self._before = None
        self._parser = PageParser(
            lambda pairs: series_name(self.target, pairs), lambda names: sink.series_ids(names, self._owner),
            self._report_ids, tracked=tracked,
        )


def _reason(failure: ObserveError) -> str:
    if isinstance(failure, MalformedData):
        return failure.reason
    if isinstance(failure, LimitExceeded):
        return failure.limit or "limit"
    return "store"


def _inflated(body: memoryview, limit: int) -> bytes:
    """Decompress, but never more than `limit` bytes."""
    engine = zlib.decompressobj(_GZIP)
    try:
        page = engine.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedData(f"the page is not valid gzip: {error}", "gzip") from error
    if len(page) > limit:
        raise LimitExceeded(f"the page is larger than {limit} bytes; raise body_size_limit if it should be",
                            "body_size")
    if not engine.eof:
        raise MalformedData("the gzip page is cut short", "gzip")
    return page
