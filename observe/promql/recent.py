"""What was made of a whole tuple of label sets, remembered while that same tuple comes again.

The store gives the same tuple object for the same selector until a series appears or goes. Whatever an evaluation makes
of the names alone (without the metric name, grouped, as JSON) is then found by one look at the tuple's identity, not
by as many as there are series.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from observe.model import Labels

V = TypeVar("V")

_FEW = 8
"""Tuples this short are not worth a place."""


class Recent(Generic[V]):
    """A memory of so many label sets together, the oldest tuples forgotten first. Safe from any thread."""

    __slots__ = ("_adding", "_kept", "_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = 0
        self._known: dict[tuple[Hashable, int], tuple[tuple[Labels, ...], V]] = {}
        self._adding = threading.Lock()

    def __call__(self, key: Hashable, labels: tuple[Labels, ...], make: Callable[[tuple[Labels, ...]], V]) -> V:
        """``make(labels)``, which `key` names."""
        place = (key, id(labels))
        found = self._known.get(place)
        if found is not None and found[0] is labels:  # it is kept here, so nothing else can have its id
            return found[1]
        value = make(labels)
        if _FEW < len(labels) <= self._limit:
            with self._adding:
                if place not in self._known:
                    self._known[place] = (labels, value)
                    self._kept += len(labels)
                while self._kept > self._limit:
                    oldest = next(iter(self._known))
                    self._kept -= len(self._known.pop(oldest)[0])
        return value
