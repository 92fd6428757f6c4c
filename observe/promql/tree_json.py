"""The tree of an expression as Prometheus 3's `/api/v1/parse_query` gives it: what web pages draw and tools read."""

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from observe.model import Matcher
from observe.promql.ast import (
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
    String,
    Subquery,
    Unary,
)
from observe.promql.functions import FUNCTIONS
from observe.promql.numbers import shortest

_SETS: Final = frozenset({"and", "or", "unless"})
_CARDS: Final = {"": "one-to-one", "left": "many-to-one", "right": "one-to-many"}


def tree_json(node: Expr | None) -> dict[str, Any] | None:
    """The tree from `node` down; times and durations in ms.

    >>> tree_json(Paren(Number(0.5)))
    {'type': 'parenExpr', 'expr': {'type': 'numberLiteral', 'val': '0.5'}}
    """
    match node:
        case Number():
            return {"type": "numberLiteral", "val": _decimal(node.value)}
        case String():
            return {"type": "stringLiteral", "val": node.value}
        case Selector():
            return {"type": "vectorSelector", **_selected(node)}
        case Range():
            return {"type": "matrixSelector", "range": node.range_ms, **_selected(node.selector)}
        case Subquery():
            return {"type": "subquery", "expr": tree_json(node.expr), "range": node.range_ms, "step": node.step_ms or 0,
                    **_when(node.offset_ms, node.at)}
        case Paren():
            return {"type": "parenExpr", "expr": tree_json(node.expr)}
        case Unary():
            return {"type": "unaryExpr", "op": "-", "expr": tree_json(node.expr)}
        case Binary():
            return {"type": "binaryExpr", "op": node.op, "lhs": tree_json(node.lhs), "rhs": tree_json(node.rhs),
                    "matching": _matching(node), "bool": node.return_bool}
        case Call():
            return {"type": "call", "func": _function(node), "args": [tree_json(arg) for arg in node.args]}
        case Aggregate():
            return {"type": "aggregation", "op": node.op, "expr": tree_json(node.expr), "param": tree_json(node.param),
                    "grouping": list(node.grouping), "without": node.without}
    return None


def _selected(node: Selector) -> dict[str, Any]:
    return {"name": node.name, "matchers": _matchers(node.matchers), **_when(node.offset_ms, node.at)}


def _matchers(matchers: Sequence[Matcher]) -> list[dict[str, str]]:
    return [{"name": one.name, "value": one.value, "type": one.op} for one in matchers]


def _when(offset_ms: int, at: At | None) -> dict[str, Any]:
    return {"offset": offset_ms, "timestamp": at.time_ms if at else None, "startOrEnd": at.anchor if at else None}


def _matching(node: Binary) -> dict[str, Any] | None:
    """How two vectors meet, written or not; a scalar meets everything."""
    if "scalar" in {node.lhs.type, node.rhs.type}:
        return None
    said = node.matching or Matching()
    return {
        "card": "many-to-many" if node.op in _SETS else _CARDS[said.group], "labels": list(said.labels), "on": said.on,
        "include": list(said.include),
    }


def _function(node: Call) -> dict[str, Any]:
    known = FUNCTIONS.get(node.function)
    return {
        "name": node.function, "argTypes": list(known.args) if known else [arg.type for arg in node.args],
        "variadic": known.optional if known else 0, "returnType": node.type,
    }


def _decimal(value: float) -> str:
    """Every digit, no exponent."""
    return f"{Decimal(repr(value)).normalize():f}" if isfinite(value) else shortest(value)
