"""The series of one target: its pages become samples in the store, and so do its failures and its end.

Beside the page's own series stand `up` and its companions. Staleness as in Prometheus: what is gone from a page, from a
failed target, or with a removed target gets the marker.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.collect.exposition import Page, PageParser
from observe.collect.exposition_layout import NO_STAMP
from observe.collect.exposition_learning import Family
from observe.collect.fetched import Failed, Fetched
from observe.collect.target import Target, series_name
from observe.errors import LimitExceeded, MalformedData, ObserveError
from observe.model import ABSENT_NAN, METRIC_NAME, STALE_NAN, Exemplar, Frame, MetricMetadata
from observe.protocols import NO_SERIES, SampleSink, TargetHealth
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

REPORT_SERIES: Final = (
    "up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
_REFUSED_RETRY_MS: Final = 60_000
_MOST_TEXT: Final = 128
"""Characters of an exemplar's labels: OpenMetrics' own limit."""
_NO_IDS: Final = np.empty(0, np.uint32)


class TargetSeries:
    """Of the data thread, but for `health`. `before` is who had the same target until its settings changed."""

    def __init__(
        self, target: Target, sink: SampleSink, clock: Clock, telemetry: Telemetry, before: "TargetSeries | None", *,
        body_limit: int, line_limit: int,
    ) -> None:
        self._target = target
        self._sink = sink
        self._clock = clock
        self._telemetry = telemetry
        self._before = before
        self._body_limit = body_limit
        self._line_limit = line_limit
        self._scrapes = telemetry.counter("observe_scrapes_total", "Scrapes by outcome.", ("outcome",))
        self._well = self._scrapes.labels("ok")
        self._samples = telemetry.counter("observe_scrape_samples_total", "Samples read from targets.")
        self._owner = f"{target.job} {target.url}"
        self._parser: PageParser | None = None
        self._report_ids: NDArray[np.uint32] = _NO_IDS
        self._report_kept: NDArray[np.bool_] = np.zeros(len(REPORT_SERIES), np.bool_)
        self._ids_lost = False
        """The store forgot series that were silent for long: ask for all ids again."""
        self._told: dict[str, Family] = {}
        """Families whose metadata the store has."""
        self._asked_again_ms = 0
        self._last_ms = 0
        self._said: tuple[bool, int, str, int, float] | None = None
        """The last scrape: up, time, error, samples, seconds it took. `health` puts it in words when it is asked."""
        self._health = TargetHealth(target.job, target.url, target.labels, None, None, 0.0, "",
                                    interval_ms=target.interval_ms, timeout_ms=target.timeout_ms,
                                    discovered=target.discovered)

    def health(self) -> TargetHealth:
        """How the last scrape went. From any thread."""
        if self._said is None:
            return self._health
        up, at_ms, error, samples, took_s = self._said
        return replace(self._health, up=up, last_scrape_ms=at_ms, last_error=error, samples=samples,
                       last_duration_s=took_s)

    def take(self, result: Fetched | Failed, at_ms: int, began: float) -> None:
        """Store a page, or what its failure means; `began`: when it was asked for, on the monotonic clock."""
        outcome = "ok"
        samples = 0
        error = ""
        try:
            parser = self._take_over()
            if isinstance(result, Failed):
                outcome, error = result.reason, result.message
            else:
                samples = self._store(parser, result, at_ms, began)
        except ObserveError as failure:
            outcome, error = _reason(failure), str(failure)
        except Exception as failure:
            outcome, error = "bug", f"{type(failure).__name__}: {failure}"
            if self._said is None or error != self._said[2]:  # it comes again with every scrape
                _log.exception("a page of %s could not be taken: please report it", self._target.url)
        try:
            if error:
                self._store_failure(at_ms, began)
        except ObserveError as failure:
            why = str(failure)
            outcome, error = "store", why if why == error else f"{error}; and that could not be stored: {why}"
        finally:
            if isinstance(result, Fetched):
                result.release()
            self._last_ms = max(self._last_ms, at_ms)
            self._said = not error, at_ms, error, samples, self._clock.monotonic() - began
            (self._well if outcome == "ok" else self._scrapes.labels(outcome)).inc()

    def end(self, at_ms: int) -> None:
        """The target is gone for good: its series end now. Where the store refuses, they end by their age."""
        ended = self._parser.forget() if self._parser is not None else self.left_behind()[0]
        ids = np.concatenate([ended, self._report_ids])
        try:
            if len(ids):
                self._mark_stale(ids, max(at_ms, self._last_ms + 1))
        except ObserveError as error:
            self._telemetry.dropped("scrape", "end not stored", len(ids))
            _log.warning("the end of %d series of %s could not be stored: %s", len(ids), self._target.url, error)

    # ------------------------------------------------------------ a page

    def _store(self, parser: PageParser, result: Fetched, at_ms: int, began: float) -> int:
        body = result.page(self._body_limit)
        page = self._store_page(parser, body, at_ms, began, openmetrics=result.openmetrics)
        if self._ids_lost:  # at long intervals ids are forgotten from one scrape to the next: ask, and store again
            parser = self._take_over()
            parser.relearn()
            page = self._store_page(parser, body, at_ms, began, openmetrics=result.openmetrics)
        self._samples.inc(page.scraped)
        return page.scraped

    def _store_page(
        self, parser: PageParser, body: memoryview | bytes, at_ms: int, began: float, *, openmetrics: bool,
    ) -> Page:
        page = parser.parse(
            body, at_ms, openmetrics=openmetrics, honor_stamps=self._target.honor_timestamps,
            sample_limit=self._target.sample_limit, line_limit=self._line_limit,
        )
        values = page.values
        room = len(values) - len(self._report_ids)
        report = (1.0, self._clock.monotonic() - began, page.scraped, page.kept, len(page.added))
        if self._report_kept.all():
            values[room:] = report
        else:
            values[room:] = np.array(report)[self._report_kept]
        if page.stamps is not None:
            self._store_stamped(page)
        appended = self._sink.append(Frame(np.array([at_ms]), page.ids, values.reshape(1, -1)))
        self._ids_lost = appended.unknown > 0
        if len(parser.families) != len(self._told) or page.added.size:
            self._tell_families(parser.families)
        if len(page.gone):
            self._mark_stale(page.gone, at_ms)
        if page.exemplars:
            self._store_exemplars(page.exemplars)
        if page.duplicates:
            self._telemetry.dropped("scrape", "duplicate series", page.duplicates)
        if page.refused:
            self._telemetry.dropped("scrape", "series limit", page.refused)
            if at_ms - self._asked_again_ms > _REFUSED_RETRY_MS:
                self._asked_again_ms = at_ms
                parser.relearn()
        return page

    def _store_exemplars(self, found: Sequence[Exemplar]) -> None:
        """As in Prometheus one that is too long costs itself, and not the page."""
        kept = [one for one in found if sum(len(name) + len(value) for name, value in one.labels.pairs) <= _MOST_TEXT]
        if len(kept) < len(found):
            self._telemetry.dropped("scrape", "exemplar too long", len(found) - len(kept))
        if kept:
            self._sink.append_exemplars(kept)

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
            self._sink.append(frame)
        page.values[own] = ABSENT_NAN

    def _tell_families(self, families: dict[str, Family]) -> None:
        """Type, help and unit of what is new on the page."""
        fresh = {name: family for name, family in families.items() if self._told.get(name) != family}
        if fresh:
            self._told.update(fresh)
            self._sink.append_metadata({
                name: MetricMetadata(family.type, family.help, family.unit) for name, family in fresh.items()
            })

    # ------------------------------------------------------------ no page

    def _store_failure(self, at_ms: int, began: float) -> None:
        ended = self._parser.forget() if self._parser is not None else _NO_IDS
        report = np.array([0.0, self._clock.monotonic() - began, 0.0, 0.0, 0.0])[self._report_kept]
        values = np.concatenate([np.full(len(ended), STALE_NAN), report])
        ids = np.concatenate([ended, self._report_ids])
        at = np.array([at_ms])
        if len(ids) and self._sink.append(Frame(at, ids, values.reshape(1, -1))).unknown:
            self._ids_lost = True
            self._take_over()
            self._sink.append(Frame(at, self._report_ids, report.reshape(1, -1)))

    def _mark_stale(self, ids: NDArray[np.uint32], at_ms: int) -> None:
        values = np.full((1, len(ids)), STALE_NAN)
        self._sink.append(Frame(np.array([at_ms]), ids, values))

    # ------------------------------------------------------------ whose series they are

    def left_behind(self) -> tuple[NDArray[np.uint32], int]:
        """The ids that still live, and the time of the last sample: for who goes on with this target."""
        if self._parser is None and self._before is not None:
            return self._before.left_behind()
        return self._parser.tracked if self._parser is not None else _NO_IDS, self._last_ms

    def _take_over(self) -> PageParser:
        """The parser. At the first page: ask for the ids of the report series, go on with what `before` left behind."""
        if self._parser is not None and self._report_kept.all() and not self._ids_lost:
            return self._parser
        self._ids_lost = False
        names = [self._target.labels.updated({METRIC_NAME: name}) for name in REPORT_SERIES]
        ids = self._sink.series_ids(names, self._owner)
        kept = ids != NO_SERIES
        if self._parser is not None and np.array_equal(ids[kept], self._report_ids):
            return self._parser
        self._report_kept, self._report_ids = kept, ids[kept]
        tracked, self._last_ms = self.left_behind()
        self._before = None
        self._parser = PageParser(
            lambda pairs: series_name(self._target, pairs), lambda names: self._sink.series_ids(names, self._owner),
            self._report_ids, tracked=tracked,
        )
        return self._parser


def _reason(failure: ObserveError) -> str:
    if isinstance(failure, MalformedData):
        return failure.reason
    if isinstance(failure, LimitExceeded):
        return failure.limit or "limit"
    return "store"
