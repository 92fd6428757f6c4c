"""Binary operators: on scalars, on a vector and a scalar, on two vectors that find each other by their labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.errors import QueryError
from observe.model import METRIC_NAME, Labels
from observe.promql.ast import Binary, Matching
from observe.promql.group_kernels import any_of_group
from observe.promql.names import NameCache, numbered
from observe.promql.printer import quoted
from observe.promql.vectors import Block, merged

ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power, "atan2": np.arctan2,
}
COMPARISONS: Final[dict[str, Callable[..., Any]]] = {
    "==": np.equal, "!=": np.not_equal, ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal,
}
SETS: Final = frozenset({"and", "or", "unless"})

Scalars = NDArray[np.float64]


def scalar_scalar(op: str, lhs: Scalars, rhs: Scalars) -> Scalars:
    """[T] and [T] to [T]; a comparison gives 1 or 0."""
    result: Scalars = (ARITHMETIC.get(op) or COMPARISONS[op])(lhs, rhs).astype(np.float64)
    return result


def vector_scalar(node: Binary, vector: Block, scalar: Scalars, names: NameCache, *, scalar_left: bool) -> Block:
    """A block and a [T] scalar. Comparisons keep the vector's value, whichever side it is on."""
    sides = (scalar, vector.values) if scalar_left else (vector.values, scalar)
    if node.op in ARITHMETIC:
        return merged(Block(names.nameless(vector.labels), ARITHMETIC[node.op](*sides), vector.present))
    kept = COMPARISONS[node.op](*sides)
    if node.return_bool:
        return merged(Block(names.nameless(vector.labels), kept.astype(np.float64), vector.present))
    return Block(vector.labels, vector.values, vector.present & kept)


def vector_vector(node: Binary, lhs: Block, rhs: Block, names: NameCache) -> Block:
    """Two blocks, joined by their labels."""
    matching = node.matching or Matching()
    if node.op in SETS:
        return _set_operation(node.op, matching, lhs, rhs, names)
    many, one = (rhs, lhs) if matching.group == "right" else (lhs, rhs)
    pairs = _paired(matching, many, one, names)
    present = many.present[pairs.many] & one.present[pairs.one]
    left, right = many.values[pairs.many], one.values[pairs.one]
    if matching.group == "right":
        left, right = right, left
    labels = _result_labels(node, matching, many, one, pairs, names)
    _check_unique(matching, labels, pairs, present)
    if node.op in ARITHMETIC:
        return merged(Block(labels, ARITHMETIC[node.op](left, right), present))
    kept = COMPARISONS[node.op](left, right)
    if node.return_bool:
        return merged(Block(labels, kept.astype(np.float64), present))
    return merged(Block(labels, left, present & kept))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows that belong together, [P] each, and the number of what they have in common."""

    many: NDArray[np.intp]
    one: NDArray[np.intp]
    signature: NDArray[np.int64]


def _signatures(matching: Matching, block: Block, names: NameCache) -> list[Labels]:
    return names.groups(block.labels, tuple(sorted(matching.labels)), not matching.on)


def _paired(matching: Matching, many: Block, one: Block, names: NameCache) -> _Pairs:
    of_many, of_one = _signatures(matching, many, names), _signatures(matching, one, names)
    rows: dict[Labels, list[int]] = {}
    for row, signature in enumerate(of_one):
        rows.setdefault(signature, []).append(row)
    if len(rows) < len(of_one):
        _check_one_side(matching, many, one, of_one)
    numbers, _ = numbered(of_many)
    found = [
        (row, other, number)
        for row, (signature, number) in enumerate(zip(of_many, numbers, strict=True))
        for other in rows.get(signature, ())
    ]
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    return _Pairs(table[:, 0].astype(np.intp), table[:, 1].astype(np.intp), np.ascontiguousarray(table[:, 2]))


def _counted(present: NDArray[np.bool_], group: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    counts = np.zeros((groups, present.shape[1]), dtype=np.int64)
    any_of_group(np.ascontiguousarray(present), group, counts)
    return counts


def _check_one_side(matching: Matching, many: Block, one: Block, signatures: list[Labels]) -> None:
    numbers, distinct = numbered(signatures)
    counts = _counted(one.present, np.array(numbers, dtype=np.int64), len(distinct))
    wrong = np.argwhere((counts > 1) & many.present.any(axis=0))
    if not len(wrong):
        return
    group, step = wrong[0]
    culprits = sorted(
        _braced(labels) for row, labels in enumerate(one.labels) if numbers[row] == group and one.present[row, step]
    )
    side = "left" if matching.group == "right" else "right"
    raise QueryError(
        f"found duplicate series for the match group {_braced(distinct[group])} on the {side} hand-side of the "
        f"operation: [{culprits[0]}, {culprits[1]}];many-to-many matching not allowed: matching labels must be unique "
        "on one side", kind="execution",
    )


def _braced(labels: Labels) -> str:
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in labels.pairs) + "}"


def _result_labels(
    node: Binary, matching: Matching, many: Block, one: Block, pairs: _Pairs, names: NameCache,
) -> tuple[Labels, ...]:
    drop_name = node.op in ARITHMETIC or node.return_bool
    base = tuple(many.labels[row] for row in pairs.many)
    if not matching.group:
        key = ("result", drop_name, matching.on, matching.labels)
        return tuple(names.derived(key, _one_to_one(matching, drop_name))(base))
    if drop_name:
        base = names.nameless(base)
    if not matching.include:
        return base
    others = [one.labels[row] for row in pairs.one]
    return tuple(
        labels.updated({name: other.get(name, "") for name in matching.include})
        for labels, other in zip(base, others, strict=True)
    )


def _one_to_one(matching: Matching, drop_name: bool) -> Callable[[Labels], Labels]:
    def result(labels: Labels) -> Labels:
        left = labels.only(matching.labels) if matching.on else labels.without(*matching.labels)
        return left.without(METRIC_NAME) if drop_name else left

    return result


def _check_unique(
    matching: Matching, labels: tuple[Labels, ...], pairs: _Pairs, present: NDArray[np.bool_],
) -> None:
    """One series each way, or with grouping one result each: before a comparison leaves any out."""
    if matching.group:
        keys, distinct = numbered(list(zip(pairs.signature.tolist(), labels, strict=True)))
        group, count = np.array(keys, dtype=np.int64), len(distinct)
        what = "multiple matches for labels: grouping labels must ensure unique matches"
    else:
        unique, group = np.unique(pairs.signature, return_inverse=True)
        group, count = group.astype(np.int64), len(unique)
        what = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
    if count < len(labels) and (_counted(present, group, count) > 1).any():
        raise QueryError(what, kind="execution")


def _set_operation(op: str, matching: Matching, lhs: Block, rhs: Block, names: NameCache) -> Block:
    numbers, distinct = numbered([*_signatures(matching, lhs, names), *_signatures(matching, rhs, names)])
    group = np.array(numbers, dtype=np.int64)
    of_left, of_right = group[: len(lhs)], group[len(lhs) :]
    if op == "or":
        there = _counted(lhs.present, of_left, len(distinct)) > 0
        added = Block(rhs.labels, rhs.values, rhs.present & ~there[of_right]).without_empty()
        return merged(Block(
            lhs.labels + added.labels, np.concatenate((lhs.values, added.values)),
            np.concatenate((lhs.present, added.present)),
        ))
    there = _counted(rhs.present, of_right, len(distinct)) > 0
    kept = lhs.present & (there[of_left] if op == "and" else ~there[of_left])
    return Block(lhs.labels, lhs.values, kept)
