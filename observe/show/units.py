"""The unit of an expression's result, read from the names of its metrics and from what is done with them."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from observe.errors import ObserveError
from observe.promql.ast import Aggregate, Binary, Call, Expr, Number, Paren, Range, Selector, Subquery, Unary
from observe.promql.parse import parse

# What a metric's name says of its unit, by the naming rules of Prometheus and OpenTelemetry.
_SUFFIXES: Final = (
    ("milliseconds", "ms"),
    ("seconds", "s"),
    ("bytes", "B"),
    ("ratio", "%"),
    ("percent", "percent"),
    ("celsius", "°C"),
    ("watts", "W"),
    ("joules", "J"),
    ("hertz", "Hz"),
    ("volts", "V"),
    ("requests", "req"),
    ("tokens", "tok"),
    ("messages", "msg"),
)
_RATES: Final = frozenset({"rate", "irate", "deriv"})
_PLAIN: Final = frozenset(
    {
        "count_over_time",
        "absent",
        "absent_over_time",
        "present_over_time",
        "changes",
        "resets",
        "scalar",
        "sgn",
        "time",
        "vector",
    }
)
_COMPARE: Final = frozenset({"==", "!=", ">", "<", ">=", "<=", "and", "or", "unless"})
_SAID: Final = (("humanizePercentage", "%"), ("humanizeDuration", "s"), ("humanize1024", "B"))


def unit_of(expr: str, annotations: Mapping[str, str] | None = None) -> str:
    """The unit, as `words.quantity` takes it; empty where nothing tells. Templates of a rule's annotations may tell.

    >>> unit_of('histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[2m])))')
    's'
    >>> unit_of("sum(rate(gateway_requests_total[1m]))"), unit_of("a_bytes / b_bytes"), unit_of("1 - x_ratio")
    ('req/s', '%', '%')
    """
    templates = " ".join((annotations or {}).values())
    told = next((unit for word, unit in _SAID if re.search(rf"\$value\s*\|\s*{word}\b", templates)), None)
    return told if told is not None else _read(expr)


@lru_cache(maxsize=2000)
def _read(expr: str) -> str:
    try:
        return _unit(parse(expr))
    except ObserveError:
        return ""


def _unit(node: Expr) -> str:
    match node:
        case Selector():
            return _of_name(
                node.name or next((m.value for m in node.matchers if m.name == "__name__" and m.op == "="), "")
            )
        case Paren() | Unary() | Subquery():
            return _unit(node.expr)
        case Range():
            return _unit(node.selector)
        case Aggregate():
            return "" if node.op in {"count", "count_values", "group"} else _unit(node.expr)
        case Call():
            return _of_call(node)
        case Binary():
            return _of_operator(node)
        case _:
            return ""


def _of_name(name: str) -> str:
    if name.endswith(("_count", "_info", "_created")):
        return ""
    base = re.sub(r"_(total|bucket|sum)$", "", name)
    return next((unit for suffix, unit in _SUFFIXES if base.endswith(suffix)), "")


def _of_call(call: Call) -> str:
    if call.function in _PLAIN or not call.args:
        return ""
    if call.function == "histogram_quantile":
        return _bucket_unit(call.args[1])
    inner = _unit(call.args[-1] if call.function == "quantile_over_time" else call.args[0])
    if call.function in _RATES:
        return "%" if inner == "s" else f"{inner}/s" if inner else "/s"
    return inner


def _bucket_unit(node: Expr) -> str:
    unit = _unit(node)
    return {"%": "s"}.get(unit, unit.removesuffix("/s"))  # the rate of seconds was read as a share of time


def _of_operator(node: Binary) -> str:
    left, right = _unit(node.lhs), _unit(node.rhs)
    if node.op in _COMPARE:
        return left or right if node.op == "or" else left
    if node.op == "/" and (left, right) == ("%", "/s"):
        return "s"  # seconds a second over events a second: seconds an event
    if node.op == "/":
        return left if isinstance(node.rhs, Number) else "%" if left and left == right else ""
    if node.op in {"+", "-", "%"}:
        return left or right
    if node.op == "*":
        return "" if left and right else left or right
    return ""
