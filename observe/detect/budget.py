"""`budget: 1/week` instead of `k`: the width at which a rule's own history would have cost so many pages.

The history is folded at rungs of a ladder of widths. Pages fall with the width, so few rungs need to be folded: halving
finds the two between which the wanted number lies, and the width is read off between them in the logarithm. Of n pages
seen in a time, n + 1/2 are expected in the next one as long (Jeffreys' prior of a Poisson rate): without the half, the
width just beyond the highest of history would be taken for one that nothing exceeds.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band, Budget
from observe.detect.history import History
from observe.detect.page_kernels import count_pages

_NARROWEST = 0.45
_WIDEST = {"auto": 5.0}
"""Five times `auto`'s evidence is more than any point has. Where the half-width counts standard deviations, tails of
real series reach far."""
_WIDEST_ELSE = 25.0
_RUNGS = 10
"""For each doubling of the width."""
_UNSEEN = 0.5
_MOST_POINTS = 3_000_000
"""Points folded for a rung at most (2 s); of a longer history the later part is taken."""
_DAY_MS = 86_400_000
_WARMING = 0.25
"""Share of the history, at its begin, whose pages do not count: the bands are young there."""
_LATELY_MS, _LATELY = 7 * _DAY_MS, 1.5
"""The last week may not have cost more than so many times what was asked: a change of the system is answered soon."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a rule's band fires before it is an alert, and is quiet before the alert is over."""

    for_ms: int = 0
    keep_firing_for_ms: int = 0


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
        days, known = self.per_ms / _DAY_MS, self.history_ms / _DAY_MS
        pages, span = f"{self.pages:.2g}", f"{days:g} days" if days != 1 else "a day"
        return f"about {pages} page{'s' * (pages != '1')} in {span}, from {known:.1f} days of history"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Costs:
    """What a history would have cost at the rungs of the ladder; a rung is folded when it is first asked for."""

    def __init__(
        self, band: Band, interval_ms: int, history: History, waits: Waits | None = None,
        going: Callable[[], None] = lambda: None,
    ) -> None:
        self._history, waits = history, waits or Waits()
        self._band, self._interval_ms, self._waits, self._going = replace(band, budget=None), interval_ms, waits, going
        widest = _WIDEST.get(band.detector, _WIDEST_ELSE)
        steps = math.ceil(_RUNGS * math.log2(widest / _NARROWEST))
        self.ladder: tuple[float, ...] = tuple(np.geomspace(_NARROWEST, widest, steps + 1).tolist())
        self.ticks = (0, len(history.times_ms))
        """The part that is looked at."""
        self.folded: dict[int, NDArray[np.int64]] = {}
        """Rung -> pages at each tick, [T]."""

    def part(self, first: int, last: int) -> "Costs":
        """The costs of ticks `first` to before `last`, of bands that knew what was before; the folds are shared."""
        part = copy(self)
        part.ticks = (first, last)
        return part

    def spending(self, budget: Budget) -> Spending:
        """The width that keeps the budget over all of the history, and half as much again in its last week."""
        began_ms, until_ms = (int(self._history.times_ms[tick]) for tick in (self.ticks[0], self.ticks[1] - 1))
        span_ms = until_ms - began_ms
        judged_ms = max(1, round(span_ms * (1 - _WARMING)))
        factor = self._width(budget, judged_ms, 1.0)
        if judged_ms >= 2 * _LATELY_MS:
            factor = max(factor, self._width(budget, _LATELY_MS, _LATELY))
        pages = self._at(factor, judged_ms) * budget.per_ms / judged_ms
        return Spending(factor, pages, budget.per_ms, span_ms, until_ms)

    def _width(self, budget: Budget, last_ms: int, times: float) -> float:
        """The width that would have cost `times` the budget in the last part of the history.

        Where less than one page is wanted, the narrowest that had none.
        """
        wanted = times * budget.pages * last_ms / budget.per_ms
        low, high = -1, len(self.ladder)  # beyond its ends
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._expected(middle, last_ms) > max(wanted, _UNSEEN) else (low, middle)
        if low < 0 or high == len(self.ladder) or self._expected(high, last_ms) >= wanted:
            return self.ladder[min(high, len(self.ladder) - 1)]
        more, less = self._expected(low, last_ms), self._expected(high, last_ms)
        share = math.log(more / wanted) / math.log(more / less)
        return float(self.ladder[low] * (self.ladder[high] / self.ladder[low]) ** share)

    def _at(self, factor: float, last_ms: int) -> float:
        """Pages to be expected at a width between two rungs."""
        high = min(bisect_left(self.ladder, factor), len(self.ladder) - 1)
        if high == 0 or self.ladder[high] == factor:
            return self._expected(high, last_ms)
        more, less = self._expected(high - 1, last_ms), self._expected(high, last_ms)
        share = math.log(factor / self.ladder[high - 1]) / math.log(self.ladder[high] / self.ladder[high - 1])
        return float(more * (less / more) ** share)

    def _expected(self, rung: int, last_ms: int) -> float:
        """Pages to be expected at a rung's width in a time as long as the last part of the history."""
        if rung not in self.folded:
            self.folded[rung] = self._fold(self.ladder[rung])
        times, last = self._history.times_ms, self.ticks[1]
        first = int(np.searchsorted(times, times[last - 1] - last_ms, "right"))
        return int(self.folded[rung][first:last].sum()) + _UNSEEN

    def _fold(self, factor: float) -> NDArray[np.int64]:
        from observe.detect.engine import create

        engine, series = create(self._band, self._interval_ms, factor), len(self._history.labels)
        met, clear = np.full(series, -1, np.int64), np.full(series, -1, np.int64)
        alert, pages = np.zeros(series, np.bool_), []
        for piece in self._history.pieces():
            self._going()
            firing = engine.fold(piece.times_ms, piece.labels, piece.values).firing
            pages.append(np.zeros(len(firing), np.int64))
            count_pages(piece.times_ms, firing, self._waits.for_ms, self._waits.keep_firing_for_ms, met, clear, alert,
                        pages[-1])
        return np.concatenate(pages)


def fewest_ticks(band: Band) -> int:
    """Evaluations that a budget is read off at least."""
    return 2 * band.window + 200


def costs_of(
    band: Band, interval_ms: int, history: History, waits: Waits | None = None,
    going: Callable[[], None] = lambda: None,
) -> Costs | None:
    """The costs of `history` at any width; None where it is too short to tell.

    Of a history of two days and more, whole UTC days count: who starts later the same day finds the same width.
    `going` is called now and then, and may raise to stop it.
    """
    history = _whole_days(history, interval_ms)
    if len(history.times_ms) < fewest_ticks(band):
        return None
    most = max(1, _MOST_POINTS // max(1, len(history.labels)))
    later = history.part(max(0, len(history.times_ms) - most), len(history.times_ms))
    return Costs(band, interval_ms, later, waits, going)


def calibrate(
    band: Band, interval_ms: int, history: History, waits: Waits | None = None,
    going: Callable[[], None] = lambda: None,
) -> Spending | None:
    """The width at which `history` costs the band's budget; None without a budget or with too little history."""
    if band.budget is None:
        return None
    costs = costs_of(band, interval_ms, history, waits, going)
    return costs.spending(band.budget) if costs is not None else None


def _whole_days(history: History, interval_ms: int) -> History:
    if history.span_ms < 2 * _DAY_MS:
        return history
    midnight = (int(history.times_ms[-1]) + interval_ms) // _DAY_MS * _DAY_MS
    return history.part(0, int(np.searchsorted(history.times_ms, midnight)))
