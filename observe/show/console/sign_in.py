"""Signing in with a token, for people: a session cookie that no script can read."""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from observe.show.auth import COOKIE, Gatekeeper
from observe.show.console.page import Desk, Page
from observe.show.params import first, read_params
from observe.show.problems import explain

_MOST_BYTES = 20_000


def routes(desk: Desk, keeper: Gatekeeper) -> list[BaseRoute]:
    async def login(request: Request) -> Response:
        problem = ""
        try:
            params = await read_params(request, _MOST_BYTES)
            target = safe_target(first(params, "next", "/"))
            if request.method == "POST":
                principal = keeper.of_person(first(params, "token").strip())
                response = RedirectResponse(target, 303)
                response.set_cookie(
                    COOKIE, keeper.open_session(principal), max_age=12 * 3600, httponly=True, samesite="lax",
                    secure=keeper.secure_cookies, path="/",
                )
                return response
        except Exception as error:
            problem, target = explain(error), "/"
        ask = await desk.ask(request, {})
        return desk.rendered(ask, Page("login.html", "Sign in", {"problem": problem, "target": target},
                                       401 if problem else 200))

    async def logout(request: Request) -> Response:
        keeper.end_session(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, path="/")
        return response

    return [
        Route("/login", login, methods=["GET", "POST"], include_in_schema=False),
        Route("/logout", logout, methods=["POST"], include_in_schema=False),
    ]


def safe_target(text: str) -> str:
    """Where to go after signing in: a path of ours, never another site."""
    parts = urlsplit(text)
    if parts.scheme or parts.netloc or not text.startswith("/") or text.startswith(("//", "/\\")):
        return "/"
    return text
