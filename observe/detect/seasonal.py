"""Detector `seasonal`: a level and the civil hours of the week about it, ± k times the spread of each hour.

Ready after two days; by then the hours of the day are known, and the hours of the week take over as they are visited.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band
from observe.detect.civil import CivilTime
from observe.detect.columns import Block, Column
from observe.detect.detector import Parts, Tick, Ticks, detector, gate_rules
from observe.detect.fit import Season
from observe.detect.seasonal_kernels import (
    BEGAN_MS,
    BINS,
    HOUR_MS,
    LEVEL,
    OFFSET,
    POINTS,
    WEEK,
    advance,
    columns,
    expected_of,
    fold,
)

_advance: Callable[..., Any] = advance
_fold: Callable[..., Any] = fold

_EXPIRE_MS = 21 * 86_400_000
_LEVEL_MS = 7 * 86_400_000
_DAY_MS = 86_400_000
_READY_MS = 2 * _DAY_MS
_READY_POINTS = 24
_WEEKS = 6.0
_DAYS = 21.0


@detector
class Seasonal:
    """Columns and settings of the seasonal kernel."""

    name: ClassVar[str] = "seasonal"

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        self.expire_ms = _EXPIRE_MS
        self._civil = CivilTime(band.timezone)
        self._rules = gate_rules(band, self.expire_ms)
        self._widths = np.array([band.k * factor, band.min_abs, band.min_rel], np.float64)
        visit = min(1.0, interval_ms / HOUR_MS)
        self._speeds = np.array(
            [visit, _WEEKS, _DAYS, max(2.0, _LEVEL_MS / interval_ms), _READY_MS, _READY_POINTS,
             max(24.0, _DAY_MS / interval_ms), max(6.0, _DAY_MS / 2 / interval_ms)], np.float64,
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns()

    def advance(self, tick: Tick, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        state = self._state(block, positions, offsets)
        local_ms = self._civil.local_ms(tick.time_ms)
        _advance(tick.time_ms, local_ms, tick.values, *state, tick.bands, tick.flags)

    def fold(self, ticks: Ticks, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        state = self._state(block, positions, offsets)
        locals_ms = self._civil.local_times_ms(ticks.times_ms)
        _fold(ticks.times_ms, locals_ms, ticks.values, *state, ticks.bands, ticks.flags)

    def _state(self, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> Any:
        state = block.arrays
        return (
            positions, offsets, self._speeds, self._widths, self._rules, state["profile"], state["level"],
            state["bits"], state["clock"], state["on"], state["held"],
        )

    def seed(self, block: Block, offset: int, season: Season) -> None:
        """Take over what a fit over history found; what is learned from now on moves it."""
        row, state = block.arrays["profile"][offset], block.arrays["level"]
        known = np.isfinite(season.week)
        row[:WEEK][known] = season.week[known]
        row[2 * BINS : 2 * BINS + WEEK][known] = min(_WEEKS, max(2.0, season.weeks))
        known = np.isfinite(season.day)
        row[WEEK:BINS][known] = season.day[known]
        row[2 * BINS + WEEK : 3 * BINS][known] = min(_DAYS, max(2.0, 7 * season.weeks))
        state[LEVEL, offset], state[OFFSET, offset] = season.level, 0.0

    def explain(self, block: Block, offset: int) -> Parts:
        state = block.arrays["level"]
        time_ms = int(block.arrays["clock"][0, offset])
        baseline, spread = expected_of(block.arrays["profile"], state, offset, self._civil.local_ms(time_ms))
        level = float(state[LEVEL, offset] + state[OFFSET, offset])
        return Parts(
            time_ms=time_ms, points=int(state[POINTS, offset]), points_needed=_READY_POINTS,
            history_ms=time_ms - int(state[BEGAN_MS, offset]), baseline=baseline, spread=spread, level=level,
            season=baseline - level,
        )
