"""Where each series of a rule's last result stands, kept up as results change a little from one to the next."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from observe.detect.matching import Row
from observe.model import Labels


@dataclass(frozen=True, slots=True)
class Moved:
    """From one result to the next."""

    source: NDArray[np.int64]
    """[S] where each series stood before; -1: nowhere."""
    came: list[Labels]
    left: list[Labels]


class Places:
    """Names in the order of the last result. One thread moves them; `get` is safe from any thread.

    A series keeps one number while it stays, so a dictionary changes by those that come and go, not by all that move.
    """

    def __init__(self, labels: tuple[Labels, ...] = ()) -> None:
        self._row = Row()
        self._numbers: dict[Labels, int] = {}
        self._number_at = np.empty(0, np.int64)
        self._place_of = np.empty(0, np.int64)
        self._free: list[int] = []
        self.move(labels)

    @property
    def labels(self) -> tuple[Labels, ...]:
        """[S]."""
        return self._row.names

    def get(self, series: Labels) -> int | None:
        """The place of one series; None if it is not there."""
        number = self._numbers.get(series)
        return int(self._place_of[number]) if number is not None else None

    def __contains__(self, series: Labels) -> bool:
        return series in self._numbers

    def move(self, labels: tuple[Labels, ...]) -> Moved:
        """The next result names these."""
        row, before = Row(labels), self._row.names
        source, taken = self._row.places_of(row)
        gone = {before[place]: place for place in np.flatnonzero(~taken).tolist() if self._number_at[place] >= 0}
        unknown = np.flatnonzero(source < 0).tolist()
        for place in unknown:  # an equal name that is another object: of a snapshot, or made anew
            source[place] = gone.pop(labels[place], -1)
        came: dict[Labels, int] = {}
        for place in unknown:
            if source[place] < 0:
                came.setdefault(labels[place], place)
        self._free += [self._numbers.pop(name) for name in gone]
        kept = max(0, len(self._free) - len(came))
        used = len(self._place_of)
        fresh = [*self._free[kept:], *range(used, used + len(came) - len(self._free) + kept)]
        del self._free[kept:]
        numbers = np.full(len(labels), -1, np.int64)
        numbers[source >= 0] = self._number_at[source[source >= 0]]
        numbers[list(came.values())] = fresh
        place_of = np.concatenate([self._place_of, np.empty(max(0, max(fresh, default=-1) + 1 - used), np.int64)])
        named = numbers >= 0  # not what one result names twice, for the second time
        place_of[numbers[named]] = np.flatnonzero(named)
        self._row, self._number_at, self._place_of = row, numbers, place_of
        self._numbers.update(zip(came, fresh, strict=True))
        return Moved(source, list(came), list(gone))
