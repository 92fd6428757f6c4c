"""Evaluation: every node of the tree gives its value for all steps at once."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from observe.clock import Clock
from observe.errors import LimitExceeded, QueryError
from observe.model import Matcher, Samples
from observe.promql import aggregate, operators
from observe.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Number,
    Paren,
    Range,
    Selector,
    Span,
    String,
    Subquery,
    Unary,
    unwrap,
)
from observe.promql.diagnose import place
from observe.promql.functions import FUNCTIONS
from observe.promql.names import NameCache
from observe.promql.numbers import shortest
from observe.promql.selector_kernels import as_samples, count_stale, look_back, without_stale
from observe.promql.vectors import Block, Steps, Windows, empty_block, merged
from observe.protocols import SampleSource

Column = NDArray[np.float64]
_PORTION: Final = 2_000_000
"""Samples or results between two looks at the clock: about 10 ms of work."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one query may cost; the section ``query:`` of observe.yml."""

    lookback_ms: int = 300_000
    """How far an instant selector looks back for the newest sample."""
    max_samples: int = 50_000_000
    """Samples read and points made by one query, together."""
    max_series: int = 200_000
    """Series that one selector may give."""
    max_steps: int = 11_000
    """Points of a range query."""
    timeout_s: float = 120.0
    default_step_ms: int = 60_000
    """Step of a subquery that names none: ``x[1h:]``."""


@dataclass
class Evaluation:
    """One query under way: what it reads from, its limits, and what it has to say."""

    source: SampleSource
    limits: QueryLimits
    clock: Clock
    names: NameCache
    text: str
    """The expression."""
    start_ms: int
    end_ms: int
    began: float
    """Monotonic seconds, as `deadline`."""
    deadline: float
    cancel: threading.Event | None = None
    lookback_ms: int = 300_000
    samples: int = 0
    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)
    _selected: dict[tuple[tuple[Matcher, ...], int, int], Samples] = field(default_factory=dict)

    # ------------------------------------------------------------ bounds

    def checkpoint(self) -> None:
        """Stop here if nobody wants the answer any more, or if it takes too long."""
        if self.cancel is not None and self.cancel.is_set():
            raise QueryError("query was canceled in expression evaluation", kind="canceled")
        if self.clock.monotonic() > self.deadline:
            raise QueryError("query timed out in expression evaluation", kind="timeout")

    def count(self, samples: int) -> None:
        self.samples += samples
        if self.samples > self.limits.max_samples:
            raise LimitExceeded(
                f"query processing would load too many samples into memory in query execution: more than "
                f"{self.limits.max_samples}. Ask for fewer series or a shorter time, or raise query.max_samples",
                limit="query.max_samples",
            )

    def portions(self, offsets: NDArray[np.int64], steps: int, run: Callable[[int, int], object]) -> None:
        """Call `run` for the series from and to, some at a time, stopping in between when asked to."""
        series = len(offsets) - 1
        total = int(offsets[-1]) + series * steps
        each = max(1, series if total <= _PORTION else series * _PORTION // total)
        for first in range(0, series, each):
            run(first, min(series, first + each))
            self.checkpoint()

    # ------------------------------------------------------------ values by type

    def vector(self, node: Expr, steps: Steps) -> Block:
        """The value of an expression of type instant vector."""
        if steps.count > 1 and node.invariant:
            return self.vector(node, steps.first()).repeated(steps.count)
        self.checkpoint()
        match node:
            case Paren():
                return self.vector(node.expr, steps)
            case Selector():
                return self._selector(node, steps)
            case Call():
                return cast("Block", FUNCTIONS[node.function].run(self, node, steps))
            case Aggregate():
                return self._aggregate(node, steps)
            case Binary():
                return self._binary(node, steps)
            case Unary():
                block = self.vector(node.expr, steps)
                return merged(block.with_values(-block.values, self.names.nameless(block.labels)))
        raise QueryError(f"expected an instant vector, got {node.type}", kind="execution")

    def scalar(self, node: Expr, steps: Steps) -> Column:
        """The value of an expression of type scalar, [T]."""
        if isinstance(node, Number):
            return np.full(steps.count, node.value)
        if steps.count > 1 and node.invariant:
            return np.repeat(self.scalar(node, steps.first()), steps.count)
        match node:
            case Paren():
                return self.scalar(node.expr, steps)
            case Call():
                return cast("Column", FUNCTIONS[node.function].run(self, node, steps))
            case Binary():
                return operators.scalar_scalar(node.op, self.scalar(node.lhs, steps), self.scalar(node.rhs, steps))
            case Unary():
                return -self.scalar(node.expr, steps)
        raise QueryError(f"expected a scalar, got {node.type}", kind="execution")

    def string(self, node: Expr) -> str:
        """The value of a string literal."""
        literal = unwrap(node)
        if not isinstance(literal, String):
            raise QueryError(f"expected a string, got {node.type}", kind="execution")
        return literal.value

    def windows(self, node: Expr, steps: Steps) -> Windows:
        """The value of an expression of type range vector."""
        node = unwrap(node)
        if isinstance(node, Range):
            ends = self._reference_times(node.selector, steps)
            starts = ends - node.range_ms
            samples = self._select(node.selector.matchers, int(starts[0]) + 1, int(ends[-1]))
            return _fresh(samples, starts, ends, node.range_ms)
        if isinstance(node, Subquery):
            return self._subquery(node, steps)
        raise QueryError(f"expected a range vector, got {node.type}", kind="execution")

    # ------------------------------------------------------------ selectors

    def _reference_times(self, node: Selector | Subquery, steps: Steps) -> NDArray[np.int64]:
        """For every step the time that the selector is asked for, `@` and offset applied."""
        if node.at is None:
            return steps.times() - node.offset_ms
        return np.full(steps.count, node.at.resolve(self.start_ms, self.end_ms) - node.offset_ms, dtype=np.int64)

    def _select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> Samples:
        key = (matchers, start_ms, end_ms)
        found = self._selected.get(key)
        if found is None:
            if all(matcher.op == "=" and not matcher.value for matcher in matchers):
                raise QueryError("vector selector must contain at least one non-empty matcher")
            found = self.source.select(matchers, start_ms, end_ms)
            if len(found) > self.limits.max_series:
                raise LimitExceeded(
                    f"a selector gives {len(found)} series, the limit is {self.limits.max_series}: narrow it by more "
                    "labels, or raise query.max_series", limit="query.max_series",
                )
            self.count(len(found.values))
            self._selected[key] = found
        return found

    def _selector(self, node: Selector, steps: Steps) -> Block:
        times = self._reference_times(node, steps)
        samples = self._select(node.matchers, int(times[0]) - self.lookback_ms + 1, int(times[-1]))
        if not len(samples):
            return empty_block(steps.count)
        shape = (len(samples), steps.count)
        self.count(shape[0] * shape[1])
        out, present = np.empty(shape), np.empty(shape, dtype=np.bool_)
        sampled_at = np.empty(shape, dtype=np.int64)
        stamps, values, offsets = _columns(samples)
        look_back(stamps, values, values.view(np.uint64), offsets, times, self.lookback_ms, out, present, sampled_at)
        block = Block(samples.labels, out, present, sampled_at)
        return block.without_empty()

    def _subquery(self, node: Subquery, steps: Steps) -> Windows:
        ends = self._reference_times(node, steps)
        starts = ends - node.range_ms
        step_ms = node.step_ms or self.limits.default_step_ms
        first = (int(starts[0]) // step_ms + 1) * step_ms
        count = (int(ends[-1]) - first) // step_ms + 1
        if count <= 0:
            nothing = np.zeros(1, dtype=np.int64)
            return Windows((), nothing, nothing[:0], np.empty(0), starts, ends, node.range_ms)
        inner = Steps(first, step_ms, count)
        self.count(count)
        block = self.vector(node.expr, inner)
        total = int(block.present.sum())
        self.count(total)
        stamps, values = np.empty(total, dtype=np.int64), np.empty(total)
        offsets = np.zeros(len(block) + 1, dtype=np.int64)
        as_samples(inner.times(), np.ascontiguousarray(block.values), np.ascontiguousarray(block.present), stamps,
                   values, offsets)
        return Windows(block.labels, offsets, stamps, values, starts, ends, node.range_ms)

    # ------------------------------------------------------------ operators

    def _aggregate(self, node: Aggregate, steps: Steps) -> Block:
        block = self.vector(unwrap(node.expr), steps)
        if node.op in aggregate.FOLDS:
            return aggregate.fold(node, block, self.names)
        assert node.param is not None
        if node.op == "count_values":
            return aggregate.count_values(node, self.string(node.param), block)
        param = self.scalar(node.param, steps)
        if node.op == "quantile":
            self.warn_of_quantiles(param, node.param.span)
            return aggregate.quantile(node, param, block, self.names)
        if node.op in {"topk", "bottomk", "limitk"}:
            return aggregate.choose(node, param, block, self.names)
        raise QueryError(f"aggregation {node.op} is experimental in Prometheus and not supported here")

    def _binary(self, node: Binary, steps: Steps) -> Block:
        if node.rhs.type == "scalar":
            return operators.vector_scalar(node, self.vector(node.lhs, steps), self.scalar(node.rhs, steps),
                                           self.names, scalar_left=False)
        if node.lhs.type == "scalar":
            return operators.vector_scalar(node, self.vector(node.rhs, steps), self.scalar(node.lhs, steps),
                                           self.names, scalar_left=True)
        return operators.vector_vector(node, self.vector(node.lhs, steps), self.vector(node.rhs, steps), self.names)

    # ------------------------------------------------------------ remarks

    def warn(self, said: str, span: Span) -> None:
        """The result may be wrong, because of what stands at `span`."""
        self.warnings[f"PromQL warning: {said} ({place(self.text, span)})"] = None

    def inform(self, said: str, span: Span) -> None:
        """The result may not be what is meant."""
        self.infos[f"PromQL info: {said} ({place(self.text, span)})"] = None

    def warn_of_quantiles(self, q: Column, span: Span) -> None:
        """Say it if one of `q` is no quantile."""
        wrong = q[~((q >= 0) & (q <= 1))]
        if len(wrong):
            self.warn(f"quantile value should be between 0 and 1, got {shortest(float(wrong[0]))}", span)


def _columns(samples: Samples) -> tuple[NDArray[np.int64], Column, NDArray[np.int64]]:
    """The columns as the kernels were compiled for them: contiguous and writable."""
    columns = samples.timestamps, samples.values, samples.offsets
    if all(column.flags.carray for column in columns):
        return columns
    return (
        np.require(columns[0], np.int64, ["C", "W"]), np.require(columns[1], np.float64, ["C", "W"]),
        np.require(columns[2], np.int64, ["C", "W"]),
    )


def _fresh(samples: Samples, starts: NDArray[np.int64], ends: NDArray[np.int64], range_ms: int) -> Windows:
    """Windows over `samples` without their staleness markers."""
    stamps, values, offsets = _columns(samples)
    bits = values.view(np.uint64)
    stale = count_stale(bits)
    if stale:
        kept = len(values) - stale
        new_stamps, new_values, new_offsets = np.empty(kept, np.int64), np.empty(kept), np.empty_like(offsets)
        without_stale(stamps, values, bits, offsets, new_stamps, new_values, new_offsets)
        stamps, values, offsets = new_stamps, new_values, new_offsets
    return Windows(samples.labels, offsets, stamps, values, starts, ends, range_ms)

