"""The Prometheus API and operation alone, for `observe serve-metrics`: without the framework of the other APIs and the
console, so it is up in a moment. `observe.show.web` builds the whole on the same parts.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from observe.errors import ObserveError, QueryError
from observe.show.api_endpoint import api_route
from observe.show.auth import AuthGate, AuthSettings, Gatekeeper
from observe.show.context import ShowContext
from observe.show.guard import Guard
from observe.show.operations import operation_routes
from observe.show.problems import NotFound, Refused, answer_error, error_json
from observe.show.prometheus_api import prometheus_routes
from observe.show.prometheus_rules import RulesApi
from observe.show.prometheus_status import StatusApi
from observe.show.workers import QueryThreads


def build_metrics_web(context: ShowContext, auth: AuthSettings | None = None, *, loopback: bool = True) -> Starlette:
    """The application. `loopback` says that we listen on this machine alone: then only its own names are answered."""
    threads = QueryThreads(context.settings.query_threads, context.settings.query_queue, context.telemetry)
    app = Starlette(routes=[*metric_routes(context, threads), *context.routers])
    guard(app, context, Gatekeeper(auth or AuthSettings(), context.clock), auth, loopback=loopback)
    return app


def metric_routes(context: ShowContext, threads: QueryThreads) -> list[Route]:
    """Prometheus' API, the hottest routes first, and operation."""
    status, rules = StatusApi(context), RulesApi(context)
    about = [
        ("targets", status.targets), ("targets/metadata", status.targets_metadata),
        ("rules", rules.rules), ("alerts", rules.alerts), ("explain", rules.explain),
        ("scrape_pools", status.scrape_pools), ("alertmanagers", status.alertmanagers),
        ("status/buildinfo", status.buildinfo), ("status/runtimeinfo", status.runtimeinfo),
        ("status/config", status.config), ("status/flags", status.flags), ("status/tsdb", status.tsdb),
        ("status/walreplay", status.walreplay),
    ]
    return [
        *prometheus_routes(context, threads),
        *(api_route(context, threads, f"/api/v1/{name}", handler, ["GET"]) for name, handler in about),
        *operation_routes(context, threads),
    ]


def guard(
    app: Starlette, context: ShowContext, keeper: Gatekeeper, auth: AuthSettings | None, *, loopback: bool,
) -> None:
    """Put the one error shape, auth where it is configured, and the guard around an application."""
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        ObserveError: answer_error, HTTPException: http_error, Exception: answer_error,
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


async def http_error(request: Request, error: HTTPException) -> Response:
    """What the router refuses, in the one error shape."""
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
