"""What production would have said of a past under a budget: after each midnight the width is read off it again.

Production folds the last four weeks each midnight. Here one fold of all the past at a width serves every midnight: the
first of the four weeks warms up and does not count, so that is nearly the same, and twenty times as fast.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from observe.detect.band import Budget
from observe.detect.budget import Costs, fewest_ticks
from observe.detect.engine import Engine
from observe.detect.history import History
from observe.protocols import Judgement

_DAY_MS = 86_400_000
_REACH_MS = 28 * _DAY_MS
"""As production reads for a budget, `observe.alert.learning`."""


def fold_budgeted(engine: Engine, past: History, budget: Budget, costs: Costs) -> Judgement:
    """`Engine.fold` of `past` day by day, each judged at the width that the days before it ask for.

    `costs` are those of `past`; several budgets may share them.
    """
    said = []
    for first, last in _days(past):
        midnight_ms = past.times_ms[first] // _DAY_MS * _DAY_MS
        began, over = np.searchsorted(past.times_ms, (midnight_ms - _REACH_MS, midnight_ms)).tolist()
        if over - began >= fewest_ticks(engine.band):
            engine.spend(costs.part(began, over).spending(budget))
        now = past.part(first, last)
        said.append(engine.fold(now.times_ms, now.labels, now.values))
    names = Judgement.__dataclass_fields__
    return Judgement(**{name: np.concatenate([getattr(one, name) for one in said]) for name in names})


def _days(past: History) -> Iterator[tuple[int, int]]:
    """Ticks from each midnight to before the next."""
    cuts = np.flatnonzero(np.diff(past.times_ms // _DAY_MS)) + 1
    yield from itertools.pairwise([0, *cuts.tolist(), len(past.times_ms)])
