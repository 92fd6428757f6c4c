"""Detector `seasonal`: a level and the civil hours of the week about it, ± k times the spread of each hour.

Ready after two days; by then the hours of the day are known, and the hours of the week take over as they are visited.
"""

from typing import ClassVar

import numpy as np

from observe.detect.band import Band
from observe.detect.civil import CivilTime
from observe.detect.columns import Block
from observe.detect.compiled import Compiled, Kernel
from observe.detect.detector import Parts, detector, gate_rules
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

_EXPIRE_MS = 21 * 86_400_000
_LEVEL_MS = 7 * 86_400_000
_DAY_MS = 86_400_000
_READY_MS = 2 * _DAY_MS
_READY_POINTS = 24
_WEEKS = 6.0
_DAYS = 21.0


@detector
class Seasonal(Compiled):
    """Columns and settings of the seasonal kernel."""

    name: ClassVar[str] = "seasonal"
    kernels: ClassVar[tuple[Kernel, Kernel]] = (advance, fold)
    counter: ClassVar[tuple[str, int]] = ("level", POINTS)
    points_needed = _READY_POINTS
    ripe_ms: ClassVar[int] = _READY_MS

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        self.expire_ms = _EXPIRE_MS
        self._civil = CivilTime(band.timezone)
        widths = np.array([band.k * factor, band.min_abs, band.min_rel], np.float64)
        visit = min(1.0, interval_ms / HOUR_MS)
        speeds = np.array(
            [visit, _WEEKS, _DAYS, max(2.0, _LEVEL_MS / interval_ms), _READY_MS, _READY_POINTS,
             max(24.0, _DAY_MS / interval_ms), max(6.0, _DAY_MS / 2 / interval_ms)], np.float64,
        )
        super().__init__(columns(), (speeds, widths), gate_rules(band, self.expire_ms), self._civil)

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
