"""When a rule pages, over values of its expression: its bands in both stages, then the state machine of production.

The same as `StagedEngine` gives tick by tick, folded over many ticks at once; `test_rules` holds the two
together.
"""

import copy
from dataclasses import dataclass

import numpy as np

from observe.alert.states import Observation, Seen, Timing, advance
from observe.detect.engine import Engine
from observe.detect.staged import first_stage
from observe.model import AlertState, Labels
from tests.drill.lives import START_S, STEP_S

STEP_MS = 1000 * STEP_S
_GONE_AFTER = 60 // STEP_S


class Bands:
    """Both stages of the bands of a rule, over series that go on from one fold to the next."""

    def __init__(self, band, series):
        self.labels = tuple(Labels({"series": str(number)}) for number in range(series))
        self._grown, self._young = Engine(band, STEP_MS), None
        if band.detector in {"auto", "seasonal"}:
            self._young = Engine(first_stage(band), STEP_MS)
        self._used = np.ones(series, bool)
        """The last point was judged by the first stage."""
        self._held = np.zeros(series, bool)

    def fold(self, first, values):
        """Whether the band fires, [T, S]; `first` counts points from the start."""
        times = 1000 * START_S + STEP_MS * (first + np.arange(len(values), dtype=np.int64))
        grown = self._grown.fold(times, self.labels, values)
        firing = grown.firing.copy()
        if self._young is None or not self._used.any():
            return firing
        young = self._young.fold(times, self.labels, values)
        ripe = times - 1000 * START_S >= self._grown.detector.ripe_ms
        ready = grown.ready & ripe[:, None]
        for column in np.flatnonzero(self._used):
            held = self._held[column]
            for t in range(len(values)):
                used = held or not ready[t, column]
                if not used:
                    break
                firing[t, column] = held = young.firing[t, column]
            self._used[column], self._held[column] = used, held
        return firing

    def fork(self):
        """A copy that goes its own way."""
        other = copy.copy(self)
        other._used, other._held = self._used.copy(), self._held.copy()
        for stage in ("_grown", "_young"):
            engine = getattr(self, stage)
            if engine is not None:
                twin = Engine(engine.band, STEP_MS)
                twin.restore(engine.snapshot())
                setattr(other, stage, twin)
        return other


@dataclass(frozen=True)
class Page:
    """One alert of one series, in points: from when it fired until it was resolved (the end, where it was not)."""

    fired: int
    resolved: int
    why: str


def pages_of(firing, values, rule):
    """The pages of one series [T]: its band's verdict, `for`, `keep_firing_for`, and points that are not there."""
    timing = Timing(rule.for_ms, rule.keep_firing_for_ms)
    name = Labels({})
    absent = np.isnan(values)
    pages, state, fired, away, t = [], {}, None, 0, 0
    ons = np.flatnonzero(firing & ~absent)
    while t < len(values):
        if not state:
            at = np.searchsorted(ons, t)
            if at == len(ons):
                break
            t = int(ons[at])
        away = away + 1 if absent[t] else 0
        if absent[t]:
            seen = Seen.GONE if away >= _GONE_AFTER else Seen.UNKNOWN
        else:
            seen = Seen.MET if firing[t] else Seen.CLEAR
        state, changes = advance(state, {name: Observation(seen)}, timing, t * STEP_MS)
        for change in changes:
            if change.after is AlertState.FIRING:
                fired = t
            elif change.after is AlertState.RESOLVED:
                pages.append(Page(fired, t, str(change.reason)))
                fired = None
        t += 1
    if fired is not None:
        pages.append(Page(fired, len(values), "firing still"))
    return pages
