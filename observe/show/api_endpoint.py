"""One route of Prometheus' API: parameters in, a JSON body made in a query thread out, errors as its JSON.

Plain Starlette routes: an instant query of one series must cost less than the framework around it.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from observe.errors import LimitExceeded
from observe.show.context import ShowContext
from observe.show.params import Params, first, parse_span_ms, read_params
from observe.show.problems import dump, error_json
from observe.show.workers import QueryThreads

_WORTH_ZIPPING: Final = 4096
_MOST_BYTES: Final = 512_000_000
CUT: Final = "results truncated due to limit"
"""The warning of an answer that a `limit` made shorter."""

Handler = Callable[[Params], bytes]


def api_route(
    context: ShowContext, threads: QueryThreads, path: str, handler: Handler, methods: Sequence[str],
) -> Route:
    """A plain route whose handler runs in a query thread and whose errors are Prometheus' JSON."""
    return Route(path, ApiEndpoint(context, threads, handler), methods=list(methods), name=path)


class ApiEndpoint:
    """One route as an ASGI application: what the framework wraps around a function costs as much as a small query."""

    def __init__(self, context: ShowContext, threads: QueryThreads, handler: Handler) -> None:
        self._context, self._threads, self._handler = context, threads, handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await answer(self._context, self._threads, Request(scope, receive), self._handler)
        await response(scope, receive, send)


async def answer(context: ShowContext, threads: QueryThreads, request: Request, handler: Handler) -> Response:
    """What `handler` says of this request's parameters."""
    try:
        params = await read_params(request, context.settings.max_form_bytes)
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        timeout_s = wanted_timeout_s(params, context.settings.query_timeout_s)
        body, encoding = await threads.run(answered, handler, params, zipped, request=request, timeout_s=timeout_s)
    except Exception as error:
        return error_json(error)
    response = Response(body, media_type="application/json")
    if encoding:
        response.headers["Content-Encoding"] = encoding
        response.headers["Vary"] = "Accept-Encoding"
    return response


def answered(handler: Handler, params: Params, zipped: bool) -> tuple[bytes, str]:
    """The body and its encoding. In a query thread, as compressing is work too."""
    body = handler(params)
    if len(body) > _MOST_BYTES:
        raise LimitExceeded(f"the answer has {len(body):,} bytes; ask for fewer series or a larger step")
    if not zipped or len(body) < _WORTH_ZIPPING:
        return body, ""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush(), "gzip"


def wanted_timeout_s(params: Params, most_s: float) -> float:
    """The time that a request gives itself, at most ours."""
    asked = first(params, "timeout")
    return min(most_s, parse_span_ms(asked, "timeout") / 1000) if asked else most_s


def enveloped(body: bytes, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> bytes:
    """A success around `body`, the JSON of its ``data``."""
    parts = [b'{"status":"success","data":', body]
    if warnings:
        parts += [b',"warnings":', dump(list(warnings))]
    if infos:
        parts += [b',"infos":', dump(list(infos))]
    return b"".join((*parts, b"}"))


def success(value: Any) -> bytes:
    """A success with this value."""
    return enveloped(dump(value))


def listed(values: Sequence[Any], limit: int) -> bytes:
    """A success with these values, at most `limit` of them; 0 is no limit."""
    if limit and len(values) > limit:
        return enveloped(dump(values[:limit]), (CUT,))
    return success(values)
