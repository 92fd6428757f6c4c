"""The bytes of an OTLP request, protobuf or JSON, as resources and their records: mappings with JSON's names.

JSON is OTLP's own dialect: ids are hex, 64-bit integers may be text, bytes are base64, unknown keys are ignored.
Protobuf is read by the generated classes. What does not parse raises `MalformedData` and says where it went wrong.
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from observe.errors import MalformedData

MAX_TEXT: Final = 1_000_000
"""Characters of one text that are kept."""
_DEEPEST: Final = 32

Record = dict[str, Any]
Group = tuple[dict[str, Any], bytes, list[Record], list[bytes]]
"""A resource's attributes and its bytes, its records and their bytes (for identity)."""


def read_json(body: bytes, signal: str) -> list[Group]:
    """Resources with their records; `signal` is ``traces`` or ``logs``."""
    outer, middle, inner = _NAMES[signal]
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedData(f"the body is not JSON: {_brief(error)}") from error
    groups = []
    for resource in _mappings(mapping(request).get(outer)):
        said = attributes(mapping(resource.get("resource")).get("attributes"))
        found: list[Record] = []
        raw: list[bytes] = []
        for scope in _mappings(resource.get(middle)):
            for record in _mappings(scope.get(inner)):
                events = [{**event, "attributes": attributes(event.get("attributes"))}
                          for event in _mappings(record.get("events"))]
                found.append({
                    **record, "attributes": attributes(record.get("attributes")), "events": events,
                    "body": any_value(record.get("body")),
                })
                if signal == "logs":
                    raw.append(json.dumps(record, sort_keys=True).encode())
        groups.append((said, json.dumps(said, sort_keys=True).encode(), found, raw))
    return groups


_NAMES: Final = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
}


def read_protobuf(body: bytes, signal: str) -> list[Group]:
    from google.protobuf.message import DecodeError

    request: Any
    if signal == "traces":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        request = ExportTraceServiceRequest()
    else:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        request = ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, RecursionError) as error:
        raise MalformedData("the body is not the protobuf message that is expected here, or it is cut short") from error
    groups: list[Group] = []
    for resource in request.resource_spans if signal == "traces" else request.resource_logs:
        said = _protobuf_attributes(resource.resource.attributes)
        if signal == "traces":
            found = [_span(span) for scope in resource.scope_spans for span in scope.spans]
            groups.append((said, b"", found, []))
        else:
            records = [record for scope in resource.scope_logs for record in scope.log_records]
            raw = [each.SerializeToString(deterministic=True) for each in records]
            of = resource.resource.SerializeToString(deterministic=True)
            groups.append((said, of, [_log(each) for each in records], raw))
    return groups


def _span(span: Any) -> Record:
    return {
        "traceId": span.trace_id, "spanId": span.span_id, "parentSpanId": span.parent_span_id, "name": span.name,
        "kind": span.kind, "startTimeUnixNano": span.start_time_unix_nano, "endTimeUnixNano": span.end_time_unix_nano,
        "status": {"code": span.status.code, "message": span.status.message},
        "attributes": _protobuf_attributes(span.attributes),
        "events": [{"timeUnixNano": event.time_unix_nano, "name": event.name,
                    "attributes": _protobuf_attributes(event.attributes)} for event in span.events],
    }


def _log(record: Any) -> Record:
    return {
        "traceId": record.trace_id, "spanId": record.span_id, "timeUnixNano": record.time_unix_nano,
        "observedTimeUnixNano": record.observed_time_unix_nano, "severityText": record.severity_text,
        "severityNumber": record.severity_number, "body": _protobuf_value(record.body),
        "attributes": _protobuf_attributes(record.attributes),
    }


def _protobuf_attributes(pairs: Any, depth: int = 0) -> dict[str, Any]:
    return {pair.key: _protobuf_value(pair.value, depth) for pair in pairs}


def _protobuf_value(value: Any, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if depth > _DEEPEST:
        return "…"
    inner = getattr(value, kind)
    match kind:
        case "string_value":
            return inner[:MAX_TEXT]
        case "double_value":
            return _finite(inner)
        case "bytes_value":
            return base64.b64encode(inner).decode()
        case "array_value":
            return [_protobuf_value(item, depth + 1) for item in inner.values]
        case "kvlist_value":
            return _protobuf_attributes(inner.values, depth + 1)
    return inner


def attributes(pairs: Any) -> dict[str, Any]:
    """OTLP's list of keys and values as a mapping, values as JSON gives them.

    >>> attributes([{"key": "a", "value": {"intValue": "7"}}])
    {'a': 7}
    """
    return {text(pair.get("key")): any_value(pair.get("value")) for pair in _mappings(pairs)}


def any_value(value: Any, depth: int = 0) -> Any:
    """A plain value of a JSON AnyValue; bytes stay base64 text."""
    if not isinstance(value, Mapping):
        return None
    for kind, inner in value.items():
        if depth > _DEEPEST:
            return "…"
        match kind:
            case "stringValue" | "bytesValue":
                return text(inner)
            case "boolValue":
                return bool(inner)
            case "intValue":
                return integer(value, "intValue")
            case "doubleValue":
                try:
                    return _finite(float(inner))
                except (TypeError, ValueError) as error:
                    raise MalformedData(f"`doubleValue` is {str(inner)[:60]!r}, no number") from error
            case "arrayValue":
                return [any_value(item, depth + 1) for item in _mappings(mapping(inner).get("values"))]
            case "kvlistValue":
                return {text(pair.get("key")): any_value(pair.get("value"), depth + 1)
                        for pair in _mappings(mapping(inner).get("values"))}
    return None


def _mappings(items: Any) -> Iterator[Mapping[str, Any]]:
    if items is None:
        return
    if not isinstance(items, list):
        raise MalformedData(f"a list is wanted where {str(items)[:60]!r} stands")
    for item in items:
        yield mapping(item)


def mapping(item: Any) -> Mapping[str, Any]:
    if item is None:
        return {}
    if not isinstance(item, Mapping):
        raise MalformedData(f"an object is wanted where {str(item)[:60]!r} stands")
    return item


def integer(record: Mapping[str, Any], name: str) -> int:
    """A 64-bit integer: JSON may write it as text."""
    value = record.get(name, 0)
    try:
        number = int(value or 0)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedData(f"`{name}` is {str(value)[:60]!r}, no integer") from error
    if not -(2**63) <= number < 2**63:
        raise MalformedData(f"`{name}` is {str(value)[:60]!r}, beyond a signed 64-bit integer")
    return number


def text(value: Any) -> str:
    """Text that can be written as UTF-8 (JSON may smuggle half a surrogate pair in)."""
    if not isinstance(value, str):
        return "" if value is None else str(value)[:MAX_TEXT]
    value = value[:MAX_TEXT]
    return value if value.isascii() else str(value.encode(errors="replace"), "utf-8")


def _finite(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)


def _brief(error: Exception) -> str:
    return str(error)[:200]
