"""What the nodes of an expression evaluate to: columns over all series and all steps at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from observe.errors import QueryError
from observe.model import ABSENT_NAN, Labels
from observe.promql.recent import Recent

SAME_LABELS = "vector cannot contain metrics with the same labelset"
_DISTINCT: Recent[bool] = Recent(200_000)


@dataclass(frozen=True, slots=True)
class Steps:
    """The times an expression is evaluated at: `start_ms`, then every `step_ms`, `count` of them."""

    start_ms: int
    step_ms: int
    count: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.step_ms * (self.count - 1)

    def times(self) -> NDArray[np.int64]:
        """[T]."""
        return self.start_ms + self.step_ms * np.arange(self.count, dtype=np.int64)

    def first(self) -> "Steps":
        return Steps(self.start_ms, self.step_ms, 1)


@dataclass(frozen=True, slots=True)
class Block:
    """An instant vector over steps: one row a series. Values mean something only where `present`."""

    labels: tuple[Labels, ...]
    """[S]."""
    values: NDArray[np.float64]
    """[S, T]."""
    present: NDArray[np.bool_]
    """[S, T]."""
    sampled_at: NDArray[np.int64] | None = None
    """[S, T] for a bare selector: the time of the sample that answered."""

    def __len__(self) -> int:
        return len(self.labels)

    def with_values(self, values: NDArray[np.float64], labels: tuple[Labels, ...] | None = None) -> "Block":
        return Block(self.labels if labels is None else labels, values, self.present)

    def take(self, rows: NDArray[np.intp] | Sequence[int]) -> "Block":
        return Block(tuple(self.labels[row] for row in rows), self.values[rows], self.present[rows])

    def repeated(self, count: int) -> "Block":
        """The one step of this block, `count` times."""
        return Block(self.labels, np.repeat(self.values, count, axis=1), np.repeat(self.present, count, axis=1),
                     None if self.sampled_at is None else np.repeat(self.sampled_at, count, axis=1))

    def without_empty(self) -> "Block":
        """Only the series that have a value somewhere."""
        if not len(self):
            return self
        kept = self.present.any(axis=1)
        if kept.all():
            return self
        rows = np.flatnonzero(kept)
        smaller = self.take(rows)
        if self.sampled_at is None:
            return smaller
        return Block(smaller.labels, smaller.values, smaller.present, self.sampled_at[rows])

    def filled(self) -> NDArray[np.float64]:
        """[S, T] values with `ABSENT_NAN` where there is none."""
        return np.where(self.present, self.values, ABSENT_NAN)


def empty_block(count: int) -> Block:
    return Block((), np.empty((0, count)), np.empty((0, count), dtype=np.bool_))


def _are_distinct(labels: tuple[Labels, ...]) -> bool:
    return _DISTINCT("", labels, lambda names: len(set(names)) == len(names))


def merged(block: Block, *, overlap: str = SAME_LABELS) -> Block:
    """Rows with the same labels as one. Raises `QueryError`, saying `overlap`, if two have a value at the same step."""
    if _are_distinct(block.labels):
        return block
    block = block.without_empty()
    rows: dict[Labels, int] = {}
    target = np.empty(len(block), dtype=np.intp)
    for index, labels in enumerate(block.labels):
        target[index] = rows.setdefault(labels, len(rows))
    if len(rows) == len(block):
        return block
    count = block.values.shape[1]
    values = np.zeros((len(rows), count))
    present = np.zeros((len(rows), count), dtype=np.bool_)
    for index, row in enumerate(target):
        here = block.present[index]
        if (present[row] & here).any():
            raise QueryError(overlap, kind="execution")
        values[row][here] = block.values[index][here]
        present[row] |= here
    return Block(tuple(rows), values, present)


def unique_labels(block: Block) -> Block:
    """`block` unless two of its series that have values are called the same: then `QueryError`."""
    if _are_distinct(block.labels):
        return block
    block = block.without_empty()
    if len(set(block.labels)) != len(block.labels):
        raise QueryError(SAME_LABELS, kind="execution")
    return block


@dataclass(frozen=True, slots=True)
class Windows:
    """A range vector over steps: raw samples and, for every step, which of them it sees: ``starts < t <= ends``."""

    labels: tuple[Labels, ...]
    offsets: NDArray[np.int64]
    """[S + 1]."""
    timestamps: NDArray[np.int64]
    values: NDArray[np.float64]
    """[total], staleness markers left out."""
    starts: NDArray[np.int64]
    """[T] ms, ascending, exclusive."""
    ends: NDArray[np.int64]
    """[T] ms, ascending, inclusive."""
    range_ms: int

    def __len__(self) -> int:
        return len(self.labels)
