"""The tree of a PromQL expression: what `observe.promql.parse` makes, and what is printed and evaluated.

Frozen values; equality ignores where in the text a node stood (`span`), so that ``parse(print(x)) == x``.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from observe.model import Matcher

ValueType = Literal["vector", "scalar", "matrix", "string"]
Span: TypeAlias = tuple[int, int]
"""Begin and end offset in the text, in characters."""

NO_SPAN: Span = (0, 0)

# Functions whose value depends on the evaluation time even when their arguments do not (`@`, literals).
_TIME_DEPENDENT = frozenset({
    "days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year",
    "predict_linear", "time", "timestamp",
})


@dataclass(frozen=True)
class Number:
    """A literal number (or a duration, in seconds)."""

    value: float
    span: Span = field(default=NO_SPAN, compare=False)

    type: ValueType = field(default="scalar", init=False, compare=False)
    invariant: bool = field(default=True, init=False, compare=False)

    def __eq__(self, other: object) -> bool:
        # NaN equals itself here: the tree is compared, not the value.
        return isinstance(other, Number) and (self.value == other.value or (self.value != self.value
                                                                            and other.value != other.value))

    def __hash__(self) -> int:
        return hash(("Number", "NaN" if self.value != self.value else self.value))


@dataclass(frozen=True)
class String:
    value: str
    span: Span = field(default=NO_SPAN, compare=False)

    type: ValueType = field(default="string", init=False, compare=False)
    invariant: bool = field(default=True, init=False, compare=False)


@dataclass(frozen=True)
class At:
    """The ``@`` modifier: a fixed time, or the start or end of the query."""

    time_ms: int | None = None
    anchor: Literal["start", "end"] | None = None

    def resolve(self, start_ms: int, end_ms: int) -> int:
        """The time meant, in a query from `start_ms` to `end_ms`."""
        if self.anchor is None:
            assert self.time_ms is not None
            return self.time_ms
        return start_ms if self.anchor == "start" else end_ms


@dataclass(frozen=True)
class Selector:
    """``name{matchers} @ at offset d``: series by their labels. `matchers` include the one on the name."""

    name: str
    """The name as written before the braces, or an empty string."""
    matchers: tuple[Matcher, ...]
    offset_ms: int = 0
    at: At | None = None
    span: Span = field(default=NO_SPAN, compare=False)

    type: ValueType = field(default="vector", init=False, compare=False)

    @property
    def invariant(self) -> bool:
        return self.at is not None


@dataclass(frozen=True)
class Range:
    """``selector[d]``: the samples of the last `range_ms` milliseconds, the earliest instant excluded."""

    selector: Selector
    range_ms: int
    span: Span = field(default=NO_SPAN, compare=False)

    type: ValueType = field(default="matrix", init=False, compare=False)

    @property
    def invariant(self) -> bool:
        return self.selector.at is not None


@dataclass(frozen=True)
class Subquery:
    """``expr[range:step]``: `expr` evaluated at every multiple of the step inside the range."""

    expr: "Expr"
    range_ms: int
    step_ms: int | None = None
    offset_ms: int = 0
    at: At | None = None
    span: Span = field(default=NO_SPAN, compare=False)

    type: ValueType = field(default="matrix", init=False, compare=False)

    @property
    def invariant(self) -> bool:
        return self.at is not None


@dataclass(frozen=True)
class Paren:
    expr: "Expr"
    span: Span = field(default=NO_SPAN, compare=False)

    @property
    def type(self) -> ValueType:
        return self.expr.type

    @cached_property
    def invariant(self) -> bool:
        return self.expr.invariant


@dataclass(frozen=True)
class Unary:
    """``-expr`` (a plus sign is dropped where it is read)."""

    expr: "Expr"
    span: Span = field(default=NO_SPAN, compare=False)

    @property
    def type(self) -> ValueType:
        return self.expr.type

    @cached_property
    def invariant(self) -> bool:
        return self.expr.invariant


@dataclass(frozen=True)
class Matching:
    """How the two sides of an operator find each other."""

    on: bool = False
    """`labels` are those to compare (``on``), else those to leave out (``ignoring``)."""
    labels: tuple[str, ...] = ()
    group: Literal["", "left", "right"] = ""
    """The side that may have many series for one of the other."""
    include: tuple[str, ...] = ()
    """Labels that the many side takes over from the one side."""


@dataclass(frozen=True)
class Binary:
    op: str
    lhs: "Expr"
    rhs: "Expr"
    return_bool: bool = False
    matching: Matching | None = None
    """None where nothing is written: all labels but the name."""
    span: Span = field(default=NO_SPAN, compare=False)

    @cached_property
    def type(self) -> ValueType:
        return "scalar" if self.lhs.type == "scalar" and self.rhs.type == "scalar" else "vector"

    @cached_property
    def invariant(self) -> bool:
        return self.lhs.invariant and self.rhs.invariant


@dataclass(frozen=True)
class Call:
    function: str
    args: tuple["Expr", ...]
    type: ValueType = field(default="vector", compare=False)
    span: Span = field(default=NO_SPAN, compare=False)

    @cached_property
    def invariant(self) -> bool:
        if self.function == "timestamp":
            return isinstance(unwrap(self.args[0]), Selector) and self.args[0].invariant
        return self.function not in _TIME_DEPENDENT and all(arg.invariant for arg in self.args)


@dataclass(frozen=True)
class Aggregate:
    """``sum by (a, b) (expr)``; `param` is topk's k, quantile's φ, count_values' label."""

    op: str
    expr: "Expr"
    param: "Expr | None" = None
    grouping: tuple[str, ...] = ()
    without: bool = False
    span: Span = field(default=NO_SPAN, compare=False)

    type: ValueType = field(default="vector", init=False, compare=False)

    @cached_property
    def invariant(self) -> bool:
        # As in Prometheus the parameter is not looked at: `topk(scalar(x), y @ 0)` takes the first step's.
        return self.expr.invariant


Expr: TypeAlias = Number | String | Selector | Range | Subquery | Paren | Unary | Binary | Call | Aggregate


def unwrap(expr: Expr) -> Expr:
    """`expr` without the parentheses around it."""
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside, in the order of the text."""
    match expr:
        case Paren() | Unary() | Subquery():
            return (expr.expr,)
        case Range():
            return (expr.selector,)
        case Binary():
            return (expr.lhs, expr.rhs)
        case Call():
            return expr.args
        case Aggregate():
            return (expr.expr,) if expr.param is None else (expr.param, expr.expr)
    return ()
