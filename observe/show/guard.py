"""What every answer carries and every request must pass: a strict CSP, one origin, known hosts, counted traffic."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observe.clock import Clock
from observe.show.problems import Refused, error_json
from observe.telemetry import Telemetry

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Guard:
    """ASGI middleware. `hosts` are the names we answer to; empty means any (then auth stands in front)."""

    def __init__(
        self, app: ASGIApp, external_url: str, telemetry: Telemetry, clock: Clock, paths: Mapping[Any, str], *,
        loopback: bool,
    ) -> None:
        self._app = app
        self._paths = paths
        outside = urlsplit(external_url)
        self._origins = {f"{outside.scheme}://{outside.netloc}"}
        self._hosts = frozenset(_LOOPBACK | {outside.hostname or "localhost"}) if loopback else frozenset()
        self._clock = clock
        self._requests = telemetry.counter(
            "observe_http_requests_total", "Requests answered, by route.", ("handler", "method", "code"),
        )
        self._seconds = telemetry.histogram(
            "observe_http_request_duration_seconds", "Time from request to the last byte of its answer.", ("handler",),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = self._clock.monotonic(), 500

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        try:
            if refusal is not None:
                await error_json(refusal)(scope, receive, guarded)
            else:
                await self._app(scope, receive, guarded)
        finally:
            # The route's pattern, never the path: a label must not grow with what people type.
            handler = self._paths.get(scope.get("endpoint"), "none")
            self._requests.labels(handler, _method(scope["method"]), status).inc()
            self._seconds.labels(handler).observe(self._clock.monotonic() - started)

    def _refusal(self, scope: Scope) -> Refused | None:
        """A site elsewhere may neither post to us (CSRF) nor read us under a name of its own (DNS rebinding)."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts and _name_of(host) not in self._hosts:
            return Refused(
                f"this server does not answer to the host {host!r}; use localhost, or set `external_url` to the "
                "address that people use",
            )
        if scope["method"] in _SAFE:
            return None
        site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        same = origin in self._origins or (origin and urlsplit(origin).netloc == host)
        if (site and site not in {"same-origin", "none"} and not same) or (origin and not same):
            return Refused(f"a page of {origin or 'another site'} may not change anything here (cross-site request)")
        return None


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _method(method: str) -> str:
    return method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} else "other"
