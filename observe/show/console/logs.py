"""Log search: what is asked, how much there is over time, the lines, the patterns among them, and the live tail."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape
from starlette.routing import BaseRoute

from observe.errors import InvalidInput, Problem
from observe.model import LogRecord
from observe.protocols import LogHistogram, LogPage, LogQuery
from observe.show.bars import stacked_bars
from observe.show.console.page import Ask, Desk, Page
from observe.show.console.parts import attempt, attempt_list
from observe.show.problems import explain
from observe.show.signals_api import trace_of
from observe.trace.patterns import template_of
from observe.trace.wire import finite

_BUCKETS: Final = 60
_PAGE: Final = 100
_TAIL: Final = 200
_SHAPE_CHARS: Final = 200
LEVELS: Final[tuple[str, ...]] = ("fatal", "error", "warn", "info", "debug", "trace", "")
"""The worst first; drawn from the bottom up, so that errors stand on the axis."""

SYNTAX: Final = (
    ("timeout", "lines with this word"),
    ("queue full", "both words"),
    ('"queue is full"', "the words in this order"),
    ("time*", "words that begin so"),
    ("timeout OR refused", "either"),
    ("-health", "without it"),
    ("status:500", "a field with a value"),
    ("latency:>2s", "a number beyond a bound"),
    ("level:(warn OR error)", "one of several values"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Lines of one form among those shown."""

    template: str
    level: str
    count: int
    text: str


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context
    store = context.signals
    if store is None:
        return []

    def logs(ask: Ask) -> Page:
        query = _query(ask, _PAGE)
        fault: Problem | None = None
        page: LogPage = LogPage((), 0)
        problem = ""
        try:
            page = store.search(query)
        except InvalidInput as error:
            fault = error.problems[0] if error.problems else Problem(str(error))
        except Exception as error:
            problem = explain(error)
        counts = attempt(lambda: store.histogram(query, _BUCKETS), None) if fault is None else None
        services = attempt_list(lambda: store.services(query.start_ns, query.end_ns))
        found = counts.value if counts else None
        return Page(
            "logs.html",
            "Logs",
            {
                "query": query,
                "found": page,
                "fault": fault,
                "problem": problem,
                "bars": draw_bars(found, ask.range.end_ms) if found is not None else Markup(""),
                "bars_problem": counts.problem if counts else "",
                "levels": level_totals(found),
                "bad": sum(count for level, count in level_totals(found) if level in {"error", "fatal"}),
                "warned": sum(count for level, count in level_totals(found) if level == "warn"),
                "services": services.value,
                "marked": marker(query.text),
                "fields": fields_of,
                "narrowed": narrowed, "around_line": around_line,
                "lines": page.lines,
                "shapes": shapes_of(page.lines),
                "syntax": SYNTAX,
                "tail": ask.get("tail") == "1",
                "next": ask.link(cursor=page.cursor, **ask.range.query) if page.cursor else "",
                "filters": {name: ask.get(name) for name in ("service", "level", "trace_id")},
            },
        )

    def lines(ask: Ask) -> Page:
        """New lines for the live tail: those after the newest one shown."""
        after = ask.get("after")
        query = _query(ask, _TAIL)
        start_ns = int(after) + 1 if after.isascii() and after.isdecimal() and len(after) < 20 else query.start_ns
        now_ns = ask.now_ms * 1_000_000 + 999_999
        newer = LogQuery(min(start_ns, now_ns), now_ns, query.text, query.service, query.level, query.trace_id, _TAIL)
        found = store.search(newer)
        return Page(
            "log_lines.html",
            "",
            {
                "lines": found.lines, "marked": marker(query.text), "fields": fields_of, "narrowed": narrowed,
                "around_line": around_line,
            },
        )

    return [desk.page("/logs", logs), desk.page("/logs/lines", lines)]


def _query(ask: Ask, limit: int) -> LogQuery:
    return LogQuery(
        ask.range.start_ms * 1_000_000,
        ask.range.end_ms * 1_000_000 + 999_999,
        ask.get("q"),
        ask.get("service") or None,
        ask.get("level") or None,
        trace_of(ask.get("trace_id")),
        limit,
        ask.get("cursor") or None,
    )


def draw_bars(found: LogHistogram, end_ms: int) -> Markup:
    known: list[str] = [level for level in LEVELS if level in found.counts]
    known += sorted(level for level in found.counts if level not in LEVELS)
    stacks = [(level, found.counts[level].tolist()) for level in known]
    return stacked_bars([int(t) // 1_000_000 for t in found.starts_ns.tolist()], end_ms, stacks, "lines over time")


def level_totals(found: LogHistogram | None) -> list[tuple[str, int]]:
    if found is None:
        return []
    return [(level, int(found.counts[level].sum())) for level in LEVELS if level in found.counts]


def marker(text: str) -> Any:
    """A function that marks the searched words in a line, escaping everything."""
    plain_words = [
        word
        for word in re.findall(r'"([^"]+)"|([^\s"():]+)', text)
        for word in word
        if len(word) > 1 and word not in {"AND", "OR", "NOT"}
    ]
    if not plain_words:
        return escape
    pattern = re.compile(
        "|".join(re.escape(word.strip("*")) for word in plain_words if word.strip("*")), re.IGNORECASE
    )

    def marked(line: str) -> Markup:
        parts, here = [], 0
        for match in pattern.finditer(line):
            if match.end() > match.start():
                parts += [escape(line[here : match.start()]), Markup("<mark>{}</mark>").format(match[0])]
                here = match.end()
        return Markup("").join([*parts, escape(line[here:])])

    return marked


def fields_of(line: LogRecord) -> list[tuple[str, str]]:
    """Everything that a line says, as rows; nested values by dotted names."""
    known: list[tuple[str, Any]] = [
        ("service", line.service),
        ("level", line.level),
        ("endpoint", line.endpoint),
        ("status", line.status),
        ("latency_ms", line.latency_ms),
        ("error_msg", line.error_msg),
        ("trace_id", line.trace_id),
        ("span_id", line.span_id),
    ]
    shown = [(name, str(value)) for name, value in known if value not in {None, ""}]
    return shown + list(_flat("", line.fields))[:200]


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    else:
        yield prefix, str(finite(value))


def narrowed(ask: Ask, name: str, value: str) -> str:
    """The link that keeps only lines with this value."""
    if name in {"service", "level", "trace_id"}:
        return ask.link("/logs", **{**_kept(ask), name: value})
    cleaned = value.replace("\\", " ").replace('"', " ").strip()
    term = f'{name}:"{cleaned}"'
    text = ask.get("q")
    return ask.link("/logs", **{**_kept(ask), "q": f"{text} {term}" if text else term})


def around_line(ask: Ask, line: LogRecord) -> str:
    """The link to what the service said half a minute before and after."""
    at_s = line.timestamp_ns / 1e9
    return ask.link("/logs", service=line.service, range=None, start=f"{at_s - 30:.3f}", end=f"{at_s + 30:.3f}")


def _kept(ask: Ask) -> dict[str, str]:
    return {name: ask.get(name) for name in ("q", "service", "level", "trace_id")}


def shapes_of(lines: Iterable[LogRecord]) -> list[Shape]:
    """Forms of the lines on this page, the most frequent first, with the words that find them."""
    counts: dict[tuple[str, str], int] = {}
    for line in lines:
        key = template_of(line)[:_SHAPE_CHARS], line.level
        counts[key] = counts.get(key, 0) + 1
    found = sorted(counts.items(), key=lambda item: -item[1])[:12]
    return [Shape(template, level, count, _words_of(template)) for (template, level), count in found]


def _words_of(template: str) -> str:
    longest = max((part.strip() for part in template.split("*")), key=len, default="")
    cleaned = re.sub(r"[^\w\s./-]", " ", longest).strip()
    return f'"{cleaned}"' if " " in cleaned else cleaned
