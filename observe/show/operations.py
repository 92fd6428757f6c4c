"""What operators and orchestrators ask: /-/ready, /-/healthy, /-/reload, /metrics, /federate."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from observe.show.context import ShowContext
from observe.show.federate import CONTENT_TYPE, federate
from observe.show.params import read_params
from observe.show.problems import error_json, status_of
from observe.show.workers import QueryThreads

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def operation_routes(context: ShowContext, threads: QueryThreads) -> list[Route]:
    async def healthy(request: Request) -> Response:  # noqa: ARG001
        return PlainTextResponse("observe is healthy.\n")

    async def ready(request: Request) -> Response:
        is_ready, waiting = await threads.run(context.ready, request=request)
        if is_ready:
            return PlainTextResponse("observe is ready.\n")
        return PlainTextResponse(f"observe is starting: {waiting}\n", 503)

    async def reload(request: Request) -> Response:  # noqa: ARG001
        try:
            said = await threads.run(context.reload)
        except Exception as error:
            if status_of(error) == 500:
                return error_json(error)
            return PlainTextResponse(f"the configuration was not reloaded, the old one stays:\n{error}\n", 400)
        return PlainTextResponse(f"{said}\n")

    async def metrics(request: Request) -> Response:
        body = await threads.run(context.telemetry.exposition, request=request)
        return Response(body, media_type=_METRICS_TYPE)

    async def federated(request: Request) -> Response:
        try:
            params = await read_params(request, context.settings.max_form_bytes)
            body = await threads.run(federate, context, params, request=request)
        except Exception as error:
            return error_json(error)
        return Response(body, media_type=CONTENT_TYPE)

    return [
        Route("/-/healthy", healthy, methods=["GET", "HEAD"]),
        Route("/-/ready", ready, methods=["GET", "HEAD"]),
        Route("/-/reload", reload, methods=["POST", "PUT"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/federate", federated, methods=["GET"]),
    ]
