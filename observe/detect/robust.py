"""Detector `robust`: median ± k·1.4826·MAD of the last `window` points, deaf to outliers in it.

Of a window over 256 points every n-th stands for the rest, so memory and time stay bounded. A window that grows is in
use from its first `window` points on; then it takes every n-th until these stand for 256. Where more than half of the
window is one and the same value the MAD is zero; then the range from the 5th to the 95th percentile gives the spread.
"""

import math
from typing import ClassVar

import numpy as np

from observe.detect.band import Band
from observe.detect.columns import Block
from observe.detect.compiled import Compiled, Kernel
from observe.detect.detector import Parts, detector, gate_rules, window_points
from observe.detect.robust_kernels import advance, columns, fold, median_and_spread

_EXPIRE_MS = 2 * 86_400_000
_KEPT_POINTS = 256
_GROWN_KEPT = 64
"""Of a window that grows to 256 points so many at least stand for them: young series are many."""


@detector
class Robust(Compiled):
    """Columns and settings of the robust kernel."""

    name: ClassVar[str] = "robust"
    kernels: ClassVar[tuple[Kernel, Kernel]] = (advance, fold)
    counter: ClassVar[tuple[str, int]] = ("place", 1)

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        points = window_points(band, interval_ms)
        self.stride = -(-points // _KEPT_POINTS)
        self.size = self.points_needed = max(2, points // self.stride)
        if band.window_grows and self.stride == 1:
            self.size = min(_KEPT_POINTS, max(_GROWN_KEPT, 2 * points))
            self.stride = _KEPT_POINTS // self.size
        self.expire_ms = max(_EXPIRE_MS, points * interval_ms)
        widths = np.array([band.k * factor, band.min_abs, band.min_rel], np.float64)
        super().__init__(columns(self.size), (self.size, self.points_needed, self.stride, widths),
                         gate_rules(band, self.expire_ms))

    def explain(self, block: Block, offset: int) -> Parts:
        count, time_ms = int(block.arrays["place"][1, offset]), int(block.arrays["clock"][0, offset])
        centre, spread = math.nan, math.nan
        if count > 1:
            centre, spread = median_and_spread(block.arrays["window"][offset], self.size, count)
        return Parts(
            time_ms=time_ms, points=count, points_needed=self.points_needed, history_ms=0, baseline=centre,
            spread=spread,
        )
