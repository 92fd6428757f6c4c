"""Do these labels satisfy these matchers? A label that is absent is the empty text. Regular expressions are RE2."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from observe.errors import InvalidInput, Problem
from observe.model import Matcher
from observe.patterns import PatternError, compiled

MAX_PATTERN = 4096


def check_matcher(matcher: Matcher) -> None:
    """Raise `InvalidInput` for a regular expression that RE2 refuses."""
    if matcher.op in {"=~", "!~"}:
        if len(matcher.value) > MAX_PATTERN:
            raise InvalidInput(Problem(f"the pattern of {matcher.name} is longer than {MAX_PATTERN} characters"))
        try:
            compiled(matcher.value, dot_all=False)
        except PatternError as error:
            raise InvalidInput(Problem(
                f"`{matcher}` is not a regular expression that RE2 takes", why=str(error),
                fix="look-around and back-references do not exist in RE2",
            )) from error


def matches_one(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    value = labels.get(matcher.name, "")
    if matcher.op == "=":
        return value == matcher.value
    if matcher.op == "!=":
        return value != matcher.value
    return _found(matcher.value, value) is (matcher.op == "=~")


@lru_cache(maxsize=65_536)
def _found(pattern: str, value: str) -> bool:
    """The same few values come again with every alert. ``.`` does not match line ends, as in Alertmanager."""
    return compiled(pattern, dot_all=False).fullmatch(value) is not None


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher is satisfied."""
    for matcher in matchers:  # noqa: SIM110 - ten thousand alerts by a hundred rules: a generator is half of the time
        if not matches_one(matcher, labels):
            return False
    return True
