"""The one search field: a trace id opens the trace, a service its page, an expression Explore, else the logs."""

import re

from starlette.responses import Response
from starlette.routing import BaseRoute

from observe.model import valid_trace_id
from observe.show.console.page import Ask, Desk, back_to
from observe.show.console.parts import attempt_list

_LOOKS_LIKE_PROMQL = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*\s*[({\[]|^\{")


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context

    def lookup(ask: Ask) -> Response:
        text = ask.get("q").strip()
        if not text:
            return back_to(ask.link("/"))
        trace_id = valid_trace_id(text.removeprefix("trace_id:").removeprefix("trace_id=").strip('"'))
        if trace_id is not None:
            return back_to(f"/traces/{trace_id}")
        over = ask.range
        services = attempt_list(
            lambda: context.signals.services(over.start_ms * 1_000_000, over.end_ms * 1_000_000)
            if context.signals else [])
        jobs = {target.job for target in attempt_list(context.targets).value}
        known = {name.lower(): name for name in [*services.value, *jobs]}
        if text.lower() in known:
            return back_to(ask.link(f"/services/{_quoted(known[text.lower()])}", q=None))
        if _LOOKS_LIKE_PROMQL.search(text) or context.signals is None:
            return back_to(ask.link("/explore", query=text, q=None))
        return back_to(ask.link("/logs", q=text))

    return [desk.page("/search", lookup)]


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
