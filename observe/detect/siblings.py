"""`by: [service]`: a new series starts from a sibling's state, so that a new instance is judged from its first point.

Siblings share the labels named in `by`. The new series takes a copy of what its most experienced ready sibling knows,
not of its alert; from then on it learns its own.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, chain, pairwise

import numpy as np
from numpy.typing import NDArray

from observe.detect.columns import BLOCK_SERIES
from observe.detect.detector import Detector
from observe.detect.slots import SlotTable
from observe.distinct import distinct
from observe.model import Labels

_ASKED = 16
"""Siblings looked at for each family with new series: enough to find an experienced one."""

_ASKED_AT_ONCE = 20_000
"""Siblings looked at in one tick: where many families have new series at once, fewer of each. About 5 ms."""

_SPARE = 256
"""Families of series that are gone, kept until so many are more than twice the series there are."""

Family = tuple[str | None, ...]
"""Values of the labels in `by`."""


class Siblings:
    """Series by what they have in common."""

    def __init__(self, by: tuple[str, ...]) -> None:
        self._by = by
        self._families: dict[Family, list[Labels]] = {}

    def settle(self, slots: SlotTable, placed: Sequence[Labels], detector: Detector, time_ms: int) -> None:
        """Give each series just placed the state of a sibling, where one is ready; then count it in."""
        new: dict[Family, list[Labels]] = {}
        for name in placed:
            new.setdefault(self._family(name), []).append(name)
        known = self._known(slots, new, frozenset(placed))
        donors: list[int] = []
        heirs: list[Labels] = []
        for (family, names), siblings in zip(new.items(), known, strict=True):
            self._families[family] = sorted([*siblings, *names])[:_ASKED]
        for names, donor in zip(new.values(), _most_experienced(slots, known, detector), strict=True):
            if donor is not None:
                donors += [donor] * len(names)
                heirs += names
        _inherit(slots, np.array(donors, np.int64), slots.slot_of.find(heirs), time_ms)
        if len(self._families) > 2 * len(slots) + _SPARE:
            self.rebuild(slots)

    def rebuild(self, slots: SlotTable) -> None:
        """Families of the series that there are: after a restore, and when many have gone."""
        self._families = {}
        if not self._by:
            return
        for name in sorted(slots.slot_of):
            family = self._families.setdefault(self._family(name), [])
            if len(family) < _ASKED:
                family.append(name)

    def _family(self, name: Labels) -> Family:
        return tuple([name.get(label) for label in self._by])

    def _known(
        self, slots: SlotTable, families: Collection[Family], placed: frozenset[Labels],
    ) -> list[list[Labels]]:
        """Of each family some series that were there before."""
        asked = max(1, min(_ASKED, _ASKED_AT_ONCE // max(1, len(families))))
        members = [self._families.get(family, [])[:asked] for family in families]
        there = iter(slots.slot_of.find(list(chain.from_iterable(members))) >= 0)
        return [[one for one, known in zip(family, there, strict=False) if known and one not in placed]
                for family in members]


def _most_experienced(slots: SlotTable, families: list[list[Labels]], detector: Detector) -> Iterator[int | None]:
    """Of each family the slot of the series that has learned most, of those that are ready and do not fire."""
    places = slots.slot_of.find(list(chain.from_iterable(families)))
    points = slots.values(*detector.counter, places)
    points[(points < detector.points_needed) | (slots.values("on", 0, places) != 0)] = -1
    for first, last in pairwise(accumulate(map(len, families), initial=0)):
        best = first + int(points[first:last].argmax()) if last > first else -1
        yield int(places[best]) if best >= 0 and points[best] >= 0 else None


def _inherit(slots: SlotTable, donors: NDArray[np.int64], heirs: NDArray[np.int64], time_ms: int) -> None:
    """What the series at `donors` know, not what they are alerting about, to those at `heirs` of the same places."""
    pairs = donors // BLOCK_SERIES * len(slots.blocks) + heirs // BLOCK_SERIES
    for pair in distinct(pairs).tolist():
        mine = pairs == pair
        source, target = (slots.blocks[number] for number in divmod(pair, len(slots.blocks)))
        to = heirs[mine] % BLOCK_SERIES
        target.put(to, source.take(donors[mine] % BLOCK_SERIES))
        target.arrays["bits"][:, to] = 0
        target.arrays["held"][:, to] = 0
        target.arrays["clock"][0, to] = np.minimum(target.arrays["clock"][0, to], time_ms - 1)
