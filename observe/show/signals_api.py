"""The HTTP API of logs and traces: /api/logs/search, /api/logs/histogram, /api/traces, /api/traces/{trace_id}."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from observe.errors import QueryError
from observe.model import valid_trace_id
from observe.protocols import LogQuery, SignalStore, TraceQuery
from observe.show.context import ShowContext
from observe.show.params import parse_time_ms
from observe.show.problems import NotFound, dump
from observe.show.workers import QueryThreads
from observe.trace.lookup import trace_view
from observe.trace.wire import histogram_json, page_json, summary_json, trace_json

Start = Annotated[str, Query(description="Start: Unix seconds or RFC 3339; default an hour before the end.")]
End = Annotated[str, Query(description="End: Unix seconds or RFC 3339; default now.")]
Service = Annotated[str | None, Query(description="Only this `service.name`.")]
Text = Annotated[str, Query(alias="query", description="What to look for; the language is in docs/logs.md.")]
Level = Annotated[str | None, Query(description="trace, debug, info, warn, error or fatal.")]
TraceId = Annotated[str | None, Query(description="Only lines of this trace (32 hex digits).")]
_HOUR_MS = 3_600_000


def signals_router(context: ShowContext, threads: QueryThreads) -> APIRouter:
    """Routes over `context.signals`, which must be there."""
    store = context.signals
    if store is None:
        raise ValueError("no signal store")
    router = APIRouter(tags=["Logs and traces"])

    async def answer(request: Request, function: Callable[[], Any]) -> Response:
        body = await threads.run(
            lambda: dump(function()), request=request, timeout_s=context.settings.query_timeout_s,
        )
        return Response(body, media_type="application/json")

    @router.get("/api/logs/search", summary="Log lines that match, the newest first.")
    async def search(
        request: Request, text: Text = "", start: Start = "", end: End = "", service: Service = None,
        level: Level = None, trace_id: TraceId = None,
        limit: Annotated[int, Query(ge=1, le=10_000, description="Most lines.")] = 100,
        cursor: Annotated[str | None, Query(description="Where the page before ended.")] = None,
        order: Annotated[Literal["newest", "oldest"], Query(description="Which comes first.")] = "newest",
    ) -> Response:
        start_ns, end_ns = time_range(context, start, end)
        query = LogQuery(start_ns, end_ns, text, service, level, trace_of(trace_id), limit, cursor, order == "newest")
        return await answer(request, lambda: page_json(store.search(query)))

    @router.get("/api/logs/histogram", summary="Counts of matching lines by time and level.")
    async def histogram(
        request: Request, text: Text = "", start: Start = "", end: End = "", service: Service = None,
        level: Level = None, trace_id: TraceId = None,
        buckets: Annotated[int, Query(ge=1, le=1000, description="How many steps of time.")] = 60,
    ) -> Response:
        start_ns, end_ns = time_range(context, start, end)
        query = LogQuery(start_ns, end_ns, text, service, level, trace_of(trace_id))
        return await answer(request, lambda: histogram_json(store.histogram(query, buckets)))

    @router.get("/api/traces", summary="Traces that overlap the range: failed first, then slowest.")
    async def traces(
        request: Request, start: Start = "", end: End = "", service: Service = None,
        endpoint: Annotated[str | None, Query(description="Only this `http.route`.")] = None,
        failed: Annotated[bool, Query(description="Only failed ones.")] = False,
        min_duration_ms: Annotated[float | None, Query(ge=0, description="Only those at least this long.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Most traces.")] = 20,
    ) -> Response:
        start_ns, end_ns = time_range(context, start, end)
        query = TraceQuery(start_ns, end_ns, service, endpoint, failed, min_duration_ms, limit)
        return await answer(request, lambda: {"traces": [summary_json(found) for found in store.traces(query)]})

    @router.get("/api/traces/{trace_id}", summary="One trace: its spans as a tree, its log lines, overlapping alerts.")
    async def trace(
        request: Request, trace_id: Annotated[str, Path(description="32 hex digits.")],
    ) -> Response:
        wanted = trace_of(trace_id)
        return await answer(request, lambda: _trace(context, store, str(wanted)))

    @router.get("/api/services", summary="Services that sent logs or spans in the range.")
    async def services(request: Request, start: Start = "", end: End = "") -> Response:
        start_ns, end_ns = time_range(context, start, end)
        return await answer(request, lambda: {"services": store.services(start_ns, end_ns)})

    return router


def time_range(context: ShowContext, start: str, end: str) -> tuple[int, int]:
    """The range in ns."""
    end_ms = parse_time_ms(end, "end") if end else context.clock.now_ms()
    start_ms = parse_time_ms(start, "start") if start else end_ms - _HOUR_MS
    if end_ms < start_ms:
        raise QueryError("invalid parameter 'end': it must not be before start")
    return start_ms * 1_000_000, end_ms * 1_000_000 + 999_999


def trace_of(text: str | None) -> str | None:
    """A valid trace id, None for none; raises `QueryError` saying what an id looks like."""
    if text is None or text == "":
        return None
    found = valid_trace_id(text)
    if found is None:
        raise QueryError(
            f"{text[:80]!r} is not a trace id; one has 32 hexadecimal digits that are not all zero, such as "
            "4bf92f3577b34da6a3ce929d0e0e4736",
        )
    return found


def _trace(context: ShowContext, store: SignalStore, trace_id: str) -> dict[str, Any]:
    view = trace_view(trace_id, store, context.alerts)
    if not view.rows and not view.logs:
        raise NotFound(f"no span and no log line of trace {trace_id} is stored; it may be too old, or not sent yet")
    return trace_json(view)
