"""Which series satisfy a list of matchers, over anything that has postings."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from observe.model import Matcher
from observe.store.matching import accepted, matches_empty
from observe.store.posting_kernels import difference, intersect

Ids = NDArray[np.uint32]
NONE: Ids = np.empty(0, np.uint32)


class Postings(Protocol):
    """Ids of the series that carry a label pair, ascending."""

    def all_ids(self) -> Ids: ...

    def values_of(self, name: str) -> Iterable[str]:
        """The distinct values of a label."""

    def carriers(self, name: str, value: str) -> Ids: ...


def select_ids(source: Postings, matchers: Sequence[Matcher]) -> Ids:
    """Ids of the series that satisfy all of `matchers`, ascending."""
    wanted: list[Ids] = []
    unwanted: list[Matcher] = []
    for matcher in matchers:
        if matches_empty(matcher):
            unwanted.append(matcher)
            continue
        if matcher.op == "=":
            ids = source.carriers(matcher.name, matcher.value)
        else:
            ids = _union(source, matcher.name, accepted(matcher, source.values_of(matcher.name)))
        if not ids.size:
            return NONE
        wanted.append(ids)
    wanted.sort(key=len)
    result = wanted[0] if wanted else source.all_ids()
    for ids in wanted[1:]:
        result = intersect(result, ids)
    for matcher in unwanted:
        if matcher.op == "!=":
            refused = [matcher.value]
        else:
            values = list(source.values_of(matcher.name))
            good = set(accepted(matcher, values))
            refused = [value for value in values if value not in good]
        result = difference(result, _union(source, matcher.name, refused))
    return result


def _union(source: Postings, name: str, values: Sequence[str]) -> Ids:
    parts = [source.carriers(name, value) for value in values]
    if len(parts) == 1:
        return parts[0]
    # A series has one value of a name, so nothing is in two of the parts.
    return np.sort(np.concatenate(parts)) if parts else NONE
