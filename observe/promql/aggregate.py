"""Aggregations: a block folded into one row a group, or the rows of each group that are chosen."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.errors import QueryError
from observe.model import Labels
from observe.promql import group_kernels as kernels
from observe.promql.ast import Aggregate
from observe.promql.names import NameCache, group_function, numbered, valid_label_name
from observe.promql.numbers import shortest
from observe.promql.vectors import Block, empty_block, merged

FOLDS: Final = {
    "sum": kernels.SUM, "avg": kernels.AVG, "count": kernels.COUNT, "min": kernels.MIN, "max": kernels.MAX,
    "group": kernels.GROUP, "stddev": kernels.STDDEV, "stdvar": kernels.STDVAR,
}
DOCS: Final = {
    "sum": "the sum, compensated so that the order of the series does not show",
    "avg": "the arithmetic mean; does not overflow where the sum would",
    "count": "how many series have a value",
    "min": "the least value; NaN only if all are",
    "max": "the greatest value; NaN only if all are",
    "group": "1 for every group that has a series",
    "stddev": "the standard deviation of the population",
    "stdvar": "the variance of the population",
    "topk": "`topk(k, v)`: the k greatest of each group, with all their labels; NaN last",
    "bottomk": "`bottomk(k, v)`: the k least of each group, with all their labels; NaN last",
    "limitk": "`limitk(k, v)`: k series of each group (experimental in Prometheus)",
    "quantile": "`quantile(φ, v)`: the φ-quantile over the series of each group, interpolated",
    "count_values": '`count_values("label", v)`: how many series have each value, the value as a label',
}


def grouped(node: Aggregate, block: Block, names: NameCache) -> tuple[NDArray[np.int64], tuple[Labels, ...]]:
    """The group of each row, and the labels of each group."""
    return names.grouped(block.labels, tuple(sorted(node.grouping)), node.without)


def _members(group: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows ordered by group, and where each group begins."""
    members = np.argsort(group, kind="stable").astype(np.int64)
    bounds = np.searchsorted(group[members], np.arange(count + 1)).astype(np.int64)
    return members, bounds


def fold(node: Aggregate, block: Block, names: NameCache) -> Block:
    """sum, avg, count, min, max, group, stddev, stdvar."""
    group, labels = grouped(node, block, names)
    shape = (len(labels), block.values.shape[1])
    out, seen = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    kernels.folded(FOLDS[node.op], np.ascontiguousarray(block.values), np.ascontiguousarray(block.present), group,
                   out, seen)
    return Block(labels, out, seen)


def quantile(node: Aggregate, q: NDArray[np.float64], block: Block, names: NameCache) -> Block:
    group, labels = grouped(node, block, names)
    members, bounds = _members(group, len(labels))
    shape = (len(labels), block.values.shape[1])
    out, seen = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    kernels.quantiles(q, np.ascontiguousarray(block.values), np.ascontiguousarray(block.present), members, bounds,
                      out, seen)
    return Block(labels, out, seen)


def choose(node: Aggregate, k: NDArray[np.float64], block: Block, names: NameCache) -> Block:
    """topk, bottomk and limitk. At one step the rows come in their order."""
    if not np.isnan(k).any() and k.max() < 1:
        return empty_block(block.values.shape[1])
    if np.isnan(k).any():
        raise QueryError("Parameter value is NaN", kind="execution")
    if (least := float(k.min())) <= -(2.0**63):
        raise QueryError(f"Scalar value {shortest(least)} underflows int64", kind="execution")
    if (greatest := float(k.max())) >= 2.0**63:
        raise QueryError(f"Scalar value {shortest(greatest)} overflows int64", kind="execution")
    group, labels = grouped(node, block, names)
    members, bounds = _members(group, len(labels))
    keep, order = np.zeros(block.values.shape, dtype=np.bool_), np.zeros(len(block), dtype=np.int64)
    ranked = np.zeros_like(block.values) if node.op == "limitk" else np.ascontiguousarray(block.values)
    listed = kernels.chosen(np.clip(k, 0, len(block)).astype(np.int64), node.op == "topk", ranked,
                            np.ascontiguousarray(block.present), members, bounds, keep, order)
    if block.values.shape[1] == 1:
        return block.take(order[:listed])
    return Block(block.labels, block.values, keep).without_empty()


def count_values(node: Aggregate, label: str, block: Block) -> Block:
    """One row for each group and value, the value written into `label`."""
    if not valid_label_name(label):
        raise QueryError(f'invalid label name "{label}"', kind="execution")
    count = block.values.shape[1]
    rows, steps = np.nonzero(block.present)
    if not len(rows):
        return empty_block(count)
    bits = block.values[rows, steps].view(np.uint64)  # as bits: -0 is another text than 0
    known, value_of = np.unique(bits, return_inverse=True)
    distinct, width = known.view(np.float64), len(known)
    keys, row_of = np.unique(rows.astype(np.int64) * width + value_of, return_inverse=True)
    grouping = node.grouping if node.without else (*node.grouping, label)
    function = group_function(grouping, node.without)
    texts = [shortest(float(value)) for value in distinct]
    named = [function(block.labels[key // width].updated({label: texts[key % width]})) for key in keys.tolist()]
    numbers, labels = numbered(named)
    counts = np.zeros((len(labels), count))
    np.add.at(counts, (np.array(numbers, dtype=np.intp)[row_of], steps), 1.0)
    return merged(Block(tuple(labels), counts, counts > 0))

