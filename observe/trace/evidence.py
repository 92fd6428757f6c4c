"""Which traces belong to an alert, and why there are none when there are none."""

from dataclasses import dataclass

from observe.errors import ObserveError
from observe.protocols import SignalStore, TraceQuery, TraceSummary


@dataclass(frozen=True, slots=True)
class TracesFound:
    """The annotations `trace_ids` and `trace_ids_reason` of an alert."""

    traces: tuple[TraceSummary, ...]
    reason: str = ""
    """Why there are none; empty when there are some."""

    @property
    def trace_ids(self) -> str:
        return ",".join(one.trace_id for one in self.traces)


def traces_for(
    service: str | None, endpoint: str | None, start_ms: int, end_ms: int, store: SignalStore, limit: int = 5,
) -> TracesFound:
    """Traces of a service (and route) that overlap the time: the failed first, then the slowest, root span queryable.

    Never raises for a store that does not answer: a page goes out without traces rather than not at all.
    """
    if not service:
        return TracesFound((), "the alert has no label `service` or `job` to find traces by")
    start_ns, end_ns = start_ms * 1_000_000, end_ms * 1_000_000 + 999_999
    try:
        found = store.traces(TraceQuery(start_ns, end_ns, service, endpoint, limit=limit))
        if found:
            return TracesFound(tuple(found))
        if endpoint and (others := store.traces(TraceQuery(start_ns, end_ns, service, limit=1))):
            seen = others[0].name
            return TracesFound((), f"{service} has traces in this time, but none of {endpoint} ({seen} is one)")
        if service in store.services(start_ns, end_ns):
            return TracesFound((), f"{service} was heard of in this time, but no finished trace with its root span")
        return TracesFound((), f"{service} sent no spans in this time; is it instrumented, and does it send them here?")
    except ObserveError as error:
        return TracesFound((), f"the trace store did not answer: {error}")
