"""Parts of a page that may fail alone."""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from observe.errors import ObserveError
from observe.show.problems import explain
from observe.telemetry import Telemetry

R = TypeVar("R")
_log = logging.getLogger("observe.show")
_COUNTED: ContextVar[Telemetry | None] = ContextVar("observe_show_parts", default=None)


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """A part of a page: its value, or what went wrong with it alone."""

    value: R
    problem: str = ""


def counted(telemetry: Telemetry, build: Callable[[], R]) -> R:
    """Call `build`; parts that fail meanwhile are counted, also where nobody looks at what they say."""
    token = _COUNTED.set(telemetry)
    try:
        return build()
    finally:
        _COUNTED.reset(token)


def attempt(read: Callable[[], R], otherwise: R) -> Part[R]:
    """Read one part; a source that is down costs this part, never the page."""
    try:
        return Part(read())
    except Exception as error:
        if not isinstance(error, ObserveError):
            _log.exception("a part of a page failed")
        telemetry = _COUNTED.get()
        if telemetry is not None:
            telemetry.dropped("show", "part of a page")
        return Part(otherwise, explain(error))


def attempt_list(read: Callable[[], list[R]]) -> Part[list[R]]:
    """As `attempt`, with nothing where it fails."""
    empty: list[R] = []
    return attempt(read, empty)
