"""The web side as one ASGI application: APIs, operation, console, behind the guard and, where configured, auth."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from observe.errors import QueryError
from observe.show.auth import AuthSettings, Gatekeeper
from observe.show.context import ShowContext
from observe.show.metrics_web import build_metrics_web, guard, http_error, metric_routes
from observe.show.openapi import OTHERS, PLAIN_ROUTES, complete
from observe.show.problems import NotFound, error_json, json_response
from observe.show.workers import QueryThreads

__all__ = ["build_metrics_web", "build_web"]


def build_web(context: ShowContext, auth: AuthSettings | None = None, *, loopback: bool = True) -> FastAPI:
    """Everything. `loopback` says that we listen on this machine alone: then only its own names are answered."""
    threads = QueryThreads(context.settings.query_threads, context.settings.query_queue, context.telemetry)
    app = FastAPI(
        title="observe", version=context.build.version, docs_url=None, redoc_url=None,
        description="Metrics, logs, traces and alerts. Errors have one shape: `{status, errorType, error}`.",
    )
    app.router.routes[:0] = [*metric_routes(context, threads), *context.routers]
    keeper = Gatekeeper(auth or AuthSettings(), context.clock)
    if context.signals is not None:
        from observe.show.signals_api import signals_router

        app.include_router(signals_router(context, threads))
    guard_errors = http_error
    if context.settings.console:
        from observe.show.console import Desk, console_routes

        desk = Desk(context, threads)
        app.router.routes.extend(console_routes(desk, keeper, lambda: app.openapi()))  # noqa: PLW0108 - replaced below

        async def guard_errors(request: Request, error: HTTPException) -> Response:
            """A person who mistypes an address gets a page, a machine the one error shape."""
            if error.status_code == 404 and "text/html" in request.headers.get("accept", ""):
                return await desk.error_page(request, NotFound(f"There is nothing at {request.url.path}."))
            return await http_error(request, error)

    guard(app, context, keeper, auth, loopback=loopback)
    app.add_exception_handler(HTTPException, guard_errors)  # type: ignore[arg-type]  # Starlette types it too narrowly
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    written_by_fastapi = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            mounted = {getattr(route, "path", "") for route in app.routes}
            others = tuple(one for one in OTHERS if one.path in mounted)
            app.openapi_schema = complete(written_by_fastapi(), (*PLAIN_ROUTES, *others))
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend it


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    faults = "; ".join(f"{'.'.join(str(step) for step in e['loc'][1:])}: {e['msg']}" for e in error.errors())
    if request.url.path.startswith("/api/v2/"):  # Alertmanager says what is wrong as a bare string
        return json_response(f"invalid parameter: {faults}", 400)
    return error_json(QueryError(f"invalid parameter: {faults}"))
