"""What every page shares: what a request asks for, the frame it is rendered in, errors as pages."""

import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from observe.errors import InvalidInput
from observe.show.auth import asker
from observe.show.console.once import BookOfOnePage, one_page
from observe.show.console.parts import counted
from observe.show.console.templating import environment
from observe.show.console.time_range import RANGES, Range, read_range
from observe.show.context import ShowContext
from observe.show.params import read_params
from observe.show.problems import explain, status_of
from observe.show.workers import QueryThreads

_log = logging.getLogger("observe.show")

_WORTH_ZIPPING: Final = 2048
NAVIGATION: Final = (
    ("Home", "/", "home"), ("Alerts", "/alerts", "bell"), ("Logs", "/logs", "lines"), ("Traces", "/traces", "bars"),
    ("Explore", "/explore", "chart"), ("Boards", "/boards", "grid"), ("Rules", "/rules", "ruler"),
    ("Targets", "/targets", "aim"),
)

_HEADINGS: Final = {401: "Who are you?", 403: "Not allowed", 404: "Not found", 503: "Not now"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for a page."""

    path: str
    params: Mapping[str, list[str]]
    names: Mapping[str, str]
    """Parts of the path."""
    range: Range
    now_ms: int
    theme: str
    who: str
    fragment: bool
    takes_gzip: bool = False

    def get(self, name: str, default: str = "") -> str:
        values = self.params.get(name)
        return values[0] if values else default

    def number(self, name: str, default: int, most: int) -> int:
        text = self.get(name)
        return min(int(text), most) if text.isascii() and text.isdecimal() and len(text) < 10 else default

    def link(self, path: str = "", **changes: str | None) -> str:
        """A link to this page (or `path`) with the range kept, and `changes` laid over the parameters; None removes."""
        kept = {name: values[0] for name, values in self.params.items() if values and values[0]} if not path else {}
        kept = {name: value for name, value in kept.items() if name not in {"start", "end", "range", "said"}}
        merged = {**kept, **self.range.query, **changes}
        query = urlencode({name: value for name, value in merged.items() if value})
        return f"{path or self.path}?{query}" if query else path or self.path


@dataclass(frozen=True, slots=True)
class Page:
    """A template and what it needs."""

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    live: bool = False
    """Whether the page has news: then it asks for them while its live switch is on."""


class Desk:
    """Builds routes out of page functions: reads the request, runs the function in a query thread, renders."""

    def __init__(self, context: ShowContext, threads: QueryThreads) -> None:
        self.context = replace(context, alerts=BookOfOnePage(context.alerts)) if context.alerts else context
        self._threads = threads
        self._templates = environment()

    def page(self, path: str, build: Callable[[Ask], Page | Response], methods: tuple[str, ...] = ("GET",)) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                ask = await self.ask(request)
            except Exception as error:
                return self._error(None, error)
            try:
                return await self._threads.run(
                    self._built, build, ask, request=request, timeout_s=self.context.settings.query_timeout_s,
                )
            except Exception as error:
                return self._error(ask, error)

        return Route(path, endpoint, methods=list(methods), name=path, include_in_schema=False)

    def _built(self, build: Callable[[Ask], Page | Response], ask: Ask) -> Response:
        made = one_page(lambda: counted(self.context.telemetry, lambda: build(ask)))
        return made if isinstance(made, Response) else zipped(self.rendered(ask, made), ask.takes_gzip)

    def rendered(self, ask: Ask, page: Page) -> Response:
        values = {
            "ask": ask, "page": page, "navigation": NAVIGATION, "ranges": RANGES, "build": self.context.build,
            "live_every_s": self.context.settings.live_every_s if page.live and ask.get("live") != "off" else 0,
            "now_ms": ask.now_ms, **page.values,
        }
        body = self._templates.get_template(page.template).render(values)
        return HTMLResponse(body, page.status, {"Cache-Control": "no-store"})

    async def ask(self, request: Request, params: Mapping[str, list[str]] | None = None) -> Ask:
        """What a request says; `params` where its body was read before."""
        if params is None:
            params = await read_params(request, self.context.settings.max_form_bytes)
        now_ms = self.context.clock.now_ms()
        theme = request.cookies.get("theme", "")
        return Ask(
            path=request.url.path, params=params, names={k: str(v) for k, v in request.path_params.items()},
            range=read_range(params, now_ms), now_ms=now_ms, theme=theme if theme in {"dark", "light"} else "",
            who=asker(request), fragment=request.headers.get("x-fragment") == "1",
            takes_gzip="gzip" in request.headers.get("accept-encoding", ""),
        )

    async def error_page(self, request: Request, error: Exception) -> Response:
        """The page that says what is wrong, for errors that come from outside a page."""
        return self._error(await self.ask(request, {}), error)

    def _error(self, ask: Ask | None, error: Exception) -> Response:
        status = status_of(error)
        if status == 500:
            _log.error("a page failed", exc_info=error)
        now_ms = self.context.clock.now_ms()
        problem = error.problems[0] if isinstance(error, InvalidInput) and error.problems else None
        shown = ask or Ask("/", {}, {}, Range(now_ms - 3_600_000, now_ms, "1h"), now_ms, "", "", fragment=False)
        message = explain(error)
        heading = _HEADINGS.get(status, "Something is wrong" if status >= 500 else "That cannot be read")
        page = Page("error.html", heading, {
            "status": status, "problem": problem,
            "message": f"{message[:1].upper()}{message[1:]}{'' if message.endswith(('.', '!', '?')) else '.'}",
        }, status)
        return self.rendered(shown, page)


def zipped(response: Response, takes_gzip: bool) -> Response:
    """Pages are long and repeat themselves: over a phone's network they arrive ten times sooner."""
    if not takes_gzip or len(response.body) < _WORTH_ZIPPING:
        return response
    packer = zlib.compressobj(5, zlib.DEFLATED, 31)
    response.body = packer.compress(bytes(response.body)) + packer.flush()
    response.headers["Content-Length"] = str(len(response.body))
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    return response


def back_to(path: str) -> Response:
    return RedirectResponse(path, 303)
