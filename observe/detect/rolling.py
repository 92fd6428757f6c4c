"""Detector `rolling`: mean ± k·std of the last `window` points before this one.

With ``hold: false`` it is exactly ``rolling(window).mean() ± k * rolling(window).std()`` shifted by one point. With
``hold: true`` a point outside is learned no further out than the edge of its band (so a step cannot widen the band
before it triggers), and nothing is learned from the trigger until recovery.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band
from observe.detect.columns import Block, Column
from observe.detect.detector import Parts, Tick, Ticks, detector, gate_rules, window_points
from observe.detect.rolling_kernels import advance, columns, fold

_advance: Callable[..., Any] = advance
_fold: Callable[..., Any] = fold

_EXPIRE_MS = 2 * 86_400_000


@detector
class Rolling:
    """Columns and settings of the rolling kernel."""

    name: ClassVar[str] = "rolling"

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        self.window = window_points(band, interval_ms)
        self.expire_ms = max(_EXPIRE_MS, self.window * interval_ms)
        self._rules = gate_rules(band, self.expire_ms)
        self._widths = np.array([band.k * factor, band.min_abs, band.min_rel], np.float64)

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns(self.window)

    def advance(self, tick: Tick, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        state = self._state(block, positions, offsets)
        _advance(tick.time_ms, tick.values, *state, tick.bands, tick.flags)

    def fold(self, ticks: Ticks, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        state = self._state(block, positions, offsets)
        _fold(ticks.times_ms, ticks.values, *state, ticks.bands, ticks.flags)

    def _state(self, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> Any:
        state = block.arrays
        return (
            positions, offsets, self.window, self._widths, self._rules, state["ring"], state["sums"], state["error"],
            state["place"], state["bits"], state["clock"], state["on"], state["held"],
        )

    def explain(self, block: Block, offset: int) -> Parts:
        state = block.arrays
        count = int(state["place"][1, offset])
        shift, s1, s2 = (float(value) for value in state["sums"][:, offset])
        inner = s2 - s1 * s1 / count if count else 0.0
        return Parts(
            time_ms=int(state["clock"][0, offset]), points=count, points_needed=self.window, history_ms=0,
            baseline=shift + s1 / count if count else math.nan,
            spread=math.sqrt(max(inner, 0.0) / (count - 1)) if count > 1 else math.nan,
        )
