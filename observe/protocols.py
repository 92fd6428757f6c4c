"""The seams between stages: what one stage may ask of another, whichever class stands behind it.

`observe.app` alone knows the concrete classes. Every seam has an embedded and an attached side, and one scenario in
tests runs unchanged on both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from observe.model import (
    Alert,
    Exemplar,
    Frame,
    Labels,
    LogRecord,
    Matcher,
    Matrix,
    MetricMetadata,
    Samples,
    Span,
    Vector,
)

# ---------------------------------------------------------------- metrics


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


# ---------------------------------------------------------------- logs and spans


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A search for log lines. `text` is the query language of the search field (docs/logs.md)."""

    start_ns: int
    end_ns: int
    text: str = ""
    service: str | None = None
    level: str | None = None
    trace_id: str | None = None
    limit: int = 100
    cursor: str | None = None
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class LogPage:
    lines: tuple[LogRecord, ...]
    total: int
    """How many lines match; a lower bound where `total_is_exact` is False."""
    total_is_exact: bool = True
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class LogHistogram:
    """Counts of matching lines by time and level."""

    starts_ns: NDArray[np.int64]
    """[T]."""
    counts: dict[str, NDArray[np.int64]]
    """level -> [T]."""


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces: those overlapping the range, failed first, then slowest."""

    start_ns: int
    end_ns: int
    service: str | None = None
    endpoint: str | None = None
    failed_only: bool = False
    min_duration_ms: float | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace by its root span."""

    trace_id: str
    service: str
    name: str
    endpoint: str | None
    start_ns: int
    duration_ms: float
    failed: bool
    status: str = ""


@dataclass(frozen=True, slots=True)
class TraceSignals:
    """All that is stored of one trace, unordered."""

    spans: tuple[Span, ...] = ()
    logs: tuple[LogRecord, ...] = ()


class SignalSink(Protocol):
    """Where log lines and spans go."""

    def append(self, logs: Sequence[LogRecord], spans: Sequence[Span]) -> None:
        """Durable (fsynced, perhaps with others) when it returns. Safe from any thread.

        Raises `LimitExceeded` when the spool is full and `StorageError` when the disk refuses.
        """


class SignalStore(SignalSink, Protocol):
    """Logs and spans that can be searched: embedded (tantivy over a spool) or attached (Elasticsearch)."""

    def search(self, query: LogQuery) -> LogPage: ...

    def histogram(self, query: LogQuery, buckets: int) -> LogHistogram: ...

    def trace(self, trace_id: str) -> TraceSignals: ...

    def traces(self, query: TraceQuery) -> list[TraceSummary]: ...

    def services(self, start_ns: int, end_ns: int) -> list[str]: ...


# ---------------------------------------------------------------- bands and alerts


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the threshold engine says of one evaluation. All arrays are [S], in the order of the vector judged."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    baseline: NDArray[np.float64]
    score: NDArray[np.float64]
    """NaN until ready; 1 is the edge of the band, in units of its half-width."""
    ready: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    """This point lies outside its band, in a direction that counts, by more than min_abs and min_rel."""
    firing: NDArray[np.bool_]
    """Triggered and not yet recovered (trigger, hysteresis and hold are the engine's)."""
    relearned: NDArray[np.bool_]
    """Firing ended at this point because `relearn_after` passed: the reason is `new level`."""


@dataclass(frozen=True, slots=True)
class Said:
    """The judgement of one series' last point; NaN where there is none."""

    value: float
    baseline: float
    lower: float
    upper: float
    score: float


class ExplainedBand(Protocol):
    """Why the band of one series is where it is."""

    @property
    def labels(self) -> Labels: ...

    @property
    def words(self) -> tuple[str, ...]:
        """Sentences for people."""

    def told(self, say: Callable[[float], str]) -> tuple[str, ...]:
        """The same with numbers as `say` says them: a page that knows the unit says "212 ms"."""


class BandEngine(Protocol):
    """The state of one rule's bands. Called from the data thread, in the order of time."""

    def step(self, vector: Vector) -> Judgement:
        """Judge the vector's points by what came before, then learn them. Series that are missing have a gap."""

    def forget(self, labels: Iterable[Labels]) -> None:
        """Free the state of series that are gone."""

    def explain(self, labels: Labels, said: Said | None = None) -> ExplainedBand | None:
        """Why this series' band is where it is; None where nothing is known of it. Safe from any thread.

        `said` is the judgement of its last point, where the caller has it.
        """

    def snapshot(self) -> bytes:
        """The state, versioned and checksummed."""

    def restore(self, state: bytes) -> None:
        """Raises `StorageError` if torn or of another version: then fold again from the store."""


class AlertSink(Protocol):
    """Where alert events go: the ledger with its own delivery, or an Alertmanager cluster."""

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Firing and just-resolved alerts of one evaluation. Durable when it returns."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receiver answered."""

    ok: bool
    retryable: bool
    detail: str
    """Status and first words of the answer, or the error; no secrets."""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One group of alerts on its way to one receiver."""

    receiver: str
    group_key: str
    group_labels: Labels
    status: Literal["firing", "resolved"]
    reason: str
    alerts: tuple[Alert, ...]
    external_url: str = ""
    truncated: int = 0
    test: bool = False
    extra: dict[str, str] = field(default_factory=dict)


class Receiver(Protocol):
    """One way to reach people. One file each in `observe.notify.receivers`."""

    name: str

    async def deliver(self, notification: Notification) -> Receipt:
        """Try once. Never raises for the other side's faults."""


# ---------------------------------------------------------------- what is shown


@dataclass(frozen=True, slots=True)
class OddSeries:
    """A series outside its band that does not alert (yet)."""

    rule: str
    labels: Labels
    value: float
    baseline: float
    lower: float
    upper: float
    score: float
    since_ms: int


@dataclass(frozen=True, slots=True)
class BandStart:
    """How a rule's bands started from history, or how far they are."""

    state: Literal["learning", "learned", "empty", "failed"]
    words: str
    """For people: "reading history: 3d of up to 14d", or why there is none."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A rule's `budget:`, and what its bands are expected to cost."""

    asked_pages: float
    per_ms: int
    expected_pages: float | None = None
    """In `per_ms`; None until history has told."""
    history_ms: int = 0
    """Length of the history that the expectation was read from."""


@dataclass(frozen=True, slots=True)
class RuleStatus:
    """One rule as the console and `/api/v1/rules` show it."""

    group: str
    file: str
    name: str
    kind: Literal["alerting", "recording"]
    expr: str
    interval_ms: int
    labels: Labels
    annotations: Mapping[str, str]
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    band: Mapping[str, str] | None = None
    """The effective `band:` settings as text, or None for a plain rule."""
    health: Literal["ok", "err", "unknown"] = "unknown"
    last_error: str = ""
    last_evaluation_ms: int | None = None
    last_duration_s: float = 0.0
    series_total: int = 0
    series_ready: int = 0
    ready_in_ms: int | None = None
    """How long until the youngest baseline is ready, where that is known."""
    alerts: tuple[Alert, ...] = ()
    """Pending and firing."""
    start: BandStart | None = None
    """None: its bands were taken from a snapshot, or it has none."""
    budget: BudgetStatus | None = None


class AlertBook(Protocol):
    """What the rules say now, and what they said. Safe from any thread."""

    def rules(self) -> list[RuleStatus]: ...

    def active(self) -> list[Alert]:
        """Pending and firing alerts, worst first."""

    def odd(self) -> list[OddSeries]: ...

    def explain(self, rule: str, labels: Mapping[str, str], limit: int = 5) -> list[ExplainedBand]:
        """Why the bands of this rule's series with these labels are where they are. `rule` is its id or its name."""

    def explain_alert(self, alert: Alert, say: Callable[[float], str] | None = None) -> tuple[str, ...]:
        """Why this alert's band is where it is, sentence by sentence; empty for a rule without a band.

        `say` says numbers with their unit.
        """

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        """Alerts that fired since then, the newest first, from the ledger: ended ones too."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that match every matcher are held back until `ends_at_ms`."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at_ms: int
    ends_at_ms: int
    created_by: str
    comment: str
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of the ledger: who was told what, when, why, and what they answered; or why not."""

    at_ms: int
    receiver: str
    group_key: str
    status: Literal["firing", "resolved"]
    reason: str
    ok: bool
    detail: str
    attempts: int
    fingerprints: tuple[str, ...]


class PageState(StrEnum):
    """How it stands with telling one receiver of one alert."""

    NO_RECEIVER = "no receiver"
    """Nobody is configured to hear of it."""
    PENDING = "pending"
    """It does not fire yet."""
    WAITS = "group waits"
    """It is told with its group, at `PageStatus.at_ms`."""
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    RETRYING = "retrying"
    """It could not be delivered; `PageStatus.detail` is the last error, `at_ms` the next try."""
    TOLD = "told"
    HANDED_OVER = "handed over"
    """An attached Alertmanager has it; what becomes of it there is not known to us."""


@dataclass(frozen=True, slots=True)
class PageStatus:
    """What one receiver knows of one alert, or why it does not."""

    receiver: str
    """Its name; empty where it concerns nobody in particular."""
    state: PageState
    detail: str
    """A clause for people: ids, names, the last error; no secrets."""
    at_ms: int | None = None
    """When it was told; of what waits or is tried again: when it is its turn; of a silence: its end."""


class PageDesk(Protocol):
    """Silences, the ledger, and who knows of what. Safe from any thread."""

    def page_status(self, alert: Alert, now_ms: int) -> list[PageStatus]:
        """How it stands with telling each receiver of this alert; never empty. The most urgent first."""

    def silences(self, now_ms: int) -> list[Silence]: ...

    def set_silence(self, silence: Silence, now_ms: int) -> str:
        """Create (empty id) or replace; returns the id."""

    def expire_silence(self, silence_id: str, now_ms: int) -> None: ...

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        """Ids of the silences that hold this alert back now."""

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]: ...
