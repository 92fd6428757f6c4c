"""Functions over range vectors: which kernel, which arguments, what they say."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from observe.errors import QueryError
from observe.model import METRIC_NAME, Labels
from observe.promql import rate_kernels
from observe.promql import window_kernels as kernels
from observe.promql.ast import Call, Expr, Range, Selector, unwrap
from observe.promql.numbers import shortest
from observe.promql.vectors import Block, Steps, Windows, unique_labels

if TYPE_CHECKING:
    from observe.promql.evaluate import Evaluation

Run = Callable[["Evaluation", Call, Steps], Block]
_COUNTER_ENDINGS: Final = ("_total", "_sum", "_count", "_bucket")
_NO_PARAM = np.zeros(0)


def _finished(ev: "Evaluation", windows: Windows, out: NDArray[np.float64], present: NDArray[np.bool_],
              *, keep_name: bool = False) -> Block:
    labels = windows.labels if keep_name else ev.names.nameless(windows.labels)
    return unique_labels(Block(labels, out, present)).without_empty()


def _room(ev: "Evaluation", windows: Windows, steps: Steps) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    shape = (len(windows), steps.count)
    ev.count(shape[0] * shape[1])
    return np.empty(shape), np.empty(shape, dtype=np.bool_)


def extrapolated(op: int) -> Run:
    """rate, increase, delta."""

    def run(ev: "Evaluation", call: Call, steps: Steps) -> Block:
        windows = ev.windows(call.args[0], steps)
        out, present = _room(ev, windows, steps)
        ev.portions(windows.offsets, steps.count, lambda first, last: rate_kernels.extrapolated(
            op, windows.timestamps, windows.values, windows.offsets, windows.starts, windows.ends,
            windows.range_ms / 1000, first, last, out, present))
        if op != rate_kernels.DELTA:
            _look_at_name(ev, call.args[0], windows)
        return _finished(ev, windows, out, present)

    return run


def _look_at_name(ev: "Evaluation", arg: Expr, windows: Windows) -> None:
    """A rate of what does not look like a counter may not be meant."""
    arg = unwrap(arg)
    names = {labels.name for labels in windows.labels[:1]}
    if isinstance(arg, Range) and not arg.selector.name:
        names = {labels.name for labels in windows.labels}
    for name in sorted(names):
        if name and not name.endswith(_COUNTER_ENDINGS):
            ev.inform(f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"',
                      arg.span)


def sliding(kernel: Callable[..., None], op: int) -> Run:
    """sum_over_time, avg_over_time, min_over_time, max_over_time: kernels that move on, not start anew."""

    def run(ev: "Evaluation", call: Call, steps: Steps) -> Block:
        windows = ev.windows(call.args[0], steps)
        out, present = _room(ev, windows, steps)
        ev.portions(windows.offsets, steps.count, lambda first, last: kernel(
            op, windows.timestamps, windows.values, windows.offsets, windows.starts, windows.ends, first, last,
            out, present))
        return _finished(ev, windows, out, present)

    return run


def _reduce(ev: "Evaluation", op: int, windows: Windows, steps: Steps, p0: NDArray[np.float64] = _NO_PARAM,
            p1: NDArray[np.float64] = _NO_PARAM, *, keep_name: bool = False) -> Block:
    out, present = _room(ev, windows, steps)
    times = steps.times()
    ev.portions(windows.offsets, steps.count, lambda first, last: kernels.reduced(
        op, windows.timestamps, windows.values, windows.offsets, windows.starts, windows.ends, times, p0, p1,
        first, last, out, present))
    return _finished(ev, windows, out, present, keep_name=keep_name)


def reduced(op: int, *, keep_name: bool = False) -> Run:
    """Functions of the window alone."""

    def run(ev: "Evaluation", call: Call, steps: Steps) -> Block:
        return _reduce(ev, op, ev.windows(call.args[0], steps), steps, keep_name=keep_name)

    return run


def predict_linear(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    ahead_s = ev.scalar(call.args[1], steps)
    return _reduce(ev, kernels.PREDICT, ev.windows(call.args[0], steps), steps, ahead_s)


def double_exponential_smoothing(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    factors = []
    for arg, name, letter in zip(call.args[1:], ("smoothing", "trend"), ("sf", "tf"), strict=True):
        factor = ev.scalar(arg, steps)
        wrong = factor[~((factor > 0) & (factor < 1))]
        if len(wrong):
            raise QueryError(f"invalid {name} factor. Expected: 0 < {letter} < 1, got: {shortest(float(wrong[0]))}",
                             kind="execution")
        factors.append(factor)
    return _reduce(ev, kernels.SMOOTH, ev.windows(call.args[0], steps), steps, *factors)


def quantile_over_time(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    q = ev.scalar(call.args[0], steps)
    windows = ev.windows(call.args[1], steps)
    if len(windows):
        ev.warn_of_quantiles(q, call.args[0].span)
    return _reduce(ev, kernels.QUANTILE, windows, steps, q)


def absent_over_time(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    windows = ev.windows(call.args[0], steps)
    out, present = _room(ev, windows, steps)
    times = steps.times()
    ev.portions(windows.offsets, steps.count, lambda first, last: kernels.reduced(
        kernels.PRESENT, windows.timestamps, windows.values, windows.offsets, windows.starts, windows.ends, times,
        _NO_PARAM, _NO_PARAM, first, last, out, present))
    return absence(call.args[0], present, steps)


def absence(arg: Expr, present: NDArray[np.bool_], steps: Steps) -> Block:
    """1 at every step where none of the rows of `present` [S, T] has a value, with the labels that `arg` asks for."""
    missing = np.ones((1, steps.count), dtype=np.bool_)
    if len(present):
        missing[0] = ~present.any(axis=0)
    return Block((_asked_labels(arg),), np.ones((1, steps.count)), missing).without_empty()


def _asked_labels(arg: Expr) -> Labels:
    """Labels that a selector fixes by one ``=`` each."""
    arg = unwrap(arg)
    selector = arg.selector if isinstance(arg, Range) else arg
    if not isinstance(selector, Selector):
        return Labels()
    fixed: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in selector.matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op == "=" and matcher.name not in seen:
            fixed[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            fixed.pop(matcher.name, None)
    return Labels(fixed)
