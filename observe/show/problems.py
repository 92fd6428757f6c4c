"""Errors as answers: one JSON shape everywhere, Prometheus' own, with its status codes."""

import json
import logging
import math
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from observe.errors import (
    InvalidInput,
    LimitExceeded,
    MalformedData,
    ObserveError,
    QueryError,
    StorageError,
    Unavailable,
)
from observe.show.workers import ClientGone

_STATUS: Final = {
    "bad_data": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "execution": 422,
    "canceled": 499,
    "internal": 500,
    "timeout": 503,
    "unavailable": 503,
}

_log = logging.getLogger("observe.show")


class NotFound(ObserveError):
    """The thing asked for by name or id does not exist (any more)."""


class Refused(ObserveError):
    """Not allowed: `kind` is ``unauthorized`` (who are you?) or ``forbidden`` (not you)."""

    def __init__(self, message: str, kind: str = "forbidden") -> None:
        super().__init__(message)
        self.kind = kind


def kind_of(error: Exception) -> str:
    """Prometheus' errorType of an exception; ``internal`` for whatever nobody expected."""
    match error:
        case QueryError() | Refused():
            return error.kind
        case NotFound():
            return "not_found"
        case InvalidInput() | MalformedData():
            return "bad_data"
        case LimitExceeded():
            return "execution"
        case Unavailable():
            return "unavailable"
        case ClientGone():
            return "canceled"
        case TimeoutError():
            return "timeout"
        case _:
            return "internal"


def explain(error: Exception) -> str:
    """The sentence for people. A bug shows its type only; its text may hold what is not theirs to read."""
    if isinstance(error, ClientGone):
        return "the client went away"
    if isinstance(error, ObserveError):
        return str(error)
    return f"unexpected {type(error).__name__}: this is a fault of observe; its log has the details"


def status_of(error: Exception) -> int:
    return 500 if isinstance(error, StorageError) else _STATUS.get(kind_of(error), 500)


def error_json(error: Exception) -> Response:
    """The answer that says what went wrong."""
    kind = kind_of(error)
    if kind == "internal":
        _log.error("a request failed", exc_info=error)
    body: dict[str, Any] = {"status": "error", "errorType": kind, "error": explain(error)}
    if isinstance(error, InvalidInput) and error.problems and error.problems[0].column is not None:
        body["position"] = error.problems[0].column
    response = json_response(body, status_of(error))
    if kind == "unauthorized":
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def answer_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    return error_json(error)


def json_response(body: Any, status: int = 200) -> Response:
    return Response(dump(body), status, media_type="application/json")


def dump(body: Any) -> bytes:
    """Compact JSON; NaN and infinity have no JSON and are null."""
    try:
        return orjson.dumps(body)
    except TypeError:  # halves of characters, integers beyond 64 bits, 255 levels: rare, and the slow way can
        pass
    return json.dumps(_finite(body), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _finite(body: Any) -> Any:
    """`body` with null for numbers that JSON has not."""
    match body:
        case dict():
            return {name: _finite(value) for name, value in body.items()}
        case list() | tuple():
            return [_finite(value) for value in body]
        case float():
            return body if math.isfinite(body) else None
    return body
