"""Regular expressions of users: RE2, so that none can run for ever, and quiet about those that are wrong."""

from typing import Any, Final

import re2

_QUIET: Final = re2.Options()
_QUIET.log_errors = False  # a wrong pattern is told to whoever wrote it, not to the server's error stream


def compiled_pattern(pattern: str) -> Any:
    """The pattern, ``.`` matching line ends too, for `fullmatch`. Raises `re2.error`."""
    return re2.compile(f"(?s:{pattern})", options=_QUIET)
