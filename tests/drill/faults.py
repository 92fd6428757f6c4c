"""Faults as an on-call knows them: how large, of what shape, and when; each becomes an `Effect` on made-up series."""

from dataclasses import dataclass

import numpy as np

from tests.drill.lives import DAY, HOUR, MINUTE, START_S, STEP_S, Effect

AFTER = 3 * HOUR // 2
"""Points that are looked at after a fault's end."""


@dataclass(frozen=True)
class Size:
    """How large a fault of one rule is, in words, and on what it acts."""

    words: str
    acts_on: str
    """`slow`, `fail`, `load` or `more` of an `Effect`."""
    to: float

    def effect(self, strength):
        """`strength` [T] is 0 without the fault and 1 at its full size."""
        effect = Effect.none(len(strength))
        neutral = getattr(effect, self.acts_on)
        neutral += (self.to - neutral) * strength
        return effect


@dataclass(frozen=True)
class Shape:
    """How a fault goes: its strength from its first point on, and where in that its last point is."""

    words: str
    strength: np.ndarray
    began: int
    """The first point of the fault that is judged (a second one comes after a first)."""
    ends: int


def _shape(words, *parts, began=0):
    strength = np.concatenate([np.asarray(part, float) for part in parts])
    return Shape(words, np.r_[strength, np.zeros(AFTER)], began, len(strength))


_ONE, _NONE = np.ones, np.zeros
STEP = _shape("a step, for an hour", _ONE(HOUR))
SHAPES = (
    STEP,
    _shape("a burst of five minutes", _ONE(5 * MINUTE)),
    _shape("rising for half an hour, then for an hour", np.linspace(0, 1, HOUR // 2), _ONE(HOUR)),
    _shape("rising for two hours, then for an hour", np.linspace(0, 1, 2 * HOUR), _ONE(HOUR)),
    _shape("three minutes on, two off, for an hour", np.tile(np.r_[_ONE(3 * MINUTE), _NONE(2 * MINUTE)], 12)),
    _shape("again, two hours after one of an hour", _ONE(HOUR), _NONE(2 * HOUR), _ONE(HOUR), began=3 * HOUR),
    _shape("at half the size, two hours after one of an hour", _ONE(HOUR), _NONE(2 * HOUR), np.full(HOUR, 0.5),
           began=3 * HOUR),
    _shape("a step, for six hours", _ONE(6 * HOUR)),
)


def _at(day, hour):
    return round((day * 86400 + hour * 3600 - START_S % 86400) / STEP_S)


TIMES = {
    "10 min": 10 * MINUTE + 1,
    "1 h": HOUR,
    "6 h": 6 * HOUR,
    "3 days": 3 * DAY,
    "daily peak": _at(12, 14.5),
    "night": _at(12, 4.5),
    "2 weeks": 14 * DAY,
}
"""Points after the start of observe at which a fault begins; the peak and the night are those of a second Monday."""

ONE_SHAPE_AT = ("10 min", "1 h", "daily peak", "night")
"""Where only the step is tried; the other times see every shape."""


def sizes(acts_on, *steps):
    """A small one that no page should be about, one that should, and a gross one."""
    return tuple(Size(words, acts_on, to) for words, to in steps)


SIZES = {
    "LatencyOutsideBand": sizes("slow", ("1.3 times", 1.3), ("2.5 times", 2.5), ("6 times", 6)),
    "LatencyOutsideBandLowTraffic": sizes("slow", ("1.3 times", 1.3), ("2.5 times", 2.5), ("6 times", 6)),
    "ErrorShareOutsideBand": sizes("fail", ("2 %", 0.02), ("10 %", 0.1), ("33 %", 0.33)),
    "ErrorShareOutsideBandLowTraffic": sizes("fail", ("5 %", 0.05), ("35 %", 0.35), ("80 %", 0.8)),
    "RequestsRefused": sizes("fail", ("2 %", 0.02), ("12 %", 0.12), ("40 %", 0.4)),
    "QueueOutsideBand": sizes("more", ("10 % of it", 0.1), ("40 % of it", 0.4), ("full", 1.0)),
    "CacheHitShareBelowBand": sizes("fail", ("10 % fewer hits", 0.1), ("half the hits", 0.5), ("no hits", 0.98)),
    "TrafficBelowBand": sizes("load", ("down to 70 %", 0.7), ("down to 15 %", 0.15), ("nothing", 0.0)),
    "JvmGcTimeOutsideBand": sizes("more", ("2 % of the time", 0.02), ("12 %", 0.12), ("40 %", 0.4)),
    "TimeToFirstTokenOutsideBand": sizes("slow", ("1.3 times", 1.3), ("3 times", 3), ("8 times", 8)),
    "InterTokenLatencyOutsideBand": sizes("slow", ("1.3 times", 1.3), ("2.5 times", 2.5), ("6 times", 6)),
    "RequestsWaitingOutsideBand": sizes("more", ("3 more", 3), ("20 more", 20), ("120 more", 120)),
    "PythonGcTimeOutsideBand": sizes("more", ("1 % of the time", 0.01), ("6 %", 0.06), ("30 %", 0.3)),
    "PythonGcCollectionsOutsideBand": sizes("slow", ("twice", 2.0), ("10 times", 10), ("60 times", 60)),
    "PythonMemoryOutsideBand": sizes("slow", ("1.2 times", 1.2), ("1.9 times", 1.9), ("3 times", 3)),
    "QueueBacklogOutsideBand": sizes("more", ("60 more", 60), ("1000 more", 1000), ("20 000 more", 20_000)),
    "QueueOldestAgeOutsideBand": sizes("more", ("40 s", 40), ("10 min", 600), ("an hour", 3600)),
    "HostCpuOutsideBand": sizes("fail", ("a quarter of it", 0.25), ("85 % of it", 0.85), ("all of it", 1.0)),
}
"""Per shipped rule with a band: small (below what the rule is about), clear, gross."""
