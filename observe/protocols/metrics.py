"""The seams around samples: where they go, who reads them, who evaluates PromQL; and how targets do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from observe.model import Exemplar, Frame, Labels, Matcher, Matrix, MetricMetadata, Samples, Vector


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a frame: counts of samples, each counted once. Kept are `stored` and `out_of_order`."""

    stored: int = 0
    duplicate: int = 0
    """Refused: the series has a sample at this time."""
    out_of_order: int = 0
    """Kept, though older than the newest sample of the series."""
    too_old: int = 0
    """Refused: older than the window for late samples, or than the retention."""
    future: int = 0
    over_limit: int = 0
    """Refused: the series was refused (`NO_SERIES`)."""
    unknown: int = 0
    """Refused: the id is no longer good, its series fell silent long ago. Ask `series_ids` again."""


class SampleSink(Protocol):
    """Where collected samples go. Called from one thread (the data thread)."""

    def series_ids(self, labels: Sequence[Labels], owner: str = "") -> NDArray[np.uint32]:
        """The ids of these series, [N]; unseen ones are created. `NO_SERIES` where a limit refuses a new one.

        `owner` names the target or rule that they come from; each has a limit of its own.
        """

    def append(self, frame: Frame) -> Appended:
        """Keep a frame: written to the log (not yet synced) when this returns."""

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        """Keep exemplars, bounded; the oldest go first."""

    def append_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Keep type, help and unit of metrics by name. Cheap where nothing changed."""


NO_SERIES = np.uint32(0xFFFF_FFFF)


class SampleSource(Protocol):
    """What the PromQL engine reads. Safe from any thread; a reader sees an immutable snapshot."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Samples:
        """Samples with ``start_ms <= t <= end_ms`` of every matching series that has any."""

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Names of matching series with samples in the range."""

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]: ...

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]: ...

    def exemplars(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[Exemplar]:
        """Exemplars in the range whose series match any of the selectors, ascending in time."""

    def metadata(self) -> Mapping[str, MetricMetadata]:
        """Type, help and unit by metric name."""


class QueryEngine(Protocol):
    """Evaluates PromQL: embedded over a `SampleSource`, or attached over a Prometheus-compatible HTTP API."""

    def instant(self, expr: str, time_ms: int) -> Vector:
        """Raises `QueryError` (bad expression), `LimitExceeded` or `Unavailable`."""

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix: ...

    def check(self, expr: str) -> None:
        """Raise `QueryError` if `expr` cannot be evaluated here."""


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """One scrape target as the console and `/api/v1/targets` show it."""

    job: str
    url: str
    labels: Labels
    up: bool | None
    """None until the first scrape."""
    last_scrape_ms: int | None
    last_duration_s: float
    last_error: str
    samples: int = 0
    interval_ms: int = 0
    timeout_ms: int = 0
    discovered: Labels = field(default=Labels())
    """Labels before relabelling, as service discovery gave them."""
