"""The PromQL engine over a `SampleSource`: what rules, boards, the API and the command line ask."""

import threading
from functools import lru_cache
from typing import Final

import numpy as np

from observe.clock import Clock, SystemClock
from observe.errors import QueryError
from observe.model import Labels, Matrix, Samples, Vector
from observe.promql.ast import Aggregate, Call, Expr, Selector, children, unwrap
from observe.promql.diagnose import point_at
from observe.promql.evaluate import Evaluation, QueryLimits
from observe.promql.functions import FUNCTIONS
from observe.promql.names import EMPTY, NameCache, valid_text
from observe.promql.parse import parse
from observe.promql.result import Answer, Cost, Scalar, Text, Value
from observe.promql.vectors import Block, Steps, Windows
from observe.protocols import SampleSource

_UNSUPPORTED_AGGREGATIONS: Final = frozenset({"limit_ratio"})


class Engine:
    """Evaluates expressions. Safe from any thread; one evaluation runs in the thread that asks."""

    def __init__(
        self, source: SampleSource, settings: QueryLimits | None = None, clock: Clock | None = None,
    ) -> None:
        self.limits = settings or QueryLimits()
        self._source = source
        self._clock = clock or SystemClock()
        self._names = NameCache()

    # ------------------------------------------------------------ protocols.QueryEngine

    def instant(self, expr: str, time_ms: int) -> Vector:
        """The value at one time; a scalar as one series without labels. What a rule evaluates."""
        value = self.query(expr, time_ms)
        if isinstance(value, Scalar):
            at = np.array([time_ms], dtype=np.int64)
            return Vector(time_ms, (EMPTY,), np.array([value.value]), at)
        if not isinstance(value, Vector):
            raise QueryError("rule result is not a vector or scalar", kind="bad_data")
        return value

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        value = self.evaluate_range(expr, start_ms, end_ms, step_ms).value
        assert isinstance(value, Matrix)
        return value

    def check(self, expr: str) -> None:
        """Raise `QueryError` if `expr` cannot be evaluated here."""
        _prepared(expr)

    # ------------------------------------------------------------ all there is to say

    def query(self, expr: str, time_ms: int) -> Value:
        """The value of an instant query, of any type."""
        return self.evaluate_instant(expr, time_ms).value

    def evaluate_instant(
        self, expr: str, time_ms: int, *, cancel: threading.Event | None = None, timeout_s: float | None = None,
        lookback_ms: int | None = None,
    ) -> Answer:
        """An instant query of any type, and the remarks about it."""
        began = self._clock.monotonic()
        tree = _prepared(expr)
        run = self._evaluation(expr, time_ms, time_ms, cancel, timeout_s, lookback_ms)
        with np.errstate(all="ignore"):
            value = _instant_value(run, tree, time_ms)
        return self._answer(value, run, began)

    def evaluate_range(
        self, expr: str, start_ms: int, end_ms: int, step_ms: int, *, cancel: threading.Event | None = None,
        timeout_s: float | None = None, lookback_ms: int | None = None,
    ) -> Answer:
        """A range query: `expr` at `start_ms`, then every `step_ms` up to `end_ms`; series ordered by labels."""
        if step_ms <= 0:
            raise QueryError("zero or negative query resolution step widths are not accepted. Try a positive integer")
        if end_ms < start_ms:
            raise QueryError("end timestamp must not be before start time")
        steps = Steps(start_ms, step_ms, (end_ms - start_ms) // step_ms + 1)
        if steps.count - 1 > self.limits.max_steps:  # as Prometheus counts: the steps after the first
            raise QueryError(
                f"exceeded maximum resolution of {self.limits.max_steps:,} points per timeseries. Try decreasing the "
                "query resolution (?step=XX)")
        began = self._clock.monotonic()
        tree = _prepared(expr)
        if tree.type not in {"vector", "scalar"}:
            kinds = {"matrix": "range vector", "string": "string"}
            raise QueryError(f'invalid expression type "{kinds[tree.type]}" for range query, must be Scalar or '
                             "instant Vector")
        run = self._evaluation(expr, start_ms, end_ms, cancel, timeout_s, lookback_ms)
        with np.errstate(all="ignore"):
            if tree.type == "scalar":
                values = run.scalar(tree, steps)[None, :]
                matrix = Matrix(steps.times(), (EMPTY,), values)
            else:
                matrix = _matrix(run.vector(tree, steps).without_empty(), steps, self._names)
        return self._answer(matrix, run, began)

    def _answer(self, value: Value, run: Evaluation, began: float) -> Answer:
        """`began`: when it was asked, in monotonic seconds; reading the expression came before `run`."""
        cost = Cost(run.samples, run.began - began, self._clock.monotonic() - run.began)
        return Answer(value, tuple(run.warnings), tuple(run.infos), cost)

    def _evaluation(
        self, text: str, start_ms: int, end_ms: int, cancel: threading.Event | None, timeout_s: float | None,
        lookback_ms: int | None,
    ) -> Evaluation:
        limit_s = self.limits.timeout_s if timeout_s is None else min(timeout_s, self.limits.timeout_s)
        now = self._clock.monotonic()
        return Evaluation(
            self._source, self.limits, self._clock, self._names, text, start_ms, end_ms, now, now + limit_s, cancel,
            lookback_ms=lookback_ms or self.limits.lookback_ms,
        )


@lru_cache(maxsize=2048)
def _prepared(text: str) -> Expr:
    """The tree of an expression that can be evaluated here."""
    tree = parse(text)
    _check_supported(text, tree)
    return tree


def _check_supported(text: str, node: Expr) -> None:
    """The grammar knows more functions than are here: say so before anything is read."""
    if isinstance(node, Call) and node.function not in FUNCTIONS:
        raise QueryError(point_at(text, node.span, f"function {node.function} is not supported",
                                  why="it is behind a feature flag in Prometheus, or needs native histograms"))
    if isinstance(node, Aggregate) and node.op in _UNSUPPORTED_AGGREGATIONS:
        raise QueryError(point_at(text, node.span, f"aggregation {node.op} is not supported",
                                  why="it is behind a feature flag in Prometheus"))
    for child in children(node):
        _check_supported(text, child)


def _instant_value(run: Evaluation, tree: Expr, time_ms: int) -> Value:
    steps = Steps(time_ms, 1, 1)
    match tree.type:
        case "string":
            return Text(time_ms, valid_text(run.string(tree)))
        case "scalar":
            return Scalar(time_ms, float(run.scalar(tree, steps)[0]))
        case "matrix":
            return _raw(run.windows(tree, steps))
    return _vector(run.vector(tree, steps).without_empty(), time_ms, bare=isinstance(unwrap(tree), Selector))


def _vector(block: Block, time_ms: int, *, bare: bool) -> Vector:
    if bare and block.sampled_at is not None:
        sampled_at = np.ascontiguousarray(block.sampled_at[:, 0])
    else:
        sampled_at = np.full(len(block), time_ms, dtype=np.int64)
    return Vector(time_ms, block.labels, np.ascontiguousarray(block.values[:, 0]), sampled_at)


def _matrix(block: Block, steps: Steps, names: NameCache) -> Matrix:
    rows = names.order(block.labels)
    if rows is not None:
        block = block.take(rows)
    return Matrix(steps.times(), block.labels, block.values if block.present.all() else block.filled())


def _raw(windows: Windows) -> Samples:
    """The samples that one window sees, series without any left out."""
    start, end = windows.starts[0], windows.ends[0]
    labels: list[Labels] = []
    slices: list[slice] = []
    for row, name in enumerate(windows.labels):
        begin, stop = windows.offsets[row], windows.offsets[row + 1]
        stamps = windows.timestamps[begin:stop]
        low, high = begin + np.searchsorted(stamps, start, "right"), begin + np.searchsorted(stamps, end, "right")
        if high > low:
            labels.append(name)
            slices.append(slice(int(low), int(high)))
    offsets = np.zeros(len(labels) + 1, dtype=np.int64)
    offsets[1:] = np.cumsum([part.stop - part.start for part in slices])
    order = sorted(range(len(labels)), key=[name.pairs for name in labels].__getitem__)
    offsets[1:] = np.cumsum([slices[row].stop - slices[row].start for row in order])
    return Samples(
        tuple(labels[row] for row in order), offsets,
        np.concatenate([windows.timestamps[slices[row]] for row in order]) if order else np.empty(0, dtype=np.int64),
        np.concatenate([windows.values[slices[row]] for row in order]) if order else np.empty(0),
    )
