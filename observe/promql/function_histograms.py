"""``histogram_quantile`` and ``histogram_fraction`` over classic buckets (series with the label ``le``)."""

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from observe.model import Labels
from observe.promql import histogram_kernels as kernels
from observe.promql.ast import Call, Span
from observe.promql.vectors import Block, Steps, merged

if TYPE_CHECKING:
    from observe.promql.evaluate import Evaluation

_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity)", re.IGNORECASE)


class _Bucket(NamedTuple):
    histogram: Labels
    """The series without `le`: which histogram it is part of."""
    upper: float
    """NaN where `le` is not a number."""


def _bucket(labels: Labels) -> _Bucket:
    text = labels.get("le", "")
    upper = float(text) if _FLOAT.fullmatch(text) else math.nan
    return _Bucket(labels.without("le"), upper)


class _Histograms(NamedTuple):
    labels: tuple[Labels, ...]
    """[H], without the metric name."""
    uppers: NDArray[np.float64]
    """[B] ascending inside each histogram."""
    rows: NDArray[np.int64]
    """[B] the row of each bucket."""
    offsets: NDArray[np.int64]
    """[H + 1]."""


def _histograms(ev: "Evaluation", block: Block, span: Span) -> _Histograms:
    buckets = ev.names.derived("bucket", _bucket)(block.labels)
    order: dict[Labels, int] = {}
    found: list[tuple[int, float, int]] = []
    for row, bucket in enumerate(buckets):
        if math.isnan(bucket.upper):
            if block.present[row].any():
                name = block.labels[row].name
                ev.warn(f'bucket label "le" is missing or has a malformed value of "{block.labels[row].get("le", "")}"'
                        + (f' for metric name "{name}"' if name else ""), span)
            continue
        found.append((order.setdefault(bucket.histogram, len(order)), bucket.upper, row))
    found.sort()
    number = np.array([each[0] for each in found], dtype=np.int64)
    return _Histograms(
        ev.names.nameless(tuple(order)), np.array([each[1] for each in found], dtype=np.float64),
        np.array([each[2] for each in found], dtype=np.int64),
        np.searchsorted(number, np.arange(len(order) + 1)).astype(np.int64),
    )


def histogram_quantile(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    q = ev.scalar(call.args[0], steps)
    block = ev.vector(call.args[1], steps)
    ev.warn_of_quantiles(q, call.args[0].span)
    found = _histograms(ev, block, call.args[1].span)
    shape = (len(found.labels), steps.count)
    out, seen = np.empty(shape), np.empty(shape, dtype=np.bool_)
    repaired = kernels.bucket_quantiles(q, found.uppers, found.rows, found.offsets,
                                        np.ascontiguousarray(block.values), np.ascontiguousarray(block.present),
                                        out, seen)
    if repaired:
        ev.inform(f"input to histogram_quantile needed to be fixed for monotonicity in {repaired} results: counts of "
                  "buckets must not decrease as their bounds increase", call.args[1].span)
    return merged(Block(found.labels, out, seen))


def histogram_fraction(ev: "Evaluation", call: Call, steps: Steps) -> Block:
    low, high = ev.scalar(call.args[0], steps), ev.scalar(call.args[1], steps)
    block = ev.vector(call.args[2], steps)
    found = _histograms(ev, block, call.args[2].span)
    shape = (len(found.labels), steps.count)
    out, seen = np.empty(shape), np.empty(shape, dtype=np.bool_)
    kernels.bucket_fractions(low, high, found.uppers, found.rows, found.offsets, np.ascontiguousarray(block.values),
                             np.ascontiguousarray(block.present), out, seen)
    return merged(Block(found.labels, out, seen))
