"""One log line, JSON or not, as a `LogRecord`.

The line of the users' services is JSON with `timestamp` (epoch in s, ms, µs or ns, told by its magnitude, or ISO 8601),
`service`, `endpoint`, `latency` (ms), `status` (a keyword), `error_msg`, `trace_id`, `span_id`. The names that common
logging libraries use instead are understood too (`ALIASES`). What has no column becomes a field; a line that is no
JSON object is kept whole as its own message.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from observe.collect.otlp_model import level_of
from observe.model import LogRecord, valid_span_id, valid_trace_id

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "timestamp": ("timestamp", "@timestamp", "time", "ts", "datetime", "asctime", "eventTime"),
    "service": ("service", "service.name", "service_name", "serviceName", "app", "application"),
    "level": ("level", "severity", "levelname", "log.level", "loglevel", "lvl", "severityText"),
    "message": ("message", "msg", "event", "body", "text", "log"),
    "endpoint": ("endpoint", "http.route", "route", "path"),
    "latency": ("latency", "latency_ms", "duration_ms", "elapsed_ms"),
    "status": ("status", "status_code", "http.status_code", "http.response.status_code"),
    "error_msg": ("error_msg", "error", "error.message", "exception", "exception.message", "err"),
    "trace_id": ("trace_id", "traceId", "traceID", "trace.id", "otelTraceID"),
    "span_id": ("span_id", "spanId", "spanID", "span.id", "otelSpanID"),
}
"""Column -> the names under which lines carry it, the first that is there wins."""

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d+))?\s*(Z|z|UTC|[+-]\d{2}:?\d{2})?")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_BUNYAN: Final = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_DEEPEST: Final = 16
_BIGGEST: Final = 2**63


def read_line(line: bytes, *, service: str, uid: str, now_ns: int) -> tuple[LogRecord, bool]:
    """The record of one line, and whether it was a JSON object. `service` and `now_ns` stand in for what it lacks."""
    said = None
    if line.lstrip()[:1] == b"{":
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
    if not isinstance(said, dict):
        message = line.decode(errors="replace").rstrip("\r")
        return LogRecord(now_ns, service, "", message, uid=uid), False
    return _record(said, service, uid, now_ns), True


def _record(said: dict[str, Any], service: str, uid: str, now_ns: int) -> LogRecord:
    timestamp_ns = _take(said, "timestamp", read_time_ns)
    trace_id = _take(said, "trace_id", _trace_id)
    span_id = _take(said, "span_id", _span_id)
    if trace_id is None and isinstance(parent := said.get("traceparent"), str) and (
        match := _TRACEPARENT.fullmatch(parent.strip().lower())
    ):
        trace_id, span_id = valid_trace_id(match[1]), span_id or valid_span_id(match[2])
    level = _take(said, "level", _level)
    message = _take(said, "message", _some_text)
    error = _take(said, "error_msg", _some_text)
    return LogRecord(
        timestamp_ns=now_ns if timestamp_ns is None else timestamp_ns,
        service=_take(said, "service", _some_text) or service, level=level or "", message=message or error or "",
        trace_id=trace_id, span_id=span_id, endpoint=_take(said, "endpoint", _some_text),
        latency_ms=_take(said, "latency", _milliseconds), status=_take(said, "status", _keyword), error_msg=error,
        fields={_text(name): plain(value) for name, value in said.items()}, uid=uid,
    )


def _take(said: dict[str, Any], column: str, read: Any) -> Any:
    """The first alias whose value can be read as this column; it leaves `said`. What cannot be read stays a field."""
    for name in ALIASES[column]:
        value = said.get(name)
        if value is None and "." in name:
            outer, _, inner = name.partition(".")
            nested = said.get(outer)
            if isinstance(nested, dict) and (found := read(nested.get(inner))) is not None:
                said[outer] = {key: each for key, each in nested.items() if key != inner}
                if not said[outer]:
                    del said[outer]
                return found
        elif value is not None and (found := read(value)) is not None:
            del said[name]
            return found
    return None


def read_time_ns(value: Any) -> int | None:
    """Nanoseconds since the epoch, of a number in s, ms, µs or ns (told by its magnitude) or of ISO 8601 text.

    >>> read_time_ns(1700000000), read_time_ns("1700000000123"), read_time_ns("2023-11-14T22:13:20.5Z")
    (1700000000000000000, 1700000000123000000, 1700000000500000000)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return _iso_ns(text)
        value = float(text) if "." in text else int(text[:40])
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return None
    for below, factor in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (9.2e18, 1)):
        if value < below:
            return value * factor if isinstance(value, int) else round(value * 1e6) * factor // 10**6
    return None


def _iso_ns(text: str) -> int | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    zone = (match[3] or "Z").upper().replace("UTC", "Z").replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(match[1].replace(" ", "T") + zone)
        seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return int(seconds) * 10**9 + int((match[2] or "0")[:9].ljust(9, "0"))


def _trace_id(value: Any) -> str | None:
    return valid_trace_id(value) if isinstance(value, str) else None


def _span_id(value: Any) -> str | None:
    return valid_span_id(value) if isinstance(value, str) else None


def _level(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return _BUNYAN.get(value)
    return level_of(value) or None if isinstance(value, str) else None


def _milliseconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _keyword(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _text(value)[:256] if isinstance(value, str | int) and not isinstance(value, bool) else None


def _some_text(value: Any) -> str | None:
    return _text(value) if isinstance(value, str) else None


def _text(value: object) -> str:
    """Text that can be written as UTF-8: JSON may smuggle half a surrogate pair in."""
    text = str(value)
    return text if text.isascii() else text.encode(errors="replace").decode()


def plain(value: Any, depth: int = 0) -> Any:
    """A field's value within what every store can keep: finite, 64 bits, not too deep."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -_BIGGEST <= value < _BIGGEST else str(value) if abs(value) < 10**100 else "…"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {_text(name): plain(inner, depth + 1) for name, inner in value.items()}
    return [plain(inner, depth + 1) for inner in value]
