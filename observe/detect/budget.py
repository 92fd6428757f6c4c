"""`budget: 1/week` instead of `k`: the width at which a rule's own history would have cost so many pages.

The history is folded at a ladder of widths; pages fall with the width, about exponentially, so the wanted width is
read off between two rungs in the logarithm. A page is a series that begins to fire.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from observe.detect.band import Band
from observe.detect.history import History

_LADDER = (0.6, 0.75, 0.9, 1.05, 1.25, 1.5, 1.8, 2.2, 2.7, 3.5, 5.0)
_NEVER = 0.5
"""Pages that a width with none in all the history is taken for: less than one was seen."""
_MOST_POINTS = 3_000_000
"""Points folded for a rung at most (2 s, 110 MB); of a longer history the later part is taken."""


@dataclass(frozen=True, slots=True)
class Spending:
    """The width chosen, and what it would have cost."""

    factor: float
    """On `k`, or for `auto` on the evidence that is needed."""
    pages: float
    """Pages expected in `per_ms` at that width."""
    per_ms: int
    history_ms: int

    def __str__(self) -> str:
        days = self.per_ms / 86_400_000
        return f"about {self.pages:.2g} pages in {days:g} days, from {self.history_ms / 86_400_000:.1f} days of history"


def calibrate(band: Band, interval_ms: int, history: History) -> Spending | None:
    """The factor at which `history` costs the band's budget; None without a budget or with too little history."""
    if band.budget is None or len(history.times_ms) < 2 * band.window + 200:
        return None
    most = max(1, _MOST_POINTS // max(1, len(history.labels)))
    history = history.part(max(0, len(history.times_ms) - most), len(history.times_ms))
    judged_ms = history.span_ms * 0.75  # the first quarter is for warming up
    wanted = band.budget.pages * judged_ms / band.budget.per_ms
    pages = [_pages(replace(band, budget=None), interval_ms, history, factor) for factor in _LADDER]
    factor = _read_off(pages, wanted)
    found = float(np.exp(np.interp(math.log(factor), np.log(_LADDER), np.log(np.maximum(pages, _NEVER)))))
    return Spending(factor, found * band.budget.per_ms / judged_ms, band.budget.per_ms, history.span_ms)


def _pages(band: Band, interval_ms: int, history: History, factor: float) -> int:
    from observe.detect.engine import create

    engine = create(band, interval_ms, factor)
    firing = engine.fold(history.times_ms, history.labels, history.values).firing
    begun = firing[1:] & ~firing[:-1]
    return int(begun[len(history.times_ms) // 4 :].sum())


def _read_off(pages: list[int], wanted: float) -> float:
    """Where the falling curve of pages over factors crosses `wanted`: between rungs log-linear, at the ends clamped."""
    falling = np.minimum.accumulate(np.maximum(pages, _NEVER))
    if wanted >= falling[0]:
        return _LADDER[0]
    for rung in range(1, len(_LADDER)):
        if falling[rung] <= wanted:
            high, low = math.log(falling[rung - 1]), math.log(falling[rung])
            share = (high - math.log(wanted)) / (high - low) if high > low else 1.0
            return float(math.exp(math.log(_LADDER[rung - 1]) + share * math.log(_LADDER[rung] / _LADDER[rung - 1])))
    return _LADDER[-1]
