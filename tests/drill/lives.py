"""What goes on around a made-up series for fifteen days, and what a fault changes in it.

A life is weather, deploys, nightly work and the time of day and week, the same however often it is asked; an effect is
a fault, point by point.
"""

from dataclasses import dataclass

import numpy as np

STEP_S = 15
MINUTE, HOUR, DAY = 60 // STEP_S, 3600 // STEP_S, 86400 // STEP_S
HORIZON = 15 * DAY
START_S = 1_699_434_000
"""A Wednesday, 09:00 UTC."""
WARM_UP = 20 * MINUTE
"""Points before the first wanted one, for the widest window of an expression."""


@dataclass(frozen=True)
class Effect:
    """What a fault does, over the points that are asked for; each [T]."""

    slow: np.ndarray
    """Requests take so many times as long; work comes in so many times the amount."""
    fail: np.ndarray
    """This share of requests fails more, or of cache hits is lost, or of the machine is taken."""
    load: np.ndarray
    """So many times the requests."""
    more: np.ndarray
    """So much more, in the unit of the expression."""

    @classmethod
    def none(cls, points):
        return cls(np.ones(points), np.zeros(points), np.ones(points), np.zeros(points))

    def warmed(self):
        """The same with a quiet run-up for windows."""
        quiet = Effect.none(WARM_UP)
        return Effect(*(np.r_[getattr(quiet, key), getattr(self, key)] for key in ("slow", "fail", "load", "more")))


class Life:
    """All that happens around one series."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        points = HORIZON + WARM_UP
        self.second = START_S + STEP_S * (np.arange(points) - WARM_UP)
        self.hour = self.second / 3600 % 24
        self.weekend = (self.second // 86400 + 3) % 7 >= 5
        bell = np.exp(-(((self.hour - 14.5 + 12) % 24 - 12) / 5.0) ** 2)
        self.shape = bell * np.where(self.weekend, 0.5, 1.0)
        """0 in the night, 1 at half past two of a working day."""
        self.slow_weather = self.weather(60)
        self.fast_weather = self.weather(6)
        self.deploy = self._deploys()

    def weather(self, minutes):
        """Smooth noise of deviation one, another value every so many minutes."""
        every = minutes * MINUTE
        knots = self.rng.standard_normal((HORIZON + WARM_UP) // every + 2)
        return np.interp(np.arange(HORIZON + WARM_UP) / every, np.arange(len(knots)), knots)

    def _deploys(self):
        """Points of deploys: in office hours, every third day or so."""
        days = np.flatnonzero(self.rng.random(16) < 0.35)
        at = WARM_UP + days * DAY + (self.rng.random(len(days)) * 6 * HOUR).astype(int)
        return at[at > WARM_UP + 12 * HOUR]

    def after(self, events, points):
        """1 for so many points from each event on, else 0."""
        on = np.zeros(HORIZON + WARM_UP)
        for event in events:
            on[event : event + points] = 1.0
        return on

    def since_deploy(self, start=0):
        """Points since the process last started."""
        starts = np.r_[start, self.deploy]
        at = np.arange(HORIZON + WARM_UP)
        return at - starts[np.searchsorted(starts, at, "right") - 1]

    def now_and_then(self, a_day, least, most):
        """1 during things that happen so often a day and last between so many points."""
        on = np.zeros(HORIZON + WARM_UP)
        for event in np.flatnonzero(self.rng.random(len(on)) < a_day / DAY):
            on[event : event + int(self.rng.integers(least, most + 1))] = 1.0
        return on

    def every_night(self, hour, points, jitter=0):
        """1 for so many points at this hour of each day."""
        on = np.zeros(HORIZON + WARM_UP)
        first = WARM_UP + int((hour * 3600 - START_S % 86400) % 86400 / STEP_S)
        for at in range(first, len(on), DAY):
            begin = at + (int(self.rng.integers(0, jitter + 1)) if jitter else 0)
            on[begin : begin + points] = 1.0
        return on


@dataclass(frozen=True)
class Around:
    """The part of a life that is asked for, and the fault in it."""

    life: Life
    part: slice
    effect: Effect
    rng: np.random.Generator

    def cut(self, whole):
        return whole[self.part]

    def requests(self, night, peak, noise=0.08):
        """Requests expected in each interval, of so many a second."""
        life = self.life
        rate = night + (peak - night) * life.shape
        return self.cut(rate * np.exp(noise * life.slow_weather)) * STEP_S * self.effect.load
