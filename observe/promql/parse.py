"""From text to our tree: the grammar is `promql-parser`'s, its gaps are closed here.

What it gets wrong and we mend: a negative or huge time after ``@`` and numbers like ``1_000`` (`lexer`), crashes of the
process on very deep nesting (`MAX_NESTING`), constructs behind Prometheus' feature flags that it lets pass, and errors
without a place, which `observe.promql.diagnose` finds.
"""

import math
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import promql_parser as grammar

from observe.errors import QueryError
from observe.model import METRIC_NAME, Matcher, MatchOp
from observe.patterns import PatternError, compiled
from observe.promql.ast import (
    NO_SPAN,
    Aggregate,
    At,
    Binary,
    Call,
    Expr,
    Matching,
    Number,
    Paren,
    Range,
    Selector,
    Span,
    String,
    Subquery,
    Unary,
    ValueType,
)
from observe.promql.diagnose import point_at, syntax_error
from observe.promql.lexer import AtTime, Token, at_times, durations, places, plain_numbers, seconds, tokens, unquoted

MAX_NESTING: Final = 200
"""Operators and brackets an expression may have inside each other: the grammar's reader overflows the stack beyond."""
MAX_LENGTH: Final = 100_000
"""Characters of an expression."""

_MAX_DURATION_S = 9_223_372_036.0  # int64 nanoseconds; the grammar's reader panics beyond them
_MAX_TIME_S = 9_223_372_036_854_775.0  # int64 milliseconds
_TYPES: dict[str, ValueType] = {"Vector": "vector", "Scalar": "scalar", "Matrix": "matrix", "String": "string"}
_OPS: dict[str, MatchOp] = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


@lru_cache(maxsize=2048)
def parse(text: str) -> Expr:
    """The tree of `text`. Raises `QueryError` with a caret under the place where that can be told.

    >>> parse("sum by (job) (rate(requests_total[5m]))").op
    'sum'
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the expression has {len(text)} characters, the limit is {MAX_LENGTH}")
    found = tokens(text)
    if not found:
        raise QueryError("no expression found in input")
    _check_nesting(text, found)
    for token in durations(found):
        if not seconds(token) <= _MAX_DURATION_S:
            raise QueryError(point_at(text, token.span, "duration out of range", why="the longest is 292 years"))
    times = at_times(found)
    try:
        tree = grammar.parse(_without_times(plain_numbers(text, found), times))
    except ValueError as error:
        raise syntax_error(text, found, str(error)) from None
    except BaseException as error:
        # A Rust panic arrives as a BaseException of its own; anything else goes on as it is.
        if type(error).__name__ != "PanicException":
            raise
        raise QueryError(point_at(text, NO_SPAN, "the expression cannot be read", why=str(error))) from None
    return _Reader(text, found, times).read(tree)


def _check_nesting(text: str, found: list[Token]) -> None:
    depth = operators = 0
    for token in found:
        if token.kind == "mark" and token.text in "([":
            depth += 1
        elif token.kind == "mark" and token.text in ")]":
            depth -= 1
        elif (token.kind == "mark" and token.text in "+-*/%^") or token.text.lower() in {"and", "or", "unless"}:
            operators += 1
        if depth + operators > MAX_NESTING:
            raise QueryError(point_at(text, token.span, "the expression is nested too deeply",
                                      why=f"at most {MAX_NESTING} operators and brackets are read",
                                      fix="record parts of it by rules of their own"))


def _without_times(text: str, times: list[AtTime]) -> str:
    """`text` with every time after ``@`` replaced by one that the grammar reads correctly."""
    parts: list[str] = []
    begin = 0
    for time in times:
        parts.extend((text[begin : time.span[0]], "0"))
        begin = time.span[1]
    return "".join(parts) + text[begin:]


def _milliseconds(duration: timedelta | None) -> int:
    return 0 if duration is None else round(duration / timedelta(milliseconds=1))


class _Reader:
    """Walks the grammar's tree in the order of the text, taking places and times as they come."""

    def __init__(self, text: str, found: list[Token], times: list[AtTime]) -> None:
        self._text = text
        self._places: Iterator[Span] = iter(places(found))
        self._times: Iterator[AtTime] = iter(times)

    def read(self, node: Any) -> Expr:
        method = getattr(self, "_" + type(node).__name__.lower())
        expr: Expr = method(node)
        return expr

    def _place(self) -> Span:
        return next(self._places, NO_SPAN)

    def _fail(self, span: Span, what: str, why: str = "", fix: str = "") -> QueryError:
        return QueryError(point_at(self._text, span, what, why=why, fix=fix))

    def _numberliteral(self, node: Any) -> Number:
        return Number(node.val, self._place())

    def _stringliteral(self, node: Any) -> String:
        span = self._place()
        return String(unquoted(self._text[slice(*span)]) if span != NO_SPAN else node.val, span)

    def _vectorselector(self, node: Any) -> Selector:
        span = self._place()
        if node.matchers.or_matchers:
            raise self._fail(span, "`or` between matchers is not PromQL", fix='use a regular expression: {a=~"b|c"}')
        name = node.name or ""
        matchers = [Matcher(METRIC_NAME, "=", name)] if name else []
        for given in node.matchers.matchers:
            matcher = Matcher(given.name, _OPS[str(given.op).rsplit(".", 1)[-1]], given.value)
            if matcher.op in {"=~", "!~"}:
                self._check_pattern(matcher, span)
            if not (name and matcher == matchers[0]):
                matchers.append(matcher)
        return Selector(name, tuple(matchers), _milliseconds(node.offset), self._at(node.at), span)

    def _check_pattern(self, matcher: Matcher, span: Span) -> None:
        try:
            compiled(matcher.value)
        except PatternError as error:
            raise self._fail(span, f"the regular expression of {matcher} is not valid", why=str(error)) from None

    def _at(self, at: Any) -> At | None:
        if at is None:
            return None
        if at.type == grammar.AtModifierType.Start:
            return At(anchor="start")
        if at.type == grammar.AtModifierType.End:
            return At(anchor="end")
        time = next(self._times)
        if not math.isfinite(time.seconds) or abs(time.seconds) >= _MAX_TIME_S:
            raise self._fail(time.span, f"timestamp out of bounds for @ modifier: {time.seconds:f}")
        return At(time_ms=int(math.copysign(math.floor(abs(time.seconds) * 1000 + 0.5), time.seconds)))

    def _matrixselector(self, node: Any) -> Range:
        selector = self._vectorselector(node.vector_selector)
        return Range(selector, self._duration(node.range, selector.span), selector.span)

    def _subqueryexpr(self, node: Any) -> Subquery:
        expr = self.read(node.expr)
        step = None if node.step is None else self._duration(node.step, expr.span)
        return Subquery(expr, self._duration(node.range, expr.span), step, _milliseconds(node.offset),
                        self._at(node.at), expr.span)

    def _duration(self, given: timedelta, span: Span) -> int:
        if (length := _milliseconds(given)) <= 0:
            raise self._fail(span, "duration must be greater than 0")
        return length

    def _parenexpr(self, node: Any) -> Paren:
        inner = self.read(node.expr)
        return Paren(inner, inner.span)

    def _unaryexpr(self, node: Any) -> Unary:
        inner = self.read(node.expr)
        return Unary(inner, inner.span)

    def _binaryexpr(self, node: Any) -> Binary:
        lhs = self.read(node.lhs)
        rhs = self.read(node.rhs)
        modifier = node.modifier
        if modifier is None:
            return Binary(str(node.op), lhs, rhs, span=lhs.span)
        fills = modifier.fill_values
        if fills is not None and (fills.lhs is not None or fills.rhs is not None):
            raise self._fail(lhs.span, "`fill` is behind a feature flag in Prometheus and not supported here")
        card = str(modifier.card)
        group: Any = "left" if "ManyToOne" in card else "right" if "OneToMany" in card else ""
        matching = None
        if modifier.matching is not None or group:
            if "scalar" in {lhs.type, rhs.type}:
                raise self._fail(lhs.span, "vector matching only allowed between instant vectors")
            on = modifier.matching is not None and modifier.matching.type == grammar.LabelModifierType.Include
            labels = tuple(modifier.matching.labels) if modifier.matching is not None else ()
            matching = Matching(on, labels, group, tuple(modifier.group_labels or ()))
        return Binary(str(node.op), lhs, rhs, bool(modifier.return_bool), matching, lhs.span)

    def _call(self, node: Any) -> Call:
        span = self._place()
        args = tuple(self.read(arg) for arg in node.args)
        return Call(node.func.name, args, _TYPES[str(node.func.return_type).rsplit(".", 1)[-1]], span)

    def _aggregateexpr(self, node: Any) -> Aggregate:
        span = self._place()
        param = None if node.param is None else self.read(node.param)
        expr = self.read(node.expr)
        modifier = node.modifier
        without = modifier is not None and modifier.type == grammar.AggModifierType.Without
        grouping = tuple(modifier.labels) if modifier is not None else ()
        return Aggregate(str(node.op), expr, param, grouping, without, span)
