"""Trees as text again, as Prometheus writes them: one line, or broken where it is long. ``parse(line(x)) == x``."""

import math
import re
from typing import Final

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
from observe.promql.numbers import shortest
from observe.promql.parse import parse

_WIDTH: Final = 100
_INDENT: Final = "  "
_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE: Final = (("y", 31_536_000_000), ("w", 604_800_000))
_UNITS: Final = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def format_query(text: str) -> str:
    """`text` in its tidy form, broken over lines if it is long."""
    return "\n".join(_lines(parse(text), 0))


def line(node: Expr) -> str:
    """The expression on one line."""
    match node:
        case Number():
            return _number(node.value)
        case String():
            return quoted(node.value)
        case Selector():
            return _selector(node) + _modifiers(node.at, node.offset_ms)
        case Range():
            inner = _selector(node.selector)
            return f"{inner}[{_duration(node.range_ms)}]" + _modifiers(node.selector.at, node.selector.offset_ms)
        case Subquery():
            return line(node.expr) + _subquery(node)
        case Paren():
            return f"({line(node.expr)})"
        case Unary():
            return f"-{line(node.expr)}"
        case Binary():
            return f"{line(node.lhs)} {_operator(node)} {line(node.rhs)}"
        case Call():
            return f"{node.function}({', '.join(line(arg) for arg in node.args)})"
        case Aggregate():
            return f"{_aggregation(node)}({', '.join(line(arg) for arg in _arguments(node))})"


def _lines(node: Expr, depth: int) -> list[str]:
    """The expression, indented `depth` times, broken where it does not fit."""
    margin, whole = _INDENT * depth, line(node)
    if len(whole) <= _WIDTH:
        return [margin + whole]
    match node:
        case Paren():
            return [f"{margin}(", *_lines(node.expr, depth + 1), f"{margin})"]
        case Call() if node.args:
            return [f"{margin}{node.function}(", *_listed(node.args, depth + 1), f"{margin})"]
        case Aggregate():
            return [f"{margin}{_aggregation(node)}(", *_listed(_arguments(node), depth + 1), f"{margin})"]
        case Binary():
            return [*_lines(node.lhs, depth + 1), f"{margin}{_operator(node)}", *_lines(node.rhs, depth + 1)]
        case Unary():
            inner = _lines(node.expr, depth)
            return [f"{margin}-{inner[0].lstrip()}", *inner[1:]]
        case Subquery():
            inner = _lines(node.expr, depth)
            return [*inner[:-1], inner[-1] + _subquery(node)]
    return [margin + whole]


def _listed(nodes: tuple[Expr, ...], depth: int) -> list[str]:
    blocks = [_lines(node, depth) for node in nodes]
    return [row + ("," if last and index < len(blocks) - 1 else "")
            for index, block in enumerate(blocks)
            for row, last in zip(block, [False] * (len(block) - 1) + [True], strict=True)]


def quoted(text: str) -> str:
    """A string literal; bytes that are no UTF-8 are escaped."""
    escaped = (_ESCAPES.get(char) or (f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char)
               for char in text)
    return f'"{"".join(escaped)}"'


def _number(value: float) -> str:
    if math.isinf(value) or math.isnan(value) or 1e-6 <= abs(value) < 1e21 or value == 0:
        return shortest(value)
    return repr(value)


def _duration(duration_ms: int) -> str:
    """As Prometheus writes it: whole years or weeks as such, else from days down."""
    rest = abs(duration_ms)
    units = next(([(unit, size)] for unit, size in _WHOLE if rest and rest % size == 0), _UNITS)
    parts = []
    for unit, size in units:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if duration_ms < 0 else "") + ("".join(parts) or "0s")


def _selector(node: Selector) -> str:
    rest = node.matchers[1:] if node.name else node.matchers
    if not rest:
        return node.name
    return f"{node.name}{{{','.join(_matcher(matcher) for matcher in rest)}}}"


def _matcher(matcher: Matcher) -> str:
    name = matcher.name if _PLAIN_LABEL.fullmatch(matcher.name) else quoted(matcher.name)
    return f"{name}{matcher.op}{quoted(matcher.value)}"


def _modifiers(at: At | None, offset_ms: int) -> str:
    parts = ""
    if at is not None:
        parts += f" @ {at.anchor}()" if at.anchor else f" @ {(at.time_ms or 0) / 1000:.3f}"
    if offset_ms:
        parts += f" offset {_duration(offset_ms)}"
    return parts


def _subquery(node: Subquery) -> str:
    step = "" if node.step_ms is None else _duration(node.step_ms)
    return f"[{_duration(node.range_ms)}:{step}]" + _modifiers(node.at, node.offset_ms)


def _names(names: tuple[str, ...]) -> str:
    return f"({', '.join(name if _PLAIN_LABEL.fullmatch(name) else quoted(name) for name in names)})"


def _operator(node: Binary) -> str:
    return node.op + (" bool" if node.return_bool else "") + ("" if node.matching is None else _matching(node.matching))


def _matching(matching: Matching) -> str:
    text = f" {'on' if matching.on else 'ignoring'} {_names(matching.labels)}"
    if matching.group:
        text += f" group_{matching.group} {_names(matching.include)}"
    return text


def _aggregation(node: Aggregate) -> str:
    if not node.grouping and not node.without:
        return node.op
    return f"{node.op} {'without' if node.without else 'by'} {_names(node.grouping)} "


def _arguments(node: Aggregate) -> tuple[Expr, ...]:
    return (node.expr,) if node.param is None else (node.param, node.expr)

