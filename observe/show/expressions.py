"""What the web side asks of an expression: its value with remarks, its selectors, its tidy form."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from observe.errors import QueryError
from observe.model import Matcher
from observe.promql.ast import Expr, Selector, children, unwrap
from observe.promql.parse import parse
from observe.promql.printer import format_query
from observe.promql.result import Answer
from observe.promql.tree_json import tree_json
from observe.protocols import QueryEngine
from observe.show.workers import CANCELLED


class RemarkingEngine(Protocol):
    """An engine that has more to say than a vector: other types, warnings; and that can be stopped."""

    def evaluate_instant(self, expr: str, time_ms: int, **how: object) -> Answer: ...

    def evaluate_range(self, expr: str, start_ms: int, end_ms: int, step_ms: int, **how: object) -> Answer: ...


def evaluate_instant(
    engine: QueryEngine, expr: str, time_ms: int, timeout_s: float, lookback_ms: int | None = None,
) -> Answer:
    """An instant query that ends early when nobody waits for it, where the engine can."""
    rich: RemarkingEngine | None = getattr(engine, "evaluate_instant", None) and engine  # type: ignore[assignment]
    if rich is None:
        return Answer(engine.instant(expr, time_ms))
    return rich.evaluate_instant(
        expr, time_ms, cancel=CANCELLED.get(), timeout_s=timeout_s, lookback_ms=lookback_ms,
    )


def evaluate_range(
    engine: QueryEngine, expr: str, start_ms: int, end_ms: int, step_ms: int, timeout_s: float,
    lookback_ms: int | None = None,
) -> Answer:
    """A range query, likewise."""
    rich: RemarkingEngine | None = getattr(engine, "evaluate_range", None) and engine  # type: ignore[assignment]
    if rich is None:
        return Answer(engine.range(expr, start_ms, end_ms, step_ms))
    return rich.evaluate_range(
        expr, start_ms, end_ms, step_ms, cancel=CANCELLED.get(), timeout_s=timeout_s, lookback_ms=lookback_ms,
    )


def parse_selector(text: str) -> Sequence[Matcher]:
    """The matchers of an instant selector such as ``up{job="demo"}``."""
    found = unwrap(parse(text))
    if not isinstance(found, Selector) or found.offset_ms or found.at is not None:
        raise QueryError(f'{text!r} is not a selector; write one such as up{{job="demo"}}')
    return found.matchers


def selectors_of(expr: str) -> list[Sequence[Matcher]]:
    """The matchers of every selector in an expression."""
    return _selectors(parse(expr))


def _selectors(node: Expr) -> list[Sequence[Matcher]]:
    if isinstance(node, Selector):
        return [node.matchers]
    return [found for child in children(node) for found in _selectors(child)]


def format_expression(expr: str) -> str:
    """The expression over as many lines as it needs."""
    return format_query(expr)


def expression_tree(expr: str) -> Mapping[str, Any] | None:
    """The expression as a tree of JSON."""
    return tree_json(parse(expr))
