"""Detector `rolling`: mean ± k·std of the last `window` points before this one.

With ``hold: false`` it is exactly ``rolling(window).mean() ± k * rolling(window).std()`` shifted by one point. With
``hold: true`` a point outside is learned no further out than the edge of its band (so a step cannot widen the band
before it triggers), and nothing is learned from the trigger until recovery.
"""

import math
from typing import ClassVar

import numpy as np

from observe.detect.band import Band
from observe.detect.columns import Block
from observe.detect.compiled import Compiled, Kernel
from observe.detect.detector import Parts, detector, gate_rules, window_points
from observe.detect.rolling_kernels import advance, columns, fold

_EXPIRE_MS = 2 * 86_400_000


@detector
class Rolling(Compiled):
    """Columns and settings of the rolling kernel."""

    name: ClassVar[str] = "rolling"
    kernels: ClassVar[tuple[Kernel, Kernel]] = (advance, fold)
    counter: ClassVar[tuple[str, int]] = ("place", 1)

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        self.window = self.points_needed = window_points(band, interval_ms)
        self.expire_ms = max(_EXPIRE_MS, self.window * interval_ms)
        widths = np.array([band.k * factor, band.min_abs, band.min_rel], np.float64)
        super().__init__(columns(self.window), (self.window, widths), gate_rules(band, self.expire_ms))

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
