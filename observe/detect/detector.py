"""What every detector is: columns of state, and a kernel that takes all its series one tick further.

The contract is judge, then learn: a point is judged by what came before it, then (unless held back) learned. Both
happen in one pass over memory, in the kernel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band
from observe.detect.columns import Block, Column
from observe.detect.gate_kernels import RULES
from observe.errors import UsageError

_DIRECTIONS = {"above": 1, "below": -1, "both": 0}


@dataclass(frozen=True, slots=True)
class Tick:
    """One evaluation on its way through a kernel. Arrays are over the vector's points, [S]."""

    time_ms: int
    values: NDArray[np.float64]
    bands: NDArray[np.float64]
    """[4, S] out: lower, upper, baseline, score."""
    flags: NDArray[np.bool_]
    """[4, S] out: ready, outside, firing, relearned."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """Many evaluations of the same series: `Tick` with a leading axis of time, [T]."""

    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    """[T, S]."""
    bands: NDArray[np.float64]
    """[T, 4, S] out."""
    flags: NDArray[np.bool_]
    """[T, 4, S] out."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How `auto` came to its verdict on the last point; evidence in -log10 p."""

    evidence: float
    needed: float
    """Of it: for_alerts + for_restlessness + for_recent_news is what this series is asked for beyond the usual."""
    for_alerts: float
    for_restlessness: float
    for_recent_news: float
    alerts_per_day: float
    forecasts: dict[str, float]
    """Shares of the forecasts in the baseline; they sum to 1."""
    by_channel: dict[str, float]
    above: bool
    gross: bool
    """The last points lie so far outside the long-run profile that nothing else is asked."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands behind one series' band at its last point; NaN where a detector knows no such thing."""

    time_ms: int
    points: int
    points_needed: int
    history_ms: int
    """0 where the detector looks back a number of points."""
    baseline: float
    spread: float
    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    score: float = math.nan
    level: float = math.nan
    season: float = math.nan
    """How far the time of day or week lifts the baseline over the level."""
    calibration: Calibration | None = None


class Detector(Protocol):
    """One way to learn what is normal."""

    name: ClassVar[str]

    expire_ms: int
    """A series away for longer starts anew."""

    ripe_ms: ClassVar[int]
    """History that its verdict needs: a younger series is better left to a first stage (`staged`)."""

    rules: NDArray[np.int64]
    """Trigger, recovery and hold as the gate's kernel reads them (`gate_rules`); for the engine, too."""

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        """`factor` scales the band's width: what a budget's calibration found."""

    columns: tuple[Column, ...]
    """The state of one series."""

    counter: ClassVar[tuple[str, int]]
    """The column, and the row of it, that counts the points a series has learned."""

    points_needed: int
    """So many, at least, before it is judged."""

    def advance(self, tick: Tick, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        """Judge the points at `positions`, whose series are at `offsets` of the block; then learn them."""

    def fold(self, ticks: Ticks, block: Block, positions: NDArray[np.uint32], offsets: NDArray[np.uint32]) -> None:
        """`advance` over many ticks in one go, with the same results."""

    def unripe(self, block: Block, offsets: NDArray[np.uint32], time_ms: int) -> NDArray[np.bool_]:
        """Which of these series are judged already, but are younger than `ripe_ms`."""

    def explain(self, block: Block, offset: int) -> Parts:
        """What stands behind the band of one series now."""


_REGISTRY: dict[str, Callable[[Band, int, float], Detector]] = {}


def detector(kind: type) -> type:
    """Class decorator: make a detector known by its name."""
    _REGISTRY[kind.name] = kind  # type: ignore[attr-defined]
    return kind


def detectors() -> tuple[str, ...]:
    """Names of the detectors there are."""
    _load()
    return tuple(sorted(_REGISTRY))


def make(band: Band, interval_ms: int, factor: float = 1.0) -> Detector:
    _load()
    if band.detector not in _REGISTRY:
        raise UsageError(f"there is no detector `{band.detector}`; use one of: {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[band.detector](band, interval_ms, factor)


def _load() -> None:
    import observe.detect.auto
    import observe.detect.robust
    import observe.detect.rolling
    import observe.detect.seasonal  # noqa: F401 - they register themselves


def gate_rules(band: Band, expire_ms: int) -> NDArray[np.int64]:
    """The band's alert settings as the gate's kernel reads them."""
    rules = np.zeros(RULES, np.uint64)
    rules[:] = (
        band.trigger.m, (1 << band.trigger.n) - 1, band.recover.m, (1 << band.recover.n) - 1, band.relearn_after_ms,
        int(band.hold), expire_ms, 0, 0,
    )
    signed: NDArray[np.int64] = rules.view(np.int64)
    signed[7] = _DIRECTIONS[band.direction]
    return signed


def window_points(band: Band, interval_ms: int) -> int:
    """The window in points; a duration counts the evaluations in it."""
    if band.window:
        return band.window
    return max(2, min(100_000, round(band.window_ms / max(1, interval_ms))))
