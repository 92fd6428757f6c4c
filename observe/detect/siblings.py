"""`by: [service]`: a new series starts from a sibling's state, so that a new instance is judged from its first point.

Siblings share the labels named in `by`. The new series takes a copy of what its most experienced ready sibling knows,
not of its alert; from then on it learns its own.
"""

from collections.abc import Sequence

import numpy as np

from observe.detect.detector import Detector
from observe.detect.slots import SlotTable
from observe.model import Labels

_ASKED = 16
"""Siblings looked at for each new series: enough to find an experienced one, and a bound on a tick that brings many."""

_SPARE = 256
"""Families of series that are gone, kept until so many are more than twice the series there are."""


class Siblings:
    """Series by what they have in common."""

    def __init__(self, by: tuple[str, ...]) -> None:
        self._by = by
        self._families: dict[Labels, list[Labels]] = {}

    def settle(self, slots: SlotTable, placed: Sequence[Labels], detector: Detector, time_ms: int) -> None:
        """Give each series just placed the state of a sibling, where one is ready; then count it in."""
        families = {name: name.only(self._by) for name in placed}
        for name in sorted(placed):
            self._inherit(slots, name, self._families.get(families[name], []), detector, time_ms)
        for name, family in families.items():
            known = [one for one in self._families.get(family, []) if one in slots.slot_of and one != name]
            self._families[family] = sorted([*known, name])[:_ASKED]

        if len(self._families) > 2 * len(slots) + _SPARE:
            self.rebuild(slots)

    def rebuild(self, slots: SlotTable) -> None:
        """Families of the series that there are: after a restore, and when many have gone."""
        self._families = {}
        if not self._by:
            return
        for name in sorted(slots.slot_of):
            family = self._families.setdefault(name.only(self._by), [])
            if len(family) < _ASKED:
                family.append(name)

    def _inherit(
        self, slots: SlotTable, name: Labels, siblings: Sequence[Labels], detector: Detector, time_ms: int,
    ) -> None:
        best, most = None, 0
        for sibling in siblings:
            slot = slots.slot_of.get(sibling)
            if slot is None or sibling == name:
                continue
            block, offset = slots.at(slot)
            if block.arrays["on"][0, offset]:
                continue
            parts = detector.explain(block, offset)
            if parts.points >= parts.points_needed and parts.points > most:
                best, most = slot, parts.points
        if best is None:
            return
        block, offset = slots.at(best)
        target, place = slots.at(slots.slot_of[name])
        target.put(np.array([place]), block.take(np.array([offset])))
        target.arrays["bits"][:, place] = 0
        target.arrays["held"][:, place] = 0
        target.arrays["clock"][0, place] = min(int(target.arrays["clock"][0, place]), time_ms - 1)
