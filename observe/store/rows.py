"""Lines and spans as a spool takes them: bytes, identities, and times that 64 bits hold."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.model import LogRecord, Span
from observe.store import records

END_NS: Final = 2**63 - 1


def clamped(time_ns: int) -> int:
    """A time that 64 bits hold."""
    return max(-END_NS, min(time_ns, END_NS))


Rows = tuple[list[bytes], NDArray[np.uint64], NDArray[np.int64]]


def log_rows(logs: Sequence[LogRecord]) -> Rows:
    """Lines as a spool takes them: bytes, identities, times."""
    kept = [
        record if -END_NS <= record.timestamp_ns <= END_NS
        else replace(record, timestamp_ns=clamped(record.timestamp_ns))
        for record in logs
    ]
    return (
        [records.pack_log(record) for record in kept],
        np.fromiter((records.log_key(record) for record in kept), np.uint64, len(kept)),
        np.fromiter((record.timestamp_ns for record in kept), np.int64, len(kept)),
    )


def span_rows(spans: Sequence[Span]) -> Rows:
    """Spans as a spool takes them."""
    kept = [
        span if -END_NS <= span.start_ns <= END_NS and -END_NS <= span.end_ns <= END_NS
        else replace(span, start_ns=clamped(span.start_ns), end_ns=clamped(span.end_ns))
        for span in spans
    ]
    return (
        [records.pack_span(span) for span in kept],
        np.fromiter((records.span_key(span) for span in kept), np.uint64, len(kept)),
        np.fromiter((span.start_ns for span in kept), np.int64, len(kept)),
    )
