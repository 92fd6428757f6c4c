"""Detector `auto`: weighs how rare a point is for its own series, and speaks when that is rare enough.

What it computes is told in `auto_kernels`; what its numbers are and how they were found in docs/quality.md. One setting
for all series: nothing here depends on a name, a unit or a scale.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from observe.detect import auto_kernels
from observe.detect import auto_layout as layout
from observe.detect.band import AUTO_RECOVER, Band
from observe.detect.civil import CivilTime
from observe.detect.columns import Block
from observe.detect.compiled import Compiled, Kernel
from observe.detect.detector import Calibration, Parts, detector, gate_rules
from observe.detect.gate_kernels import AS_LONG, RECOVER_M, RECOVER_MASK, RELEARN_MS

_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_EXPIRE_MS = 21 * _DAY_MS
_RECOVER_MS = 900_000
_FEWEST_HELD = 6
SENSITIVITY = {"low": 1.25, "normal": 1.0, "high": 0.8}
"""Factors on the evidence that is needed."""

FORECASTS: Final = ("the last points", "the level of some days", "the time of day", "the hour of the week")
CHANNELS: Final = (
    "the step away from the baseline", "the average of the last errors", "the distance from the season",
    "the distance from the level of a week", "the average distance from the season", "the jump since the last point",
    "restless errors lately", "going beyond all that was seen",
)
"""What the channels of `auto_layout` are called in words, in their order."""


@dataclass(frozen=True, slots=True)
class AutoSettings:
    """The one general default. Weights of channels and evidence are in -log10 p."""

    weight_point: float = 0.6665
    weight_point_mean: float = 0.1086
    weight_season: float = 0.2712
    weight_long: float = 0.6482
    weight_season_mean: float = 0.1187
    weight_jump: float = 0.203
    weight_restless: float = 0.2151
    weight_beyond: float = 0.2355
    weight_below: float = 1.0
    fast: float = 0.3071
    """Weight of a new point in the local level."""
    error_points: float = 151.3
    day_memory: float = 4.109
    """Days that a time of day is learned from."""
    offset_hours: float = 21.49
    slow_hours: float = 99.96
    long_days: float = 9.426
    spread_points: float = 335.8
    spread_long: float = 0.3603
    hourly_share: float = 0.1812
    least_spread: float = 0.005712
    tail: float = 0.0168
    tail_early: float = 0.01057
    tail_late: float = 0.004282
    excess: float = 0.3165
    excess_points: float = 25.14
    excess_least: float = 0.05239
    excess_most: float = 1.468
    evidence_most: float = 7.894
    mean_step: float = 0.201
    mean_clip: float = 8.327
    season_step: float = 0.2845
    season_clip: float = 5.592
    restless_step: float = 0.05
    clip: float = 3.718
    extreme_days: float = 24.73
    need: float = 4.985
    need_density: float = 1.697
    """Evidence more for each power of ten in points a day (0 at 158: one in nine minutes)."""
    need_finer: float = 3.0
    """Evidence more for each power of ten beyond a point a minute, where made-up noise paged too often."""
    rate_weight: float = 0.2577
    rate_days: float = 3.308
    rate_start: float = 1.767
    block_weight: float = 0.2687
    block_free: float = 0.6724
    block_points: float = 155.9
    calibrate: float = 0.01945
    peak: float = 0.2368
    peak_hours: float = 5.276
    peak_slow: float = 0.1356
    peak_slow_days: float = 1.88
    warm: float = 104.0
    tail_held: float = 0.1797
    """How fast tails learn while firing: 0 would page for recurring spikes for ever."""
    excess_repeat: float = 0.4181
    """Weight of a point beyond the tail's start that follows another one."""
    settled: float = 0.9
    """While firing, a point with less than this part of the evidence needed is an ordinary one."""
    settled_part: float = 0.0625
    """An alert whose points are ordinary for this part of `relearn_after` has found a new level."""
    settled_points: float = 4.0
    """And for at least so many points."""
    clear: float = 1.5
    """An alert is clear whose evidence was once so many times what was needed; any other is faint."""
    settled_clear: float = 4.0
    """A clear alert's points must be ordinary for so many times as long."""
    settled_faint: float = 0.5
    """A faint one's for so many times."""
    resume_hours: float = 0.26
    """Within this time an alert that has ended goes on where a point lies outside its band again."""
    gross: float = 8.0
    """Spreads outside its long-run profile from which on a point is gross (`auto_gross_kernels`)."""
    gross_away: float = 1.0
    """And this part of the level away from zero, or the next one towards zero."""
    gross_towards: float = 0.8
    gross_m: int = 5
    gross_n: int = 7
    """So many of the last so many points."""
    gross_days: float = 1.0
    """Days of history before a profile is one."""
    gross_rate: float = 1.0
    """Spreads more, as a share, for each alert a day that only this floor raised lately."""
    gross_held: float = 0.25
    """What a point counts for the profile's spread while firing."""
    gross_farthest: float = 0.05
    """A spread is no less than this part of the farthest point."""
    profile_days: float = 3.0
    range_hours: float = 6.0
    """So long what is seen does not count as seen before, or a slow fall goes beyond its own last point only."""
    over: float = 0.5
    """An excursion is over, and damps what comes, when evidence is below this part of what is needed."""


def theta_of(
    settings: AutoSettings, interval_ms: int, factor: float = 1.0, relearn_after_ms: float = 0.0,
) -> NDArray[np.float64]:
    """The settings as the kernel reads them, for points `interval_ms` apart; `factor` scales the evidence needed."""
    s = settings
    per_day = _DAY_MS / interval_ms
    hours, days = interval_ms / _HOUR_MS, interval_ms / _DAY_MS
    per_bin = max(1.0, per_day / layout.DAY_BINS)

    def step(share: float, least: float = 0.0) -> float:
        return max(1.0 - math.exp(-share), least)

    density = math.log10(per_day)
    need = s.need + s.need_density * (density - 2.2) + s.need_finer * max(0.0, density - math.log10(1440))
    theta = np.array([
        s.weight_point, s.weight_point_mean, s.weight_season, s.weight_long, s.weight_season_mean, s.weight_jump,
        s.weight_restless, s.weight_beyond, s.weight_below,
        s.fast, s.error_points, 1.0 - (1.0 - 1.0 / s.day_memory) ** (1.0 / per_bin), per_bin,
        step(hours / s.offset_hours, 0.02), step(hours / s.slow_hours, 0.004), step(days / s.long_days),
        s.spread_points, s.spread_long, s.hourly_share, min(1.0, 0.15 * hours), 0.25 * min(1.0, hours),
        s.least_spread, s.tail, s.tail_early, s.tail_late, s.excess, s.excess_points, s.excess_least, s.excess_most,
        s.evidence_most, s.mean_step, s.mean_clip, s.season_step, s.season_clip, s.restless_step, s.clip,
        math.exp(-days / s.extreme_days), need * factor,
        s.rate_weight, step(days / s.rate_days), s.rate_start, per_day, s.block_weight, s.block_free, s.block_points,
        s.calibrate, s.peak, min(math.exp(-hours / s.peak_hours), 0.95), s.peak_slow,
        math.exp(-days / s.peak_slow_days), s.warm, s.tail_held, s.excess_repeat,
        s.settled, max(s.settled_part * relearn_after_ms, s.settled_points * interval_ms), s.resume_hours * _HOUR_MS,
        s.gross * factor, s.gross_away, s.gross_towards, s.gross_m, (1 << s.gross_n) - 1, s.gross_days, s.gross_rate,
        s.gross_held, step(days / s.profile_days), s.gross_farthest,
        1.0 / max(s.range_hours * _HOUR_MS, 2.0 * interval_ms), s.over,
        s.clear, s.settled_clear, s.settled_faint,
    ], np.float64)
    assert len(theta) == layout.THETA
    return theta


@detector
class Auto(Compiled):
    """Columns and settings of the auto kernel."""

    name: ClassVar[str] = "auto"
    kernels: ClassVar[tuple[Kernel, Kernel]] = (auto_kernels.advance, auto_kernels.fold)
    counter: ClassVar[tuple[str, int]] = ("record", layout.R_SEEN)
    settings: ClassVar[AutoSettings] = AutoSettings()
    ripe_ms: ClassVar[int] = round(settings.gross_days * _DAY_MS)
    """Its floor is in force from then on; before, it misses a third of the gross faults (docs/rules.md)."""

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        self.expire_ms = _EXPIRE_MS
        self.points_needed = math.ceil(self.settings.warm)
        widths = np.array([band.k, band.min_abs, band.min_rel], np.float64)
        factor *= SENSITIVITY[band.sensitivity]
        theta = theta_of(self.settings, interval_ms, factor, band.relearn_after_ms)
        super().__init__(layout.columns(), (theta, widths), self._gate(band, interval_ms), CivilTime(band.timezone))

    def _gate(self, band: Band, interval_ms: int) -> NDArray[np.int64]:
        """The band's rules; recovery takes a quarter of an hour at most, and by default no longer than the alert."""
        rules = gate_rules(band, self.expire_ms)
        points = max(1, min(band.recover.n, round(_RECOVER_MS / interval_ms)))
        rules[RECOVER_M] = min(band.recover.m, points)
        rules[RECOVER_MASK] = (1 << points) - 1
        if band.relearn_after_ms > 0:
            rules[RELEARN_MS] = max(band.relearn_after_ms, _FEWEST_HELD * interval_ms)
        rules[AS_LONG] = int(band.recover == AUTO_RECOVER)
        return rules

    def unripe(self, block: Block, offsets: NDArray[np.uint32], time_ms: int) -> NDArray[np.bool_]:
        """Where the floor is not in force yet."""
        began: NDArray[np.float64] = block.arrays["record"][offsets, layout.R_BEGAN_MS]
        return time_ms - began < self.ripe_ms

    def explain(self, block: Block, offset: int) -> Parts:
        record, why = block.arrays["record"][offset], block.arrays["why"][offset]
        time_ms = int(block.arrays["clock"][0, offset])
        value, lower, upper, baseline, score = (float(said) for said in record[layout.R_SAID : layout.R_SAID + 5])
        level, season = float(record[layout.R_SLOW]), float(why[layout.Y_SEASON])
        forecasts = zip(FORECASTS, why[layout.Y_LOCAL : layout.Y_LOCAL + 4].tolist(), strict=True)
        evidence = zip(CHANNELS, why[layout.Y_CHANNEL :].tolist(), strict=True)
        return Parts(
            time_ms=time_ms, points=int(record[layout.R_SEEN]), points_needed=self.points_needed,
            history_ms=time_ms - int(record[layout.R_BEGAN_MS]), value=value, baseline=baseline, lower=lower,
            upper=upper, score=score, level=level, season=season - level, spread=float(why[layout.Y_SCALE]),
            calibration=Calibration(
                evidence=float(why[layout.Y_EVIDENCE]), needed=float(why[layout.Y_NEED] + why[layout.Y_DAMPING]),
                for_alerts=float(why[layout.Y_RATE]), for_restlessness=float(why[layout.Y_BLOCKS]),
                for_recent_news=float(why[layout.Y_DAMPING]), alerts_per_day=float(record[layout.R_RATE]),
                forecasts=dict(forecasts), by_channel=dict(evidence), above=why[layout.Y_SIDE] == 0,
                gross=bool(why[layout.Y_GROSS]),
            ),
        )
