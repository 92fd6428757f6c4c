"""What lines and spans are found and ordered by: exact values as tags, the rank of a span. The same in every store."""

from observe.model import LogRecord, Span
from observe.store.words import VALUE_CHARS, leaf_text, leaves, number_of, sortable


def log_tags(record: LogRecord) -> list[str]:
    """The exact values of a line: ``name=value``, and ``name#`` with the sortable form of what is a number."""
    tags = []
    for name, value in (("status", record.status), ("endpoint", record.endpoint), ("span_id", record.span_id)):
        if value and len(value) <= VALUE_CHARS:
            tags.append(f"{name}={value}")
    number = number_of(record.status)
    if number is not None:
        tags.append(f"status#{sortable(number)}")
    if record.fields:
        for name, leaf in leaves(record.fields):
            text = leaf_text(leaf)
            if len(text) <= VALUE_CHARS and len(name) <= VALUE_CHARS:
                tags.append(f"fields.{name}={text}")
            number = number_of(leaf)
            if number is not None and len(name) <= VALUE_CHARS:
                tags.append(f"fields.{name}#{sortable(number)}")
    return tags


def span_failed(span: Span) -> bool:
    return span.status == "error" or (number_of(span_status(span)) or 0) >= 500


def span_status(span: Span) -> str:
    """The HTTP status a span carries, else its own status."""
    for name in ("http.response.status_code", "http.status_code"):
        if name in span.attributes:
            return str(span.attributes[name])
    return span.status


def span_endpoint(span: Span) -> str | None:
    route = span.attributes.get("http.route")
    return str(route) if route else None


def span_rank(span: Span) -> int:
    """Sorts failed before slow before quick."""
    return (int(span_failed(span)) << 61) + span_duration_us(span)


def span_duration_us(span: Span) -> int:
    return max(0, min((span.end_ns - span.start_ns) // 1000, (1 << 60) - 1))


def span_tags(span: Span) -> list[str]:
    """``root`` (no parent), ``entry`` (where a service was called), ``failed``, and the endpoint."""
    tags = []
    if span.parent_span_id is None:
        tags.append("root")
    if span.parent_span_id is None or span.kind in {"server", "consumer"}:
        tags.append("entry")
    if span_failed(span):
        tags.append("failed")
    endpoint = span_endpoint(span)
    if endpoint and len(endpoint) <= VALUE_CHARS:
        tags.append(f"endpoint={endpoint}")
    return tags
