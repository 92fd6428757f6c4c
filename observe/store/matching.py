"""Matchers over the distinct values of one label: plain sets where possible, RE2 where not.

An absent label is the empty value, as in Prometheus: ``foo=""`` and ``foo!~".+"`` match series without `foo`.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache

from observe.errors import Problem, QueryError
from observe.model import Matcher
from observe.patterns import PatternError, compiled

_SPECIAL = frozenset(r"\.+*?()[]{}^$")


_REMEMBERED = 8192
"""Verdicts kept of one expression: labels change far less often than they are asked about."""


@lru_cache(maxsize=512)
def value_test(matcher: Matcher) -> Callable[[str], bool]:
    """Whether a value satisfies `matcher`. Raises `QueryError` for an expression that RE2 does not take."""
    value = matcher.value
    if matcher.op == "=":
        return lambda text: text == value
    if matcher.op == "!=":
        return lambda text: text != value
    wanted = alternatives(value)
    if wanted is not None:
        if matcher.op == "=~":
            return wanted.__contains__
        return lambda text: text not in wanted
    try:
        pattern = compiled(value)
    except PatternError as error:
        raise QueryError(Problem(
            f"the regular expression of `{matcher}` is not valid", why=str(error),
            fix="use RE2 syntax: no look-around, no back-references",
        )) from error
    wants = matcher.op == "=~"
    verdicts: dict[str, bool] = {}

    def test(text: str) -> bool:
        verdict = verdicts.get(text)
        if verdict is None:
            if len(verdicts) >= _REMEMBERED:
                verdicts.clear()
            verdict = verdicts[text] = (pattern.fullmatch(text) is not None) is wants
        return verdict

    return test


def alternatives(pattern: str) -> frozenset[str] | None:
    """The values of ``a|b|c``, or None where the pattern is more than that."""
    if _SPECIAL.isdisjoint(pattern):
        return frozenset(pattern.split("|"))
    return None


def matches_empty(matcher: Matcher) -> bool:
    """Whether a series without the label satisfies `matcher`."""
    return value_test(matcher)("")


def accepted(matcher: Matcher, values: Iterable[str]) -> list[str]:
    """The values that satisfy `matcher`."""
    test = value_test(matcher)
    return [value for value in values if test(value)]
