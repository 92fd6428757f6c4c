"""Where the series of a result came from, when they are missing."""

from collections import Counter

from observe.alert.states import Seen
from observe.alert.whereabouts import MOST_ASKED, Whereabouts
from observe.model import Labels
from observe.promql.engine import Engine
from observe.testing import MemorySource
from tests.alert.world import START_MS


class CountingEngine(Engine):
    asked = 0

    def instant(self, expr, time_ms):
        self.asked += 1
        return super().instant(expr, time_ms)


def test_a_thousand_series_that_vanish_at_once_are_asked_for_over_several_evaluations():
    source, count = MemorySource(), 2 * MOST_ASKED + 50
    places = [{"job": "api", "instance": f"i{n}"} for n in range(count)]
    for place in places:
        source.add(Labels({"__name__": "x", **place}), START_MS, 1.0)
        source.add(Labels({"__name__": "up", **place}), START_MS + 60_000, 0.0)
    query = CountingEngine(source)
    whereabouts, missing = Whereabouts(query, "x"), [Labels(place) for place in places]

    told = []
    for _ in range(4):
        before = query.asked
        seen = Counter(whereabouts.of(missing, START_MS + 60_000).values())
        told.append((query.asked - before, seen[Seen.DOWN], seen[Seen.UNKNOWN]))

    most = MOST_ASKED
    assert [(1 + most, most, most + 50), (1 + most, 2 * most, 50), (51, count, 0), (1, count, 0)] == told
