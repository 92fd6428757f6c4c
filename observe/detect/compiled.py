"""What all detectors share: taking a block's state to their kernels `advance` and `fold`, in the order of columns."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from observe.detect.civil import CivilTime
from observe.detect.columns import Block, Column
from observe.detect.detector import Tick, Ticks
from observe.detect.gate_kernels import GATE_COLUMNS

Kernel = Callable[..., Any]


class Compiled:
    """Runs two kernels; arguments: time (and civil time), values, places, settings, rules, columns, bands, flags."""

    kernels: ClassVar[tuple[Kernel, Kernel]]
    """`advance` and `fold`."""

    columns: tuple[Column, ...]

    ripe_ms: ClassVar[int] = 0

    def __init__(
        self, columns: tuple[Column, ...], settings: tuple[Any, ...], rules: NDArray[np.int64],
        civil: CivilTime | None = None,
    ) -> None:
        self.columns = columns
        self.rules = rules
        self._settings = settings
        self._names = tuple(column.name for column in (*columns, *GATE_COLUMNS))
        self._civil_time = civil

    def advance(self, tick: Tick, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        local = () if self._civil_time is None else (self._civil_time.local_ms(tick.time_ms),)
        state = self._state(block, positions, offsets)
        self.kernels[0](tick.time_ms, *local, tick.values, *state, tick.bands, tick.flags)

    def fold(self, ticks: Ticks, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        local = () if self._civil_time is None else (self._civil_time.local_times_ms(ticks.times_ms),)
        state = self._state(block, positions, offsets)
        self.kernels[1](ticks.times_ms, *local, ticks.values, *state, ticks.bands, ticks.flags)

    def unripe(self, block: Block, offsets: NDArray[np.uint32], time_ms: int) -> NDArray[np.bool_]:  # noqa: ARG002
        """None: what is ready is ripe."""
        return np.zeros(len(offsets), np.bool_)

    def _state(self, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> tuple[Any, ...]:
        return (positions, offsets, *self._settings, self.rules, *(block.arrays[name] for name in self._names))
