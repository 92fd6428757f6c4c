"""What the web side asks of an expression's text: its selectors, and its tidy form."""

from collections.abc import Sequence
from typing import Final

import promql_parser

from observe.errors import QueryError
from observe.model import METRIC_NAME, Matcher, MatchOp

_OPS: Final[dict[str, MatchOp]] = {
    str(promql_parser.MatchOp.Equal): "=",
    str(promql_parser.MatchOp.NotEqual): "!=",
    str(promql_parser.MatchOp.Re): "=~",
    str(promql_parser.MatchOp.NotRe): "!~",
}


def parse_selector(text: str) -> list[Matcher]:
    """The matchers of an instant selector such as ``up{job="demo"}``."""
    found = _parse(text)
    if not isinstance(found, promql_parser.VectorSelector):
        raise QueryError(f'{text!r} is not a selector; write one such as up{{job="demo"}}')
    return _matchers(found)


def selectors_of(expr: str) -> list[Sequence[Matcher]]:
    """The matchers of every selector in an expression."""
    found: list[Sequence[Matcher]] = []
    _walk(_parse(expr), found)
    return found


def format_expression(expr: str) -> str:
    return str(_parse(expr).prettify())


def _parse(text: str) -> promql_parser.Expr:
    try:
        return promql_parser.parse(text)
    except Exception as error:
        raise QueryError(f"cannot read the expression {text!r}: {error}") from error


def _walk(node: object, found: list[Sequence[Matcher]]) -> None:
    if isinstance(node, promql_parser.VectorSelector):
        found.append(_matchers(node))
        return
    for name in ("vector_selector", "expr", "lhs", "rhs", "param"):
        _walk_child(getattr(node, name, None), found)
    for child in getattr(node, "args", None) or ():
        _walk_child(child, found)


def _walk_child(child: object, found: list[Sequence[Matcher]]) -> None:
    if child is not None and not isinstance(child, str | int | float):
        _walk(child, found)


def _matchers(node: promql_parser.VectorSelector) -> list[Matcher]:
    named = [Matcher(METRIC_NAME, "=", node.name)] if node.name else []
    return named + [Matcher(found.name, _OPS[str(found.op)], found.value) for found in node.matchers.matchers]
