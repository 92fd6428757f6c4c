"""Who may do what: bearer tokens and JWTs, four roles, sessions for browsers.

On loopback there is no auth by default; `observe.app` refuses any other address unless `AuthSettings.configured`.

=========  =====================================================================
role       may
=========  =====================================================================
viewer     read: pages, queries, logs, traces
operator   and set silences, acknowledge
admin      and reload the configuration
ingest     write signals (OTLP, remote write, alerts) and nothing else
=========  =====================================================================
"""

import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from observe.clock import Clock
from observe.errors import ConfigError, Problem
from observe.show.problems import Refused, error_json
from observe.telemetry import Telemetry

Role = Literal["viewer", "operator", "admin", "ingest"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
_RANK: Final = {"viewer": 1, "operator": 2, "admin": 3}

COOKIE: Final = "observe_session"
_SESSION_MS: Final = 12 * 3_600_000
_MOST_SESSIONS: Final = 1000
_OPEN: Final = ("/-/healthy", "/-/ready", "/login", "/static/")
_INGEST: Final = ("/v1/", "/api/v1/write", "/opentelemetry.")
_READING_POSTS: Final = (
    "/api/v1/query", "/api/v1/query_range", "/api/v1/labels", "/api/v1/series", "/api/v1/query_exemplars",
    "/api/v1/format_query",
)


@dataclass(frozen=True, slots=True)
class Token:
    """A static bearer token, kept as its SHA-256 so that a dump of memory or a log of settings does not show it."""

    name: str
    role: Role
    digest: bytes

    @classmethod
    def of(cls, name: str, role: Role, secret: str) -> "Token":
        return cls(name, role, hashlib.sha256(secret.encode()).digest())


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """How JWTs are verified. `key` is the shared secret (HS256) or the public key in PEM (RS256, ES256)."""

    key: str
    algorithms: tuple[str, ...] = ("RS256",)
    issuer: str | None = None
    audience: str | None = None
    role_claim: str = "role"
    """A claim that holds a role's name, or a list of them; dots go into objects: ``realm_access.roles``."""
    leeway_s: int = 30


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Empty: no auth."""

    tokens: tuple[Token, ...] = ()
    jwt: JwtSettings | None = None
    secure_cookies: bool = False
    """True where people reach us by https."""

    @property
    def configured(self) -> bool:
        return bool(self.tokens or self.jwt)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    name: str
    role: Role

    def may(self, need: Role) -> bool:
        if need == "ingest":
            return self.role in {"ingest", "admin"}
        return _RANK.get(self.role, 0) >= _RANK[need]


def load_tokens(path: Path) -> tuple[Token, ...]:
    """Tokens of a file: one a line, ``role name secret``; ``#`` starts a comment, ``$NAME`` is from the environment.

    Every problem in the file is reported at once, and no secret is repeated.
    """
    tokens, problems = [], []
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigError(Problem(f"cannot read the token file: {error.strerror}", where=str(path),
                                  fix="create it with lines such as `viewer grafana $GRAFANA_TOKEN`")) from error
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        fault = _token_fault(words)
        if fault:
            problems.append(Problem(fault, where=str(path), line=number, fix="write `role name secret`"))
            continue
        secret = os.environ.get(words[2][1:], "") if words[2].startswith("$") else words[2]
        if len(secret) < 16:
            problems.append(Problem(
                f"the token of {words[1]} has {len(secret)} characters", where=str(path), line=number,
                why="short tokens can be guessed", fix="use at least 16, such as the output of `openssl rand -hex 24`",
            ))
            continue
        tokens.append(Token.of(words[1], words[0], secret))  # type: ignore[arg-type]  # checked above
    if problems:
        raise ConfigError(problems)
    return tuple(tokens)


def _token_fault(words: Sequence[str]) -> str:
    if len(words) != 3:
        return f"{len(words)} words where 3 are wanted"
    if words[0] not in ROLES:
        return f"{words[0]!r} is none of the roles {', '.join(ROLES)}"
    return ""


class Gatekeeper:
    """Turns credentials into a `Principal`."""

    def __init__(self, settings: AuthSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._sessions: OrderedDict[str, tuple[Principal, int]] = OrderedDict()

    def of_bearer(self, secret: str) -> Principal:
        """Raises `Refused` with what is wrong, never with the secret."""
        digest = hashlib.sha256(secret.encode("utf-8", "replace")).digest()
        found = None
        for token in self._settings.tokens:  # all of them, so that time tells nothing
            if hmac.compare_digest(token.digest, digest):
                found = token
        if found is not None:
            return Principal(found.name, found.role)
        if self._settings.jwt is not None and secret.count(".") == 2:
            return self._of_jwt(secret, self._settings.jwt)
        raise Refused("this token is not known; ask whoever runs observe for one", "unauthorized")

    def of_person(self, secret: str) -> Principal:
        """As `of_bearer`, for someone who wants to look: a token that may only send is refused."""
        principal = self.of_bearer(secret)
        if not principal.may("viewer"):
            raise Refused("this token may only send data; ask for one with the role viewer")
        return principal

    @staticmethod
    def _of_jwt(text: str, settings: JwtSettings) -> Principal:
        import jwt

        try:
            claims = jwt.decode(
                text, settings.key, algorithms=list(settings.algorithms), issuer=settings.issuer,
                audience=settings.audience, leeway=settings.leeway_s,
                options={"require": ["exp"], "verify_aud": settings.audience is not None},
            )
        except jwt.PyJWTError as error:
            raise Refused(f"the JWT is not valid: {error}", "unauthorized") from error
        role = _role_of(claims, settings.role_claim)
        if role is None:
            raise Refused(f"the JWT's claim `{settings.role_claim}` names none of the roles {', '.join(ROLES)}")
        return Principal(str(claims.get("sub", "unnamed")), role)

    def open_session(self, principal: Principal) -> str:
        while len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        name = secrets.token_urlsafe(32)
        self._sessions[name] = principal, self._clock.now_ms() + _SESSION_MS
        return name

    def of_session(self, name: str) -> Principal | None:
        principal, until_ms = self._sessions.get(name, (None, 0))
        if principal is not None and until_ms <= self._clock.now_ms():
            self._sessions.pop(name, None)
            return None
        return principal

    def end_session(self, name: str) -> None:
        self._sessions.pop(name, None)

    @property
    def secure_cookies(self) -> bool:
        return self._settings.secure_cookies


def _role_of(claims: Any, path: str) -> Role | None:
    value = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    named = value if isinstance(value, list) else [value]
    known = [role for role in ROLES if role in named]
    return max(known, key=lambda role: _RANK.get(role, 0), default=None)


def needed_role(method: str, path: str) -> Role | None:
    """What a request needs; None where everyone may."""
    if path in _OPEN or path.startswith("/static/"):
        return None
    if path == "/-/reload":
        return "admin"
    if path.startswith(_INGEST) or (path == "/api/v2/alerts" and method == "POST"):
        return "ingest"
    if method in {"GET", "HEAD", "OPTIONS"} or path in _READING_POSTS or path == "/logout":
        return "viewer"
    return "operator"


class AuthGate:
    """ASGI middleware: refuses what the asker may not do, and says who asks in ``scope["state"]["principal"]``."""

    def __init__(self, app: ASGIApp, keeper: Gatekeeper, telemetry: Telemetry) -> None:
        self._app = app
        self._keeper = keeper
        self._refusals = telemetry.counter(
            "observe_http_refused_total", "Requests refused by authentication or authorisation.", ("reason",),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        need = needed_role(scope["method"], scope["path"])
        if need is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            principal = self._principal(request, need)
        except Refused as error:
            self._refusals.labels(error.kind).inc()
            await _refusal(request, error)(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    def _principal(self, request: Request, need: Role) -> Principal:
        principal = self._named(request)
        if not principal.may(need):
            raise Refused(f"{principal.name} is {principal.role}; this needs {need}")
        return principal

    def _named(self, request: Request) -> Principal:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secret:
            return self._keeper.of_bearer(secret.strip())
        if scheme:
            raise Refused("only `Authorization: Bearer TOKEN` is understood", "unauthorized")
        principal = self._keeper.of_session(request.cookies.get(COOKIE, ""))
        if principal is None:
            raise Refused("send `Authorization: Bearer TOKEN`, or log in at /login", "unauthorized")
        return principal


def _refusal(request: Request, error: Refused) -> Response:
    if error.kind == "unauthorized" and "text/html" in request.headers.get("accept", ""):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)
    return error_json(error)


def asker(request: Request) -> str:
    """The name of whoever asks, for "created by"; ``console`` where there is no auth."""
    principal = request.scope.get("state", {}).get("principal")
    return principal.name if isinstance(principal, Principal) else "console"


