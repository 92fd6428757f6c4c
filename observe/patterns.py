"""Regular expressions of users: RE2, so that none can run for ever, and quiet about those that are wrong."""

from functools import lru_cache
from typing import Any

import re2


class PatternError(ValueError):
    """RE2 does not take this pattern; the text says why."""


@lru_cache(maxsize=1024)
def compiled(pattern: str, *, dot_all: bool = True) -> Any:
    """The pattern; `dot_all`: ``.`` matches line ends, as in Prometheus' matchers. Raises `PatternError`."""
    options = re2.Options()
    options.log_errors = False  # a wrong pattern is told to whoever wrote it, not to the server's error stream
    options.dot_nl = dot_all
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else error
        raise PatternError(why.decode(errors="replace") if isinstance(why, bytes) else str(why)) from None
