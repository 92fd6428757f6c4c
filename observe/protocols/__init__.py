"""The seams between stages: what one stage may ask of another, whichever class stands behind it.

`observe.app` alone knows the concrete classes. Every seam has an embedded and an attached side, and one scenario in
tests runs unchanged on both. A seam is imported from here, wherever it is written.
"""

from observe.protocols.alerts import AlertBook, AlertSink, RuleStatus
from observe.protocols.bands import BandEngine, BandStart, BudgetStatus, ExplainedBand, Judgement, OddSeries, Said
from observe.protocols.metrics import NO_SERIES, Appended, QueryEngine, SampleSink, SampleSource, TargetHealth
from observe.protocols.pages import Delivery, Notification, PageDesk, PageState, PageStatus, Receipt, Receiver, Silence
from observe.protocols.signals import (
    LogHistogram,
    LogPage,
    LogQuery,
    SignalSink,
    SignalStore,
    TraceQuery,
    TraceSignals,
    TraceSummary,
)

__all__ = [
    "NO_SERIES",
    "AlertBook",
    "AlertSink",
    "Appended",
    "BandEngine",
    "BandStart",
    "BudgetStatus",
    "Delivery",
    "ExplainedBand",
    "Judgement",
    "LogHistogram",
    "LogPage",
    "LogQuery",
    "Notification",
    "OddSeries",
    "PageDesk",
    "PageState",
    "PageStatus",
    "QueryEngine",
    "Receipt",
    "Receiver",
    "RuleStatus",
    "Said",
    "SampleSink",
    "SampleSource",
    "SignalSink",
    "SignalStore",
    "Silence",
    "TargetHealth",
    "TraceQuery",
    "TraceSignals",
    "TraceSummary",
]
