"""Label sets derived from label sets, each computed once.

A rule or a board asks for the same series again and again; making a `Labels` costs as much as evaluating a hundred
samples. The stores hand out the same objects each time, so a dictionary finds what was derived from them.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from observe.model import METRIC_NAME, Labels
from observe.promql.recent import Recent

MAX_DERIVED = 400_000
"""Derived label sets kept in all; beyond them all are forgotten."""
_RECENT = 200_000
"""Label sets of tuples whose derivations are remembered as a whole."""
MAX_FUNCTIONS = 1_000
"""Functions remembered: groupings, replacements and the like that expressions name."""
EMPTY = Labels()

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Derived(Generic[V]):
    """A function of one label set, remembered."""

    __slots__ = ("_cache", "_function", "known")

    def __init__(self, function: Callable[[Labels], V], cache: "NameCache") -> None:
        self._function = function
        self._cache = cache
        self.known: dict[Labels, V] = {}

    def __call__(self, labels: tuple[Labels, ...]) -> list[V]:
        """The function's value for each of `labels`."""
        known = self.known
        try:
            return [known[one] for one in labels]
        except KeyError:
            pass
        before, values = len(known), []
        for one in labels:
            value = known.get(one)
            if value is None:
                value = known[one] = self._function(one)
            values.append(value)
        self._cache.grown(len(known) - before)
        return values


class NameCache:
    """All derivations of one engine, bounded together. Safe from any thread: a race only computes twice."""

    def __init__(self, limit: int = MAX_DERIVED) -> None:
        self._limit = limit
        self._kept = 0
        self._derived: dict[Hashable, Derived[object]] = {}
        self._groups: dict[Labels, Labels] = {}
        self._nameless: Recent[tuple[Labels, ...]] = Recent(_RECENT)
        self._numbered: Recent[tuple[NDArray[np.int64], tuple[Labels, ...]]] = Recent(_RECENT)
        self._orders: Recent[list[int] | None] = Recent(_RECENT)

    def derived(self, key: Hashable, function: Callable[[Labels], V]) -> Derived[V]:
        """The remembered `function`, which `key` names."""
        found = self._derived.get(key)
        if found is None:
            found = Derived(function, self)
            if len(self._derived) >= MAX_FUNCTIONS:
                self.grown(self._limit)
            self._derived[key] = found
        return found  # type: ignore[return-value]

    def grown(self, count: int) -> None:
        """So many more values are kept; beyond the limit all are forgotten."""
        self._kept += count
        if self._kept > self._limit:
            self._derived.clear()
            self._groups.clear()
            self._kept = 0

    def nameless(self, labels: tuple[Labels, ...]) -> tuple[Labels, ...]:
        """The labels without the metric name."""
        return self._nameless("", labels, lambda names: tuple(self.derived("nameless", _nameless)(names)))

    def grouped(
        self, labels: tuple[Labels, ...], grouping: tuple[str, ...], without: bool,
    ) -> tuple[NDArray[np.int64], tuple[Labels, ...]]:
        """The number of the group of each, and the groups in the order of their numbers. Not to be written to."""

        def number(names: tuple[Labels, ...]) -> tuple[NDArray[np.int64], tuple[Labels, ...]]:
            numbers, distinct = numbered(self.groups(names, grouping, without))
            return np.array(numbers, dtype=np.int64), tuple(distinct)

        return self._numbered((grouping, without), labels, number)

    def order(self, labels: tuple[Labels, ...]) -> list[int] | None:
        """The rows ordered by their labels; None where they are in order."""
        return self._orders("", labels, _order)

    def groups(self, labels: tuple[Labels, ...], grouping: tuple[str, ...], without: bool) -> list[Labels]:
        """The group of an aggregation that each belongs to."""
        if not without and not grouping:
            return [EMPTY] * len(labels)
        function = group_function(grouping, without)
        groups = self._groups

        def one_object(labels: Labels) -> Labels:
            # Equal groups are the same object, so that counting them compares no labels.
            group = function(labels)
            return groups.setdefault(group, group)

        return self.derived(("group", without, grouping), one_object)(labels)


def _order(labels: tuple[Labels, ...]) -> list[int] | None:
    rows = sorted(range(len(labels)), key=[one.pairs for one in labels].__getitem__)
    return None if rows == list(range(len(labels))) else rows


def _nameless(labels: Labels) -> Labels:
    return labels.without(METRIC_NAME) if METRIC_NAME in labels else labels


def group_function(grouping: tuple[str, ...], without: bool) -> Callable[[Labels], Labels]:
    """``by (grouping)`` or ``without (grouping)`` as a function of one label set."""
    if without:
        left_out = (*grouping, METRIC_NAME)
        return lambda labels: labels.without(*left_out)
    wanted = frozenset(grouping)
    return lambda labels: labels.only(wanted)


def valid_label_name(name: str) -> bool:
    """Any UTF-8 text but the empty one; bytes that are none came in as lone surrogates."""
    return bool(name) and not any("\ud800" <= char <= "\udfff" for char in name)


def valid_text(text: str) -> str:
    """`text` with bytes that are no UTF-8 replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def numbered(names: list[K]) -> tuple[list[int], list[K]]:
    """Names as numbers in the order of first appearance, and the distinct names."""
    order: dict[K, int] = {}
    numbers = [order.setdefault(name, len(order)) for name in names]
    return numbers, list(order)
