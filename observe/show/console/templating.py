"""The templates of the console, and what they may say: times, sentences with names in them, severities."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup, escape

from observe.moment import rfc3339
from observe.show import words

_DAY_MS: Final = 86_400_000
_TIME_OF_DAY: Final = re.compile(r"\b([01]\d|2[0-3]):([0-5]\d):([0-5]\d) UTC\b")


@functools.cache
def environment() -> jinja2.Environment:
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
