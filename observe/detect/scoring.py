"""Judge the judges: what would on-call have seen of these alerts, and how does the Numenta benchmark score them.

An alert becomes notifications: alerts less than half an hour (or two steps) apart are one page, which is sent again
every four hours while it lasts. An event is found if a notification falls into it (two steps early to five steps, at
most half an hour, late); every other notification is a false alarm. Point-adjusted scores are not used: a random score
does well there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_REPEAT_S = 4 * 3600.0
_PAGE_GAP_S = 1800.0

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One recorded series with what people said of it."""

    name: str
    times_s: NDArray[np.int64]
    points: NDArray[np.float64]
    labels: NDArray[np.bool_]
    score_from: int = 0
    """Points before are for warming up: neither rewarded nor punished."""
    windows: bool = False
    """Labels are windows about an event (the Numenta benchmark): no tolerance is added."""

    @property
    def step_s(self) -> float:
        steps = np.diff(self.times_s)
        steps = steps[steps > 0]
        return float(np.median(steps)) if len(steps) else 60.0


@dataclass(frozen=True, slots=True)
class EventScore:
    """Counts over any number of series; ratios are NaN where nothing was to be counted."""

    found: int = 0
    missed: int = 0
    false_alarms: int = 0
    days: float = 0.0
    delays_s: tuple[float, ...] = ()

    def __add__(self, other: "EventScore") -> "EventScore":
        return EventScore(
            self.found + other.found, self.missed + other.missed, self.false_alarms + other.false_alarms,
            self.days + other.days, self.delays_s + other.delays_s,
        )

    @property
    def precision(self) -> float:
        return _ratio(self.found, self.found + self.false_alarms)

    @property
    def recall(self) -> float:
        return _ratio(self.found, self.found + self.missed)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.found, 2 * self.found + self.false_alarms + self.missed)

    @property
    def false_alarms_per_day(self) -> float:
        return _ratio(self.false_alarms, self.days)

    @property
    def median_delay_s(self) -> float:
        return float(np.median(self.delays_s)) if self.delays_s else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def spans(flags: NDArray[np.bool_], times_s: NDArray[np.int64], gap_s: float) -> list[Span]:
    """First and last index of each run of flags; runs no more than `gap_s` apart are one."""
    where = np.flatnonzero(flags)
    if not len(where):
        return []
    breaks = np.flatnonzero(np.diff(times_s[where]) > gap_s)
    firsts, lasts = where[np.r_[0, breaks + 1]], where[np.r_[breaks, len(where) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def page_gap_s(step_s: float) -> float:
    return max(_PAGE_GAP_S, 2 * step_s)


def notifications(alert: NDArray[np.bool_], times_s: NDArray[np.int64], step_s: float) -> list[int]:
    """Indices at which a person is told."""
    told = []
    for first, last in spans(alert, times_s, page_gap_s(step_s)):
        before = times_s[first]
        told.append(first)
        for at in first + np.flatnonzero(alert[first : last + 1]):
            if times_s[at] - before >= _REPEAT_S:
                told.append(int(at))
                before = times_s[at]
    return told


def event_spans(series: Labelled) -> list[Span]:
    """All labelled events, those of the warm-up too."""
    if series.windows:
        edges = np.flatnonzero(np.diff(np.r_[False, series.labels, False].astype(np.int8)))
        return list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))
    return spans(series.labels, series.times_s, page_gap_s(series.step_s))


def score_events(series: Labelled, alert: NDArray[np.bool_]) -> EventScore:
    """What on-call would have seen of one series' alerts."""
    times, step = series.times_s, series.step_s
    counted = np.array(alert, bool)
    counted[: series.score_from] = False
    told = times[notifications(counted, times, step)]
    early = 0.0 if series.windows else 2 * step
    late = 0.0 if series.windows else max(step, min(5 * step, _PAGE_GAP_S))
    excused = np.zeros(len(told), bool)
    found, delays, events = 0, [], 0
    for first, last in event_spans(series):
        if first < series.score_from:
            if last >= series.score_from:
                excused |= told <= times[last] + late
            continue
        events += 1
        hit = (told >= times[first] - early) & (told <= times[last] + late)
        excused |= hit
        if hit.any():
            found += 1
            delays.append(max(0.0, float(told[hit][0] - times[first])))
    days = (len(times) - series.score_from) * step / 86_400
    return EventScore(found, events - found, int((~excused).sum()), days, tuple(delays))


def numenta_worth(series: Labelled) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What an alert at each point is worth in the Numenta benchmark, and the window it is in (-1: none).

    Inside a window 1 early to 0 late, a scaled sigmoid; outside 0 just after one, falling to -1.
    """
    count = len(series.times_s)
    worth, window = np.full(count, -1.0), np.full(count, -1)
    for number, (first, last) in enumerate(event_spans(series)):
        size = last - first + 1
        inside = np.arange(first, last + 1)
        window[inside] = number
        worth[inside] = _sigmoid(-(last - inside + 1) / size) / _sigmoid(np.array(-1.0))
        after = np.arange(last + 1, count)
        away = (after - last) / max(1, size - 1)
        worth[after] = np.where(away <= 3, _sigmoid(np.minimum(away, 3.0)), -1.0)
    return worth, window


def _sigmoid(position: NDArray[np.float64]) -> NDArray[np.float64]:
    curve: NDArray[np.float64] = 2 / (1 + np.exp(5 * position)) - 1
    return curve


def numenta_score(items: Sequence[tuple[Labelled, NDArray[np.bool_]]], false_positive: float = 0.11) -> float:
    """The benchmark's normalised score, standard profile: 0 is a detector that never speaks, 100 a perfect one.

    Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", 2015. Every flagged point outside a
    window counts.
    """
    total, windows = 0.0, 0
    for series, alert in items:
        worth, window = numenta_worth(series)
        flagged = np.array(alert, bool)
        flagged[: series.score_from] = False
        count = int(window.max(initial=-1)) + 1
        for number in range(count):
            hits = worth[flagged & (window == number)]
            total += float(hits.max()) if len(hits) else -1.0
        total += false_positive * float(worth[flagged & (window < 0)].sum())
        windows += count
    return 100 * (total + windows) / (2 * windows) if windows else float("nan")


def best_numenta_score(items: Sequence[tuple[Labelled, NDArray[np.float64]]], thresholds: int = 40) -> float:
    """The benchmark's score at the one threshold that is best for all series, as it is published."""
    pool = np.concatenate([score[series.score_from :] for series, score in items])
    pool = pool[np.isfinite(pool)]
    levels = np.unique(np.quantile(pool, 1 - np.logspace(-5, -1.3, thresholds)))
    return max(numenta_score([(series, score >= level) for series, score in items]) for level in levels if level > 0)


def held_share(series: Labelled, alert: NDArray[np.bool_], lower: NDArray[np.float64],
               upper: NDArray[np.float64]) -> list[float]:
    """Of each found event of over ten points: the share of points outside the band it began with that alert."""
    shares = []
    for first, last in event_spans(series):
        fired = np.flatnonzero(alert[first : last + 1])
        if first < series.score_from or last - first < 10 or not len(fired):
            continue
        began = first + int(fired[0])
        while began > 0 and alert[began - 1]:
            began -= 1
        seen = slice(max(began, first), last + 1)
        out = (series.points[seen] < lower[began]) | (series.points[seen] > upper[began])
        if out.any():
            shares.append(float(alert[seen][out].mean()))
    return shares
