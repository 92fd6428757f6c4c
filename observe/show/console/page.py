"""What every page shares: its frame, its time range from the URL, parts that may fail alone, errors as pages."""

import functools
import logging
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from observe.duration import format_duration, parse_duration_ms
from observe.errors import InvalidInput, ObserveError, QueryError
from observe.moment import rfc3339
from observe.show import words
from observe.show.auth import asker
from observe.show.console.once import BookOfOnePage, one_page
from observe.show.context import ShowContext
from observe.show.params import parse_time_ms, read_params
from observe.show.problems import explain, status_of
from observe.show.workers import QueryThreads

R = TypeVar("R")
_log = logging.getLogger("observe.show")

RANGES: Final = ("15m", "1h", "3h", "6h", "24h", "7d")
_WORTH_ZIPPING: Final = 2048
_DAY_MS: Final = 86_400_000
_LONGEST_MS: Final = 400 * _DAY_MS
_TIME_OF_DAY: Final = re.compile(r"\b([01]\d|2[0-3]):([0-5]\d):([0-5]\d) UTC\b")
NAVIGATION: Final = (
    ("Home", "/", "home"), ("Alerts", "/alerts", "bell"), ("Logs", "/logs", "lines"), ("Traces", "/traces", "bars"),
    ("Explore", "/explore", "chart"), ("Boards", "/boards", "grid"), ("Rules", "/rules", "ruler"),
    ("Targets", "/targets", "aim"),
)

_HEADINGS: Final = {401: "Who are you?", 403: "Not allowed", 404: "Not found", 503: "Not now"}


@dataclass(frozen=True, slots=True)
class Range:
    """The time range of a page: the last so long, or from a time to a time."""

    start_ms: int
    end_ms: int
    relative: str = ""
    """``1h``: up to now; empty: fixed."""

    @property
    def query(self) -> dict[str, str]:
        """What a link must carry to show the same range."""
        if self.relative:
            return {"range": self.relative}
        return {"start": f"{self.start_ms / 1000:.3f}", "end": f"{self.end_ms / 1000:.3f}"}

    def step_ms(self, points: int = 240, least_ms: int = 1000) -> int:
        """A round step that gives at most about `points` points."""
        rough = max(least_ms, (self.end_ms - self.start_ms) // points)
        for step_s in (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14400, 28800, 86400):
            if step_s * 1000 >= rough:
                return step_s * 1000
        return -(-rough // 86_400_000) * 86_400_000

    def aligned(self, step_ms: int) -> tuple[int, int]:
        """Start and end on multiples of the step, so that a reload draws the same points."""
        return -(-self.start_ms // step_ms) * step_ms, self.end_ms // step_ms * step_ms


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


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """A part of a page: its value, or what went wrong with it alone."""

    value: R
    problem: str = ""


def attempt(read: Callable[[], R], otherwise: R) -> Part[R]:
    """Read one part; a source that is down costs this part, never the page."""
    try:
        return Part(read())
    except ObserveError as error:
        return Part(otherwise, explain(error))
    except Exception as error:
        _log.exception("a part of a page failed")
        return Part(otherwise, explain(error))


def attempt_list(read: Callable[[], list[R]]) -> Part[list[R]]:
    """As `attempt`, with nothing where it fails."""
    empty: list[R] = []
    return attempt(read, empty)


class Desk:
    """Builds routes out of page functions: reads the request, runs the function in a query thread, renders."""

    def __init__(self, context: ShowContext, threads: QueryThreads) -> None:
        self.context = replace(context, alerts=BookOfOnePage(context.alerts)) if context.alerts else context
        self._threads = threads
        self._templates = _environment()

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
        made = one_page(lambda: build(ask))
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

    @functools.cached_property
    def external(self) -> str:
        return self.context.settings.external_url.rstrip("/")


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


def read_range(params: Mapping[str, list[str]], now_ms: int) -> Range:
    """The range of a URL: ``range=1h``, or ``start`` and ``end``; an hour if it says nothing."""
    start, end = params.get("start", [""])[0], params.get("end", [""])[0]
    if start:
        end_ms = parse_time_ms(_zoned(end), "end") if end else now_ms
        start_ms = parse_time_ms(_zoned(start), "start")
        if not start_ms < end_ms:
            raise QueryError("the start of the time range lies after its end")
        return Range(max(start_ms, end_ms - _LONGEST_MS), end_ms)
    text = params.get("range", [""])[0] or "1h"
    try:
        length_ms = parse_duration_ms(text)
    except ValueError as error:
        raise QueryError(f"the range {text[:40]!r} is not a duration; write it as 15m, 1h or 2d") from error
    length_ms = min(max(length_ms, 10_000), _LONGEST_MS)
    return Range(now_ms - length_ms, now_ms, format_duration(length_ms) if text not in RANGES else text)


def _zoned(text: str) -> str:
    """What a date field gives has no zone: without a script that adds it, it means UTC."""
    return f"{text}Z" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", text) else text


def back_to(path: str) -> Response:
    return RedirectResponse(path, 303)


# ---------------------------------------------------------------- templates


@functools.cache
def _environment() -> jinja2.Environment:
    """The templates, compiled once a process."""
    folder = Path(__file__).parent.parent / "templates"
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )
    made.filters.update(
        quantity=words.quantity, duration=words.duration, took=words.took, utc=words.utc, iso=rfc3339,
        ticked=ticked, in_path=_in_path, breakable=breakable,
    )
    made.globals.update(
        plural=words.plural, count=words.count, digits=words.digits, span_of=words.span_of, subject=words.subject,
        telling=words.telling, when=when, series_title=words.series_title, severity_of=severity_of, urlencode=urlencode,
    )
    return made


def when(time_ms: float | None, form: str = "hm") -> Markup:
    """A time in UTC that the browser rewrites in its own zone; UTC stays in the hover."""
    if time_ms is None:
        return Markup("never")
    whole = int(time_ms)
    return Markup('<time datetime="{}" data-t="{}" data-form="{}" title="{}">{}</time>').format(
        rfc3339(whole), whole, form, words.utc(whole), words.clock(whole, form),
    )


def ticked(text: str, near_ms: int | None = None) -> Markup:
    """A sentence whose names stand in backticks, as errors and rules write them: the names in their own type.

    With `near_ms` its times of day (``04:00:00 UTC``) are read as the moments nearest to that one, and are written in
    the reader's zone as every other time of the page is.

    >>> ticked("add one under `notify:` <b>")
    Markup('add one under <code>notify:</code> &lt;b&gt;')
    """
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return _timed(str(text), near_ms)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else _timed(part, near_ms)
        for place, part in enumerate(parts)
    )


def _timed(text: str, near_ms: int | None) -> Markup:
    if near_ms is None:
        return escape(text)
    made, last = Markup(""), 0
    for found in _TIME_OF_DAY.finditer(text):
        of_day = (int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])) * 1000
        moment = near_ms - near_ms % _DAY_MS + of_day
        moment += _DAY_MS * round((near_ms - moment) / _DAY_MS)
        made += escape(text[last : found.start()]) + when(moment, "hms")
        last = found.end()
    return made + escape(text[last:])


def breakable(text: str) -> Markup:
    """A name of dots and underscores that may be broken after them, and not in the middle of a word.

    >>> breakable("http.status_code")
    Markup('http.<wbr>status_<wbr>code')
    """
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[._/:])(?=.)", str(text)))


def _in_path(text: str) -> str:
    """Text as one step of a path."""
    return quote(text, safe="")


def severity_of(labels: Mapping[str, str]) -> str:
    """critical, warning or info: the three that colours exist for."""
    said = labels.get("severity", "").lower()
    return {"critical": "critical", "page": "critical", "error": "critical", "warning": "warning"}.get(said, "info")
