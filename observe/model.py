"""The values that pass between stages. Frozen; columns where there are many.

Times are `int` milliseconds since the epoch, UTC, in metrics and alerts (``_ms``), and nanoseconds in logs and spans
(``_ns``), because that is what their wire formats carry. Ids of traces are 32 lower-case hex digits, of spans 16;
absent is None.
"""

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Default = TypeVar("Default")

METRIC_NAME: Final = "__name__"

# Three NaNs, told apart by their bits alone (any arithmetic loses the difference, copies keep it).
STALE_NAN_BITS: Final = 0x7FF0_0000_0000_0002
"""Prometheus' staleness marker: the series ended here."""
NORMAL_NAN_BITS: Final = 0x7FF8_0000_0000_0001
"""Prometheus' ordinary NaN: the target really said NaN."""
ABSENT_NAN_BITS: Final = 0x7FF8_0000_0000_AB5E
"""Ours, inside a dense block only: this series has no sample at this time."""

STALE_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
ABSENT_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", ABSENT_NAN_BITS))[0]

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where `values` holds the staleness marker; same shape."""
    return np.equal(values.view(np.uint64), np.uint64(STALE_NAN_BITS))


def is_absent(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a dense block has no sample at all; same shape."""
    return np.equal(values.view(np.uint64), np.uint64(ABSENT_NAN_BITS))


class Labels(Mapping[str, str]):
    """The name of a series: sorted label pairs, without empty values, hashable.

    >>> Labels({"__name__": "up", "job": "demo"})
    Labels('up{job="demo"}')
    """

    __slots__ = ("_hash", "pairs")  # no dict inside: a series' name is kept for as long as the series

    pairs: tuple[tuple[str, str], ...]
    _hash: int

    def __init__(self, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        object.__setattr__(self, "pairs", tuple(sorted((name, value) for name, value in items if value)))
        object.__setattr__(self, "_hash", hash(self.pairs))

    @classmethod
    def from_sorted(cls, pairs: tuple[tuple[str, str], ...]) -> "Labels":
        """Labels of pairs that are known to be sorted, each name once, without empty values. The tuple is kept."""
        labels = cls.__new__(cls)
        object.__setattr__(labels, "pairs", pairs)
        object.__setattr__(labels, "_hash", hash(pairs))
        return labels

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Labels are frozen: cannot set {name}")

    def __reduce__(self) -> tuple[type["Labels"], tuple[tuple[tuple[str, str], ...]]]:
        return (Labels, (self.pairs,))

    def __getitem__(self, name: str) -> str:
        for own, value in self.pairs:
            if own == name:
                return value
        raise KeyError(name)

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str | Default, /) -> str | Default: ...
    def get(self, name: str, default: Any = None, /) -> Any:
        for own, value in self.pairs:
            if own == name:
                return value
        return default

    def __contains__(self, name: object) -> bool:
        return any(own == name for own, _ in self.pairs)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Labels):
            return self.pairs == other.pairs
        return NotImplemented

    def __lt__(self, other: "Labels") -> bool:
        return self.pairs < other.pairs

    @property
    def name(self) -> str:
        """The metric name, or an empty string."""
        return self.get(METRIC_NAME, "")

    @property
    def fingerprint(self) -> int:
        """A 64-bit hash that is the same in every process, unlike `hash`."""
        digest = hashlib.blake2b(digest_size=8)
        for name, value in self.pairs:
            digest.update(name.encode() + b"\xff" + value.encode() + b"\xff")
        return int.from_bytes(digest.digest(), "big")

    def without(self, *names: str) -> "Labels":
        return Labels((name, value) for name, value in self.pairs if name not in names)

    def only(self, names: Iterable[str]) -> "Labels":
        wanted = set(names)
        return Labels((name, value) for name, value in self.pairs if name in wanted)

    def updated(self, other: Mapping[str, str]) -> "Labels":
        """These labels with `other`'s laid over them; an empty value removes the label."""
        return Labels({**dict(self.pairs), **other})

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={_quote(value)}" for name, value in self.pairs if name != METRIC_NAME)
        return f"{self.name}{{{inner}}}" if inner or not self.name else self.name

    def __repr__(self) -> str:
        return f"Labels({str(self)!r})"


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


MatchOp = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: ``name op value``. Regular expressions are RE2 and anchored at both ends."""

    name: str
    op: MatchOp
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.op}{_quote(self.value)}"


@dataclass(frozen=True, slots=True)
class Frame:
    """Samples on the way into the store: a dense block of T times by N series.

    `values[t, n]` is `ABSENT_NAN` (by bits) where series n has no sample at time t.
    """

    timestamps: NDArray[np.int64]
    """[T] ms, ascending."""
    ids: NDArray[np.uint32]
    """[N] ids given by the store that the frame is for."""
    values: NDArray[np.float64]
    """[T, N]."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw samples read from a store, series after series (compressed rows).

    Samples of series s are ``timestamps[offsets[s]:offsets[s + 1]]`` and the same slice of `values`: ascending in time,
    staleness markers included (by bits), absent samples left out.
    """

    labels: tuple[Labels, ...]
    """[S]."""
    offsets: NDArray[np.int64]
    """[S + 1]."""
    timestamps: NDArray[np.int64]
    """[total] ms."""
    values: NDArray[np.float64]
    """[total]."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Vector:
    """The result of an expression at one time: one value a series."""

    time_ms: int
    labels: tuple[Labels, ...]
    """[S]."""
    values: NDArray[np.float64]
    """[S]."""
    sampled_at_ms: NDArray[np.int64]
    """[S] for a bare selector the time of the sample that answered, else `time_ms`: so a repeat is known as one."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The result of an expression over a range: dense, NaN-by-`ABSENT_NAN`-bits where a series has no point."""

    times_ms: NDArray[np.int64]
    """[T] start, start + step, ..."""
    labels: tuple[Labels, ...]
    """[S]."""
    values: NDArray[np.float64]
    """[S, T]."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A single observation behind a sample, with the trace that made it."""

    series: Labels
    labels: Labels
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    """What a target says about a metric by ``# TYPE``, ``# HELP`` and ``# UNIT``."""

    type: str = "unknown"
    """counter, gauge, histogram, summary, info, stateset, gaugehistogram or unknown."""
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log line. `fields` keeps what the line said beyond the columns, values as JSON gives them."""

    timestamp_ns: int
    service: str
    level: str
    """trace, debug, info, warn, error, fatal; or empty where the line does not say."""
    message: str
    trace_id: str | None = None
    span_id: str | None = None
    endpoint: str | None = None
    latency_ms: float | None = None
    status: str | None = None
    """A keyword: "200" or "ERROR"."""
    error_msg: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    uid: str = ""
    """Where the line came from (file, inode and offset, or a content hash): delivered twice, it is stored once."""


SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
SpanStatus = Literal["unset", "ok", "error"]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    timestamp_ns: int
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One timed operation of a trace (OpenTelemetry's data model)."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    service: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    status: SpanStatus = "unset"
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


def valid_trace_id(text: str | None) -> str | None:
    """`text` as a trace id, or None: all zeros, wrong length and foreign characters are absent, not ids."""
    lowered = (text or "").strip().lower()
    return lowered if _TRACE_ID.fullmatch(lowered) and lowered.strip("0") else None


def valid_span_id(text: str | None) -> str | None:
    """`text` as a span id, or None."""
    lowered = (text or "").strip().lower()
    return lowered if _SPAN_ID.fullmatch(lowered) and lowered.strip("0") else None


class AlertState(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Reason(StrEnum):
    """Why an alert changed its state, or why a page was or was not sent. Also a metric label."""

    # transitions
    CONDITION_MET = "condition met"
    HELD_FOR = "condition held for `for`"
    CONDITION_CLEARED = "condition cleared"
    RECOVERED = "recovered"
    NEW_LEVEL = "new level"
    SERIES_GONE = "series gone"
    RULE_REMOVED = "rule removed"
    NO_DATA = "no data"
    # deliveries
    FIRST = "first notification"
    NEW_ALERTS = "new alerts added"
    SOME_RESOLVED = "some alerts resolved"
    ALL_RESOLVED = "all alerts resolved"
    REPEAT = "repeat interval elapsed"
    # held back
    UNCHANGED = "nothing new since the last notification"
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    NEVER_SENT = "resolved before it was ever sent"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as everything after the state machine sees it.

    Identity is `labels` (alertname and rule labels included) together with `starts_at_ms`.
    """

    labels: Labels
    annotations: Mapping[str, str]
    state: AlertState
    starts_at_ms: int
    """When it began to fire (pending: became active)."""
    ends_at_ms: int | None
    """When it was resolved; None while it is on."""
    updated_at_ms: int
    reason: Reason
    rule: str
    """`group/alert`, the rule that made it."""
    expr: str = ""
    value: float | None = None
    baseline: float | None = None
    lower: float | None = None
    upper: float | None = None
    score: float | None = None
    generator_url: str = ""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def fingerprint(self) -> str:
        return f"{self.labels.fingerprint:016x}"
