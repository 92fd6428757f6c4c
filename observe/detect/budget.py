"""`budget: 1/week` instead of `k`: the width at which a rule's own history would have cost so many pages.

The history is folded at a ladder of widths; pages fall with the width, about exponentially, so the wanted width is
read off between two rungs in the logarithm. A page is a series that begins to fire.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from observe.detect.band import Band
from observe.detect.history import History

_LADDER = (0.6, 0.75, 0.9, 1.05, 1.25, 1.5, 1.8, 2.2, 2.7, 3.5, 5.0)
_LONG_LADDER = (*_LADDER, 7.0, 10.0, 15.0, 20.0)
"""Where the half-width counts standard deviations: tails of real series reach far. Five times `auto`'s evidence is more
than any point has."""
_NEVER = 0.5
"""Pages that a width with none in all the history is taken for: less than one was seen."""
_MOST_POINTS = 3_000_000
"""Points folded for a rung at most (2 s); of a longer history the later part is taken."""
_DAY_MS = 86_400_000
_WARMING = 0.25
"""Share of the history, at its begin, whose pages do not count: the bands are young there."""


@dataclass(frozen=True, slots=True)
class Spending:
    """The width chosen, and what it would have cost."""

    factor: float
    """On `k`, or for `auto` on the evidence that is needed."""
    pages: float
    """Pages expected in `per_ms` at that width."""
    per_ms: int
    history_ms: int
    until_ms: int = 0
    """End of the history that it was read from."""

    def __str__(self) -> str:
        days = self.per_ms / _DAY_MS
        return f"about {self.pages:.2g} pages in {days:g} days, from {self.history_ms / _DAY_MS:.1f} days of history"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def calibrate(
    band: Band, interval_ms: int, history: History, going: Callable[[], None] = lambda: None,
) -> Spending | None:
    """The factor at which `history` costs the band's budget; None without a budget or with too little history.

    Of a history of two days and more, whole UTC days count: who starts later the same day finds the same width.
    `going` is called now and then, and may raise to stop it.
    """
    if band.budget is None:
        return None
    history = _whole_days(history)
    if len(history.times_ms) < 2 * band.window + 200:
        return None
    most = max(1, _MOST_POINTS // max(1, len(history.labels)))
    history = history.part(max(0, len(history.times_ms) - most), len(history.times_ms))
    judged_ms = history.span_ms * (1 - _WARMING)
    wanted = band.budget.pages * judged_ms / band.budget.per_ms
    plain = replace(band, budget=None)
    ladder = _LADDER if band.detector == "auto" else _LONG_LADDER
    pages = [_pages(plain, interval_ms, history, factor, going) for factor in ladder]
    factor = _read_off(ladder, pages, wanted)
    found = float(np.exp(np.interp(math.log(factor), np.log(ladder), np.log(np.maximum(pages, _NEVER)))))
    return Spending(
        factor, found * band.budget.per_ms / judged_ms, band.budget.per_ms, history.span_ms, int(history.times_ms[-1]),
    )


def _whole_days(history: History) -> History:
    if history.span_ms < 2 * _DAY_MS:
        return history
    midnight = int(history.times_ms[-1]) // _DAY_MS * _DAY_MS
    return history.part(0, int(np.searchsorted(history.times_ms, midnight)))


def _pages(band: Band, interval_ms: int, history: History, factor: float, going: Callable[[], None]) -> int:
    from observe.detect.engine import create

    engine = create(band, interval_ms, factor)
    counted_from = int(len(history.times_ms) * _WARMING)
    begun, first, before = 0, 0, np.zeros((1, len(history.labels)), np.bool_)
    for piece in history.pieces():
        going()
        firing = np.concatenate([before, engine.fold(piece.times_ms, piece.labels, piece.values).firing])
        begun += int((firing[1:] & ~firing[:-1])[max(0, counted_from - first) :].sum())
        before, first = firing[-1:], first + len(piece.times_ms)
    return begun


def _read_off(ladder: tuple[float, ...], pages: list[int], wanted: float) -> float:
    """Where the falling curve of pages over factors crosses `wanted`: between rungs log-linear, at the ends clamped."""
    falling = np.minimum.accumulate(np.maximum(pages, _NEVER))
    if wanted >= falling[0]:
        return ladder[0]
    for rung in range(1, len(ladder)):
        if falling[rung] <= wanted:
            high, low = math.log(falling[rung - 1]), math.log(falling[rung])
            share = (high - math.log(wanted)) / (high - low) if high > low else 1.0
            return float(math.exp(math.log(ladder[rung - 1]) + share * math.log(ladder[rung] / ladder[rung - 1])))
    return ladder[-1]
