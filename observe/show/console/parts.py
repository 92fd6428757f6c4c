"""Parts of a page that may fail alone."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from observe.errors import ObserveError
from observe.show.problems import explain

R = TypeVar("R")
_log = logging.getLogger("observe.show")


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
