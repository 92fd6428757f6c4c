"""Why a band is where it is, in words for somebody at 3 a.m.: what was seen, what was expected, what happens next.

First what matters to whoever was woken, then what stands behind it. Numbers are said by a function of the reader's
choice, so that a page that knows the unit says "212 ms".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from observe.detect.band import Band
from observe.detect.budget import Spending
from observe.detect.detector import Calibration, Parts
from observe.duration import format_duration
from observe.model import Labels
from observe.protocols import Said

_WORTH_SAYING = 0.1
"""Shares below a tenth are left out of the words."""
_SEASON_READY_MS = 2 * 86_400_000
_ABOUT_ZERO = 0.01
"""Of the band's width: an expectation so small is none."""
_CENTRES = {"rolling": "the mean", "robust": "the median"}


@dataclass(frozen=True, slots=True)
class Gate:
    """Where one series stands between quiet and firing."""

    firing_since_ms: int | None = None
    outside: int = 0
    """Of the last `trigger.n` points, while it does not fire."""
    inside: int = 0
    """Of the last `recover.n` points since it fires."""
    trigger: tuple[int, int] = (1, 1)
    recover: tuple[int, int] = (1, 1)
    relearn_after_ms: int = 0


def number(value: float) -> str:
    """Four digits are enough to act on."""
    return f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the band of one series says, and everything that stands behind it."""

    labels: Labels
    band: Band
    interval_ms: int
    parts: Parts
    gate: Gate
    lower: float
    upper: float
    by_k: float
    """Half-width that `k` alone would give; NaN for `auto`."""
    spending: Spending | None = None
    later_ms: int | None = None
    """It is the first stage of another detector, which takes over in so long (0: once this alert is over)."""

    @property
    def ready(self) -> bool:
        return self.parts.points >= self.parts.points_needed and not math.isnan(self.parts.baseline)

    @property
    def firing(self) -> bool:
        return self.gate.firing_since_ms is not None

    @property
    def words(self) -> tuple[str, ...]:
        return self.told(number)

    def told(self, say: Callable[[float], str]) -> tuple[str, ...]:
        """The sentences, with numbers as `say` says them."""
        if not self.ready:
            return (*_not_ready(self), *_history(self), *_budget(self))
        return (
            *_seen(self, say), *_next(self, say), *_expected(self, say), *_width(self, say), *_evidence(self),
            *_history(self), *_budget(self), *_stage(self),
        )

    def __str__(self) -> str:
        return "\n".join(self.words)


def explanation(
    labels: Labels, band: Band, parts: Parts, interval_ms: int, gate: Gate, factor: float = 1.0,
    said: Said | None = None, spending: Spending | None = None,
) -> Explanation:
    """Put the parts of one series' band together; `said` is the judgement of its last point, where it is at hand."""
    if said is not None and math.isfinite(said.baseline):
        parts = replace(parts, value=said.value, baseline=said.baseline, lower=said.lower, upper=said.upper,
                        score=said.score)
    if band.detector == "seasonal":  # ready by time, not by points
        left = max(0, _SEASON_READY_MS - parts.history_ms) // interval_ms
        parts = replace(parts, points_needed=max(parts.points_needed, parts.points + left))
    by_k = math.nan if parts.calibration is not None else factor * band.k * parts.spread
    lower, upper = parts.lower, parts.upper
    if math.isnan(lower) and math.isfinite(parts.baseline):
        half = max(by_k, band.min_abs, band.min_rel * abs(parts.baseline))
        lower, upper = parts.baseline - half, parts.baseline + half
    return Explanation(labels, band, interval_ms, parts, gate, lower, upper, by_k, spending)


def _rough(duration_ms: int) -> str:
    """A duration in its two largest units: nobody needs the seconds of a week."""
    day = 86_400_000
    for coarse, least in ((day, 10 * day), (3_600_000, day), (60_000, 600_000), (1_000, 1_000)):
        if duration_ms >= least:
            return format_duration(duration_ms // coarse * coarse)
    return format_duration(duration_ms)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S UTC")


def _not_ready(one: Explanation) -> list[str]:
    points, needed = one.parts.points, one.parts.points_needed
    to_go = _rough(max(0, needed - points) * one.interval_ms)
    return [f"Not ready: {points} of {needed} points are learned, about {to_go} to go.",
            "Until then it neither fires nor ends an alert."]


def _usual(one: Explanation, say: Callable[[float], str]) -> str:
    if one.band.direction == "above":
        return f"up to {say(one.upper)} is usual"
    if one.band.direction == "below":
        return f"at least {say(one.lower)} is usual"
    return f"{say(one.lower)} to {say(one.upper)} is usual"


def _seen(one: Explanation, say: Callable[[float], str]) -> list[str]:
    """What was seen last, against what was expected."""
    parts = one.parts
    state = "Not firing"
    if one.gate.firing_since_ms is not None:
        lasts = _rough(max(0, parts.time_ms - one.gate.firing_since_ms))
        state = f"Firing for {lasts}" if lasts != "0s" else "Firing since the last point"
    at = _time(parts.time_ms)
    nothing = abs(parts.baseline) < _ABOUT_ZERO * (one.upper - one.lower)
    expected = f"{'about 0' if nothing else say(parts.baseline)} was expected, {_usual(one, say)}"
    if math.isnan(parts.value):
        return [f"{state}. At {at} {expected}."]
    below = one.band.direction != "above" and parts.value < one.lower
    outside = below or (one.band.direction != "below" and parts.value > one.upper)
    compared = _compared(parts) if outside and not nothing else ""
    where = "outside" if outside else "inside"
    return [f"{state}. At {at} the value was {say(parts.value)}, {where} its band: {expected}{compared}."]


def _compared(parts: Parts) -> str:
    """How many times the expected it is, where that says something."""
    if parts.baseline <= 0 or parts.value < 0:
        return ""
    times = parts.value / parts.baseline
    if times >= 2:
        return f"; it was {times:.3g} times the expected"
    return f"; it was {100 * abs(times - 1):.0f} % {'over' if times > 1 else 'under'} the expected"


def _next(one: Explanation, say: Callable[[float], str]) -> list[str]:
    """When it would fire, or when it will end."""
    gate = one.gate
    if gate.firing_since_ms is None:
        edge = {"above": f"above {say(one.upper)}", "below": f"below {say(one.lower)}"}.get(
            one.band.direction, f"above {say(one.upper)} or below {say(one.lower)}")
        need, of = gate.trigger
        if of == 1:
            return [f"It fires at the first point {edge}."]
        did = f"of the last {of}, {_count(gate.outside)} did"
        return [f"It fires when {need} of {of} consecutive points lie {edge}; {did}."]
    need, of = gate.recover
    words = [f"It ends when {need} of the last {of} points are inside; so far {_count(gate.inside)} "
             f"{'is' if gate.inside == 1 else 'are'}." if of > 1 else "It ends at the first point inside."]
    if gate.relearn_after_ms > 0:
        words.append(f"If it stays as it is, that becomes the new normal at "
                     f"{_time(gate.firing_since_ms + gate.relearn_after_ms)}, and the alert ends as `new level`.")
    if one.band.hold:
        words.append("Until then the band stays the one it began with.")
    return words


def _count(points: int) -> str:
    return "none" if points == 0 else str(points)


def _expected(one: Explanation, say: Callable[[float], str]) -> list[str]:
    """Where the expectation comes from."""
    parts = one.parts
    centre = _CENTRES.get(one.band.detector)
    if centre is not None:
        over = _rough(parts.points * one.interval_ms)
        before = "before it fired" if one.firing and one.band.hold else "before"
        return [f"Expected is {centre} of the {parts.points} points {before} ({over})."]
    words = []
    if parts.calibration is None and abs(parts.season) <= 0.01 * abs(parts.level):
        words.append(f"Expected is its level of the last days, {say(parts.level)}; the time of day changes little.")
    if not math.isnan(parts.season) and abs(parts.season) > 0.01 * abs(parts.level):
        more = "above" if parts.season > 0 else "below"
        words.append(f"Its level of the last days is {say(parts.level)}; at this time of the day and week it is "
                     f"usually {say(abs(parts.season))} {more} that.")
    if parts.calibration is not None:
        shares = sorted(parts.calibration.forecasts.items(), key=lambda item: -item[1])
        told = ", ".join(f"{name} ({100 * share:.0f} %)" for name, share in shares if share >= _WORTH_SAYING)
        words.append(f"The expectation follows {told}: what forecast this series best lately.")
    return words


def _width(one: Explanation, say: Callable[[float], str]) -> list[str]:
    """What makes the band as wide as it is."""
    parts, band = one.parts, one.band
    usual = (f"The value usually misses the expectation by {say(parts.spread)}" if parts.spread > 0
             else "The value did not vary lately")
    least = max(band.min_abs, band.min_rel * abs(parts.baseline))
    key = "min_rel" if band.min_rel * abs(parts.baseline) > band.min_abs else "min_abs"
    if parts.calibration is not None:
        held = f", and under {say(least)} (`{key}`) nobody is woken" if least > 0 else ""
        return [f"{usual}{held}."]
    if least > one.by_k:
        times = f"; {one.by_k / parts.spread:.3g} times that is {say(one.by_k)}" if parts.spread > 0 else ""
        return [f"{usual}{times}, but deviations under {say(least)} do not count (`{key}`)."]
    return [f"{usual}; the band is {one.by_k / parts.spread:.3g} times that on each side."
            if parts.spread > 0 else f"{usual}."]


def _evidence(one: Explanation) -> list[str]:
    """How `auto` weighed the last point."""
    found = one.parts.calibration
    if found is None or math.isnan(one.parts.score):
        return []
    words = []
    if found.gross:
        words.append("It is far outside all that this series has been for days: that alone is enough, whatever its "
                     "evidence.")
    if found.evidence > 1:
        strongest = sorted(found.by_channel.items(), key=lambda item: -item[1])
        told = ", ".join(name for name, worth in strongest[:3] if worth >= _WORTH_SAYING * found.evidence)
        words.append(f"What made it unusual: {told}." if told else "")
    share = found.evidence / found.needed if found.needed > 0 else math.nan
    words.append(f"Its evidence is {found.evidence:.3g}, {100 * share:.0f} % of the {found.needed:.3g} needed (in "
                 f"powers of ten of rarity){_asked(found)}.")
    return [word for word in words if word]


def _asked(found: Calibration) -> str:
    asked = [(found.for_alerts, f"it alerted {found.alerts_per_day:.1f} times a day lately"),
             (found.for_restlessness, "it is restless"),
             (found.for_recent_news, "it was unusual a moment ago, and one incident speaks once")]
    told = [f"{more:.2g} because {why}" for more, why in asked if more >= _WORTH_SAYING]
    return f"; more than usual is asked: {', '.join(told)}" if told else ""


def _history(one: Explanation) -> list[str]:
    span = one.parts.history_ms or one.parts.points * one.interval_ms
    return [f"It stands on {one.parts.points} points over {_rough(span)}."]


def _stage(one: Explanation) -> list[str]:
    if one.later_ms is None:
        return []
    if one.later_ms <= 0:
        return ["This alert began while the series was young; when it is over, its own detector goes on."]
    to_go = _rough(one.later_ms)
    return [f"It is young: this band of few points watches it until its own detector has learned enough, in {to_go}."]


def _budget(one: Explanation) -> list[str]:
    if one.band.budget is None:
        return []
    if one.spending is None:
        return ["Its `budget:` is not applied yet, for want of history to calibrate from: the default width holds."]
    return [f"Its width was chosen for the budget: {one.spending}."]
