"""The values that pass between stages. Frozen; columns where there are many.

Times are `int` milliseconds since the epoch, UTC, in metrics and alerts (``_ms``), and nanoseconds in logs and spans
(``_ns``), because that is what their wire formats carry. Ids of traces are 32 lower-case hex digits, of spans 16;
absent is None. Each is imported from here, wherever it is written.
"""

from observe.model.alerts import Alert, AlertState, Reason, lies_inside
from observe.model.labels import METRIC_NAME, Labels, Matcher, MatchOp
from observe.model.nans import (
    ABSENT_NAN,
    ABSENT_NAN_BITS,
    NORMAL_NAN_BITS,
    STALE_NAN,
    STALE_NAN_BITS,
    is_absent,
    is_stale,
)
from observe.model.samples import Exemplar, Frame, Matrix, MetricMetadata, Samples, Vector
from observe.model.signals import LogRecord, Span, SpanEvent, SpanKind, SpanStatus, valid_span_id, valid_trace_id

__all__ = [
    "ABSENT_NAN",
    "ABSENT_NAN_BITS",
    "METRIC_NAME",
    "NORMAL_NAN_BITS",
    "STALE_NAN",
    "STALE_NAN_BITS",
    "Alert",
    "AlertState",
    "Exemplar",
    "Frame",
    "Labels",
    "LogRecord",
    "MatchOp",
    "Matcher",
    "Matrix",
    "MetricMetadata",
    "Reason",
    "Samples",
    "Span",
    "SpanEvent",
    "SpanKind",
    "SpanStatus",
    "Vector",
    "is_absent",
    "is_stale",
    "lies_inside",
    "valid_span_id",
    "valid_trace_id",
]
