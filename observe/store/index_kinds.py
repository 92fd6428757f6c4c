"""What each kind of record puts into its index: the fields, and a record as a document of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import tantivy

from observe.model import LogRecord, Span
from observe.store.index_queries import IndexQueries
from observe.store.signal_tags import log_tags, span_duration_us, span_rank, span_tags
from observe.store.words import words

LAYOUT: Final = 1
"""Of the fields below: another number makes every index again from its segment."""


@dataclass(frozen=True)
class Kind:
    """What one kind of record puts into its index."""

    name: str
    schema: tantivy.Schema
    document: Callable[[Any, int], dict[str, Any]]

    @cached_property
    def queries(self) -> IndexQueries:
        return IndexQueries(self.schema)


def _log_schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in ("words", "error_words"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    for name in ("tags", "trace_id"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in ("service", "level"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic", fast=True)
    for name in ("time_ns", "time_ms", "seq"):
        builder.add_integer_field(name, fast=True)
    builder.add_float_field("latency_ms", fast=True)
    return builder.build()


def _span_schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in ("tags", "trace_id"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("service", tokenizer_name="raw", index_option="basic", fast=True)
    for name in ("start_ns", "end_ns", "rank", "duration_us", "seq"):
        builder.add_integer_field(name, fast=True)
    return builder.build()


def _log_document(record: LogRecord, seq: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "words": " ".join(words(record.message)), "tags": log_tags(record), "service": record.service,
        "level": record.level, "time_ns": record.timestamp_ns, "time_ms": record.timestamp_ns // 1_000_000, "seq": seq,
    }
    if record.error_msg:
        document["error_words"] = " ".join(words(record.error_msg))
    if record.trace_id:
        document["trace_id"] = record.trace_id
    if record.latency_ms is not None and math.isfinite(record.latency_ms):
        document["latency_ms"] = float(record.latency_ms)
    return document


def _span_document(span: Span, seq: int) -> dict[str, Any]:
    return {
        "tags": span_tags(span), "trace_id": span.trace_id, "service": span.service, "start_ns": span.start_ns,
        "end_ns": span.end_ns, "rank": span_rank(span), "duration_us": span_duration_us(span), "seq": seq,
    }


LOGS: Final = Kind("logs", _log_schema(), _log_document)
SPANS: Final = Kind("spans", _span_schema(), _span_document)
