"""Log lines, spans, and the ids that they meet on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


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
