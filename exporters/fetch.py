"""One HTTP GET of an exporter: bounded in time and size, no redirects (a token would travel along), clear errors."""

import base64
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import unquote

from observe.errors import Unavailable

MAX_BYTES: Final = 32 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def basic(user: str, password: str) -> dict[str, str]:
    """The Authorization header of a user with a password; nothing without a user."""
    if not user:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def without_secrets(url: str) -> str:
    """`url` as it may be shown: without user and password, and without its query.

    >>> without_secrets("http://user:pass@host:80/x?token=y")
    'http://host:80/x'
    """
    scheme, slashes, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + slashes + host.rpartition("@")[2] + (slash + path).partition("?")[0]


def _split_user(url: str) -> tuple[str, dict[str, str]]:
    """`url` without its user and password, and the header that carries them."""
    scheme, slashes, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    user, at, place = host.rpartition("@")
    if not at:
        return url, {}
    name, _, password = user.partition(":")
    return scheme + slashes + place + slash + path, basic(unquote(name), unquote(password))


def check_url(text: str) -> str:
    """`text` if it is an http or https URL. Raises ValueError."""
    if not text.startswith(("http://", "https://")) or not text.partition("://")[2].partition("/")[0]:
        raise ValueError(f"{text!r} is not an http:// or https:// URL")
    return text


def get(
    url: str, timeout_s: float, headers: dict[str, str] | None = None, ca_file: str = "", max_bytes: int = MAX_BYTES,
) -> bytes:
    """The body of a 200. Raises Unavailable that names the URL and what to do."""
    shown = without_secrets(url)
    url, given = _split_user(url)
    headers = {**given, **(headers or {})}
    context = ssl.create_default_context(cafile=ca_file or None) if url.startswith("https://") else None
    handlers: list[Any] = [urllib.request.ProxyHandler({}), _NoRedirect()]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, headers={"User-Agent": "observe-exporter", **headers})  # noqa: S310
    until = time.monotonic() + timeout_s
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as answer:
            body = _body(answer, max_bytes + 1, until)
            expected = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        error.close()
        hint = "; check user and password" if error.code in {401, 403} else ""
        raise Unavailable(f"{shown} answered {error.code} {error.reason}{hint}", reason=f"http_{error.code}") from error
    except TimeoutError as error:
        raise Unavailable(f"{shown} gave no answer within {timeout_s:g} s", reason="timeout") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError | socket.timeout):
            raise Unavailable(f"{shown} gave no answer within {timeout_s:g} s", reason="timeout") from error
        raise Unavailable(f"{shown} cannot be reached: {error.reason}", reason="unreachable") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{shown} broke off its answer: {type(error).__name__} {error}", reason="broken") from error
    if len(body) > max_bytes:
        raise Unavailable(f"{shown} answered more than {max_bytes >> 20} MiB", reason="too_large")
    if expected is not None and expected.isdigit() and len(body) < int(expected):
        raise Unavailable(f"{shown} broke off its answer after {len(body)} of {expected} bytes", reason="broken")
    return body


def _body(answer: Any, most: int, until: float) -> bytes:
    """At most `most` bytes, as they come. Raises TimeoutError at `until` too: a server that drips is not waited for."""
    parts, size = [], 0
    while size < most:
        part = answer.read1(min(1 << 16, most - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
        if time.monotonic() > until:
            raise TimeoutError
    return b"".join(parts)
