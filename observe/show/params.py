"""Parameters of the HTTP APIs: query string and form body merged, times and durations as Prometheus reads them."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from observe.duration import parse_duration_ms
from observe.errors import LimitExceeded, QueryError

Params = Mapping[str, list[str]]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_SECOND_FRACTION = re.compile(r"(\.\d{1,6})\d*")
MIN_TIME_MS: Final = -(2**62)
MAX_TIME_MS: Final = 2**62


async def read_params(request: Request, most_bytes: int) -> dict[str, list[str]]:
    """Every parameter with all its values; a POST form's come first, as in Go."""
    merged: dict[str, list[str]] = {}
    if request.method == "POST":
        form = await read_body(request, most_bytes)
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            _merge(merged, form.decode("utf-8", "replace"))
    _merge(merged, request.scope["query_string"].decode("latin-1"))
    return merged


def _merge(into: dict[str, list[str]], text: str) -> None:
    for name, value in parse_qsl(text, keep_blank_values=True):
        into.setdefault(name, []).append(value)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body, or `LimitExceeded` before it is all in memory."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise LimitExceeded(f"the body has more than {most_bytes} bytes", limit="show.max_form_bytes")
        parts.append(part)
    return b"".join(parts)


def first(params: Params, name: str, default: str = "") -> str:
    values = params.get(name)
    return values[0] if values else default


def bad(name: str, text: str, want: str) -> QueryError:
    return QueryError(f"invalid parameter {name!r}: cannot parse {text!r}; {want}")


def parse_time_ms(text: str, name: str = "time") -> int:
    """Milliseconds of a Unix time in seconds (a decimal number) or an RFC 3339 date.

    >>> parse_time_ms("1700000000.5")
    1700000000500
    >>> parse_time_ms("2023-11-14T22:13:20Z")
    1700000000000
    """
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if math.isfinite(seconds) and abs(seconds) < MAX_TIME_MS / 1000:
            return round(seconds * 1000)
    try:
        moment = datetime.fromisoformat(_SECOND_FRACTION.sub(r"\1", text.replace(" ", "+")))
    except ValueError:
        moment = None
    if moment is None or "T" not in text.upper() or moment.tzinfo is None:
        raise bad(name, text, "give Unix seconds such as 1700000000.5 or RFC 3339 such as 2023-11-14T22:13:20Z")
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def time_or(params: Params, name: str, default_ms: int) -> int:
    text = first(params, name)
    return parse_time_ms(text, name) if text else default_ms


def parse_span_ms(text: str, name: str) -> int:
    """Milliseconds of a duration: seconds as a number, or ``5m``."""
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if math.isfinite(seconds) and abs(seconds) < MAX_TIME_MS / 1000:
            return round(seconds * 1000)
    try:
        return parse_duration_ms(text)
    except ValueError:
        raise bad(name, text, "give seconds such as 15 or a duration such as 5m") from None


def count(params: Params, name: str, default: int = 0) -> int:
    """A number that is not negative; 0 means no limit where Prometheus says so."""
    text = first(params, name)
    found = _integer(text) if text else default
    if found is None or found < 0:
        raise bad(name, text, "give a whole number that is not negative")
    return found


def whole(params: Params, name: str, default: int) -> int:
    """A whole number, also a negative one: what Prometheus takes for no limit where 0 is one."""
    text = first(params, name)
    found = _integer(text) if text else default
    if found is None:
        raise bad(name, text, "give a whole number")
    return found


def _integer(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) else None
