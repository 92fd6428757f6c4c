"""The web side as one ASGI application: APIs, operation, console, behind the guard and, where configured, auth."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from observe.errors import ObserveError, QueryError
from observe.show.auth import AuthGate, AuthSettings, Gatekeeper
from observe.show.context import ShowContext
from observe.show.guard import Guard
from observe.show.openapi import OTHERS, PLAIN_ROUTES, complete
from observe.show.operations import operation_routes
from observe.show.problems import NotFound, Refused, answer_error, error_json
from observe.show.prometheus_api import api_route, prometheus_routes
from observe.show.prometheus_status import StatusApi
from observe.show.workers import QueryThreads


def build_web(context: ShowContext, auth: AuthSettings | None = None, *, loopback: bool = True) -> FastAPI:
    """Everything. `loopback` says that we listen on this machine alone: then only its own names are answered."""
    threads = QueryThreads(context.settings.query_threads, context.settings.query_queue, context.telemetry)
    app = FastAPI(
        title="observe", version=context.build.version, docs_url=None, redoc_url=None,
        description="Metrics, logs, traces and alerts. Errors have one shape: `{status, errorType, error}`.",
    )
    app.router.routes[:0] = [*_metric_routes(context, threads), *context.routers]
    keeper = Gatekeeper(auth or AuthSettings(), context.clock)
    if context.signals is not None:
        from observe.show.signals_api import signals_router

        app.include_router(signals_router(context, threads))
    if context.settings.console:
        from observe.show.console import console_routes

        app.router.routes.extend(console_routes(context, threads, keeper, lambda: app.openapi()))  # noqa: PLW0108
    _finish(app, context, keeper, auth, loopback=loopback)
    _describe(app)
    return app


def build_metrics_web(context: ShowContext, auth: AuthSettings | None = None, *, loopback: bool = True) -> Starlette:
    """The Prometheus API and operation alone, for `observe serve-metrics`: a third of the start-up time."""
    threads = QueryThreads(context.settings.query_threads, context.settings.query_queue, context.telemetry)
    app = Starlette(routes=[*_metric_routes(context, threads), *context.routers])
    _finish(app, context, Gatekeeper(auth or AuthSettings(), context.clock), auth, loopback=loopback)
    return app


def _metric_routes(context: ShowContext, threads: QueryThreads) -> list[Route]:
    status = StatusApi(context)
    about = [
        ("targets", status.targets), ("rules", status.rules), ("alerts", status.alerts),
        ("scrape_pools", status.scrape_pools), ("alertmanagers", status.alertmanagers),
        ("status/buildinfo", status.buildinfo), ("status/runtimeinfo", status.runtimeinfo),
        ("status/config", status.config), ("status/flags", status.flags), ("status/tsdb", status.tsdb),
    ]
    return [
        *prometheus_routes(context, threads),
        *(api_route(context, threads, f"/api/v1/{name}", handler, ["GET"]) for name, handler in about),
        *operation_routes(context, threads),
    ]


def _finish(
    app: Starlette, context: ShowContext, keeper: Gatekeeper, auth: AuthSettings | None, *, loopback: bool,
) -> None:
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        ObserveError: answer_error, HTTPException: _http_error, RequestValidationError: _invalid,
        Exception: answer_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    if auth is not None and auth.configured:
        app.add_middleware(AuthGate, keeper=keeper, telemetry=context.telemetry)
    app.add_middleware(
        Guard, external_url=context.settings.external_url, telemetry=context.telemetry, clock=context.clock,
        paths=_paths(app.routes), loopback=loopback,
    )


def _paths(routes: Sequence[BaseRoute]) -> dict[Any, str]:
    return {route.endpoint: route.path for route in routes if hasattr(route, "endpoint") and hasattr(route, "path")}


def _describe(app: FastAPI) -> None:
    written_by_fastapi = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            mounted = {getattr(route, "path", "") for route in app.routes}
            others = tuple(one for one in OTHERS if one.path in mounted)
            app.openapi_schema = complete(written_by_fastapi(), (*PLAIN_ROUTES, *others))
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to extend it


async def _http_error(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        return error_json(NotFound(f"there is nothing at {request.url.path}; /docs lists what there is"))
    if error.status_code == 405:
        response = error_json(QueryError(f"{request.url.path} does not take {request.method}"))
        response.status_code = 405
        response.headers.update(error.headers or {})
        return response
    response = error_json(Refused(str(error.detail)))
    response.status_code = error.status_code
    return response


async def _invalid(request: Request, error: RequestValidationError) -> Response:  # noqa: ARG001
    faults = "; ".join(f"{'.'.join(str(step) for step in e['loc'][1:])}: {e['msg']}" for e in error.errors())
    return error_json(QueryError(f"invalid parameter: {faults}"))
