"""Parse a page of metrics: Prometheus' text format 0.0.4 or OpenMetrics.

A `PageParser` keeps the layout of its target's last page. A page with the same lines is compared with it and its
numbers are read, all in a kernel; one with other lines is learned (`exposition_learning`).
One malformed line fails its page, as in Prometheus: half a page would look like series that ended.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from observe.collect import exposition_kernels as kernels
from observe.collect.exposition_layout import NO_IDS, NO_STAMP, Layout, Walk
from observe.collect.exposition_learning import ChangedPage, Family, InternSeries, NameSeries
from observe.collect.exposition_lines import read_head
from observe.errors import LimitExceeded
from observe.model import Exemplar, Labels
from observe.protocols import NO_SERIES


@dataclass(frozen=True, slots=True)
class Page:
    """One page as columns. `ids` and `values` end with room for the parser's trailer, left for the caller to fill."""

    ids: NDArray[np.uint32]
    """[N + R]. The same array object as long as the target's series stay the same."""
    values: NDArray[np.float64]
    """[N + R]."""
    stamps: NDArray[np.int64] | None
    """[N] ms, or `NO_STAMP`; None where no line has its own timestamp."""
    scraped: int
    """Sample lines on the page."""
    kept: int
    """Samples that are stored: without those dropped by name, twice on the page, or refused by the store."""
    duplicates: int
    refused: int
    added: NDArray[np.uint32]
    """Ids that the page before did not have."""
    gone: NDArray[np.uint32]
    """Ids that the page before had and this one lacks: they get a staleness marker."""
    exemplars: tuple[Exemplar, ...] = ()


class PageParser:
    """The parser of one target; keeps the layout of its last page. Used by one thread at a time."""

    def __init__(
        self, name: NameSeries, intern: InternSeries, trailer: NDArray[np.uint32] = NO_IDS,
        tracked: NDArray[np.uint32] = NO_IDS,
    ) -> None:
        self._name = name
        self._intern = intern
        self._trailer = trailer
        self._layout: Layout | None = None
        self._tracked = tracked
        self._exemplars: dict[int, tuple[Labels, bytes]] = {}
        """By series: its name, and its last exemplar as it was written."""
        self.families: dict[str, Family] = {}

    @property
    def tracked(self) -> NDArray[np.uint32]:
        """Ids of the series of the last page, which end if the target ends; sorted."""
        return self._tracked

    def forget(self) -> NDArray[np.uint32]:
        """The target failed or went: drop the layout, and return the ids that now need a staleness marker."""
        ended, self._tracked, self._layout = self._tracked, NO_IDS, None
        self._exemplars.clear()
        return ended

    def relearn(self) -> None:
        """Ask for every id again at the next page (after the store refused some)."""
        self._layout = None

    def parse(
        self, body: bytes | bytearray | memoryview, now_ms: int, *, openmetrics: bool = False,
        honor_stamps: bool = True, sample_limit: int = 0, line_limit: int = 0,
    ) -> Page:
        """Read one page; limits of 0 are none. The layout stays as it was if this raises.

        Raises `MalformedData` with line and reason, or `LimitExceeded` before any new series is made.
        """
        layout = self._layout
        if layout is None or layout.openmetrics != openmetrics:
            layout = Layout.empty(self._trailer, openmetrics=openmetrics)
        walk = Walk.begin(layout)
        status = walk.follow(np.frombuffer(body, np.uint8), layout)
        if status == kernels.DONE and self._layout is layout and memoryview(body)[walk.pos :] == layout.tail:
            if walk.odd_count:
                walk.finish_odd(bytes(body), openmetrics=openmetrics)
            if len(walk.stamps) and not layout.stamped:
                layout = replace(layout, stamped=True)
        else:
            text = bytes(body)
            if line_limit and text.count(b"\n") > line_limit:
                raise LimitExceeded(f"the page has more than {line_limit} lines; raise line_limit if that is right",
                                    "line_limit")
            changed = ChangedPage(text, layout, walk, self._name, self.families)
            layout = changed.learn(self._intern, self._trailer, sample_limit)
        added = gone = NO_IDS
        if layout is not self._layout or layout.stamped:
            added, gone = self._track(layout, walk, honor_stamps=honor_stamps)
        return self._page(layout, walk, added, gone, now_ms, honor_stamps=honor_stamps)

    def _track(
        self, layout: Layout, walk: Walk, *, honor_stamps: bool,
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Take over a layout; which ids came and went. Series with timestamps of their own never end by absence."""
        tracked = layout.frame_ids[: len(layout.frame_ids) - len(self._trailer)]
        if honor_stamps and layout.stamped:
            stamps = walk.stamps[: walk.k] if layout.keep is None else walk.stamps[layout.keep]
            tracked = tracked[stamps == NO_STAMP]
        tracked = np.sort(tracked)
        if self._exemplars and layout is not self._layout:
            there = set(layout.frame_ids.tolist())
            self._exemplars = {number: seen for number, seen in self._exemplars.items() if number in there}
        before, self._layout, self._tracked = self._tracked, layout, tracked
        return np.setdiff1d(tracked, before, assume_unique=True), np.setdiff1d(before, tracked, assume_unique=True)

    def _page(
        self, layout: Layout, walk: Walk, added: NDArray[np.uint32], gone: NDArray[np.uint32], now_ms: int, *,
        honor_stamps: bool,
    ) -> Page:
        values = walk.values
        stamps = walk.stamps[: walk.k] if layout.stamped and honor_stamps else None
        if layout.keep is not None:
            values = np.empty(len(layout.frame_ids))
            np.take(walk.values, layout.keep, out=values[: len(layout.keep)])
            stamps = None if stamps is None else stamps[layout.keep]
        elif len(values) != len(layout.frame_ids):
            values = values[: len(layout.frame_ids)]
        exemplars = self._new_exemplars(layout, walk, now_ms) if walk.exemplars else ()
        kept = len(layout.frame_ids) - len(self._trailer)
        return Page(layout.frame_ids, values, stamps, walk.k, kept, layout.duplicates, layout.refused, added, gone,
                    exemplars)

    def _new_exemplars(self, layout: Layout, walk: Walk, now_ms: int) -> tuple[Exemplar, ...]:
        """Exemplars that the series did not have at the page before."""
        found = []
        for k, exemplar, text in walk.exemplars:
            series_id = int(layout.ids[k])
            if series_id == NO_SERIES:
                continue
            labels, before = self._exemplars.get(series_id, (None, b""))
            if text == before:
                continue
            if labels is None:
                labels = self._name(read_head(layout.key(k).rpartition(b"\n")[2]))
            if labels is not None:
                self._exemplars[series_id] = labels, text
                at_ms = now_ms if exemplar.timestamp_ms is None else exemplar.timestamp_ms
                found.append(Exemplar(labels, Labels(exemplar.labels), exemplar.value, at_ms))
        return tuple(found)
