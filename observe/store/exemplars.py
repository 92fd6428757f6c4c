"""Exemplars: single observations with their trace ids, the newest so many of all series together."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence

from observe.model import Exemplar, Labels, Matcher
from observe.store.matching import value_test


class ExemplarStore:
    """Bounded; the oldest go first. Written by one thread, read by any."""

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Exemplar] = deque(maxlen=limit)
        self._newest: dict[Labels, tuple[int, Labels, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, exemplars: Iterable[Exemplar]) -> list[Exemplar]:
        """Keep those that are news (a target repeats its exemplars at every scrape); returns them."""
        with self._lock:
            fresh = []
            for exemplar in exemplars:
                seen = (exemplar.timestamp_ms, exemplar.labels, exemplar.value)
                if self._newest.get(exemplar.series) == seen:
                    continue
                if len(self._newest) >= 4 * (self._kept.maxlen or 1):
                    self._newest.clear()
                self._newest[exemplar.series] = seen
                fresh.append(exemplar)
            self._kept.extend(fresh)
        return fresh

    def select(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[Exemplar]:
        """Those in the range whose series match any of the selectors, ascending in time."""
        with self._lock:
            kept = [exemplar for exemplar in self._kept if start_ms <= exemplar.timestamp_ms <= end_ms]
        known: dict[Labels, bool] = {}
        found = []
        for exemplar in kept:
            series = exemplar.series
            if series not in known:
                known[series] = any(matches(series, matchers) for matchers in selectors)
            if known[series]:
                found.append(exemplar)
        return sorted(found, key=lambda exemplar: exemplar.timestamp_ms)

    def all(self) -> list[Exemplar]:
        with self._lock:
            return list(self._kept)


def matches(labels: Labels, matchers: Iterable[Matcher]) -> bool:
    """Whether a series satisfies every matcher."""
    return all(value_test(matcher)(labels.get(matcher.name, "")) for matcher in matchers)
