"""Do these labels satisfy these matchers? A label that is absent is the empty text. Regular expressions are RE2."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import re2

from observe.errors import InvalidInput, Problem
from observe.model import Matcher

MAX_PATTERN = 4096


@lru_cache(maxsize=4096)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


def check_matcher(matcher: Matcher) -> None:
    """Raise `InvalidInput` for a regular expression that RE2 refuses."""
    if matcher.op in {"=~", "!~"}:
        if len(matcher.value) > MAX_PATTERN:
            raise InvalidInput(Problem(f"the pattern of {matcher.name} is longer than {MAX_PATTERN} characters"))
        try:
            _pattern(matcher.value)
        except re2.error as error:
            raise InvalidInput(Problem(
                f"`{matcher}` is not a regular expression that RE2 takes", why=_words(error),
                fix="look-around and back-references do not exist in RE2",
            )) from error


def _words(error: Exception) -> str:
    told = error.args[0] if error.args else ""
    return told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)


def matches_one(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    value = labels.get(matcher.name, "")
    if matcher.op == "=":
        return value == matcher.value
    if matcher.op == "!=":
        return value != matcher.value
    return _found(matcher.value, value) is (matcher.op == "=~")


@lru_cache(maxsize=65_536)
def _found(pattern: str, value: str) -> bool:
    """The same few values come again with every alert."""
    return _pattern(pattern).fullmatch(value) is not None


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher is satisfied."""
    for matcher in matchers:  # noqa: SIM110 - ten thousand alerts by a hundred rules: a generator is half of the time
        if not matches_one(matcher, labels):
            return False
    return True
