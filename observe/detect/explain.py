"""Why a band is where it is, in words for somebody at 3 a.m."""

import math
from dataclasses import dataclass

from observe.detect.band import Band
from observe.detect.detector import Parts
from observe.duration import format_duration
from observe.model import Labels

_WORTH_SAYING = 0.1
"""Shares below a tenth are left out of the words."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the band of one series says, and everything that stands behind it."""

    labels: Labels
    detector: str
    ready: bool
    firing: bool
    firing_since_ms: int | None
    lower: float
    upper: float
    parts: Parts
    words: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.words)


def explanation(labels: Labels, band: Band, parts: Parts, interval_ms: int, firing_since_ms: int | None) -> Explanation:
    """Put the parts of one series' band into words."""
    ready = parts.points >= parts.points_needed and not math.isnan(parts.baseline)
    lower, upper = parts.lower, parts.upper
    if math.isnan(lower) and ready:
        half = max(band.k * parts.spread, band.min_abs, band.min_rel * abs(parts.baseline))
        lower, upper = parts.baseline - half, parts.baseline + half
    words = [*_state(parts, ready, firing_since_ms, interval_ms), *_history(parts, interval_ms)]
    if ready:
        words += [*_expected(parts), *_width(parts, band, lower, upper), *_verdict(parts, band)]
    return Explanation(
        labels=labels, detector=band.detector, ready=ready, firing=firing_since_ms is not None,
        firing_since_ms=firing_since_ms, lower=lower, upper=upper, parts=parts, words=tuple(words),
    )


def number(value: float) -> str:
    """Four digits are enough to act on."""
    return f"{value:.4g}"


def _state(parts: Parts, ready: bool, firing_since_ms: int | None, interval_ms: int) -> list[str]:
    if firing_since_ms is not None:
        lasts = format_duration(max(0, parts.time_ms - firing_since_ms) // 1000 * 1000)
        return [f"It has been firing for {lasts}; its band is the one it began with."]
    if not ready:
        wait = max(0, parts.points_needed - parts.points) * interval_ms
        to_go = format_duration(wait // 1000 * 1000)
        return [f"It is not ready: {parts.points} of {parts.points_needed} points are learned; about {to_go} to go."]
    return ["It is not firing."]


def _history(parts: Parts, interval_ms: int) -> list[str]:
    span = parts.history_ms or parts.points * interval_ms
    return [f"It stands on {parts.points} points over {format_duration(span // 60_000 * 60_000)}."]


def _expected(parts: Parts) -> list[str]:
    words = [f"Expected is {number(parts.baseline)}."]
    if not math.isnan(parts.season) and abs(parts.season) > 0.01 * abs(parts.level):
        more = "over" if parts.season > 0 else "under"
        words.append(f"The usual level is {number(parts.level)}; at this time of the day and week it is "
                     f"{number(abs(parts.season))} {more} that.")
    if parts.calibration is not None:
        shares = sorted(parts.calibration.forecasts.items(), key=lambda item: -item[1])
        told = ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares if share >= _WORTH_SAYING)
        words.append(f"That forecast is made of {told}, by how well each did lately.")
    return words


def _width(parts: Parts, band: Band, lower: float, upper: float) -> list[str]:
    words = [f"The band is {number(lower)} to {number(upper)}. A usual error is {number(parts.spread)}."]
    if parts.calibration is None:
        half = upper - parts.baseline
        if half > band.k * parts.spread:
            words.append(f"{band.k:g} times that would be {number(band.k * parts.spread)}; min_abs or min_rel widen it "
                         f"to {number(half)}.")
        else:
            words.append(f"The width is {band.k:g} times that.")
        return words
    found = parts.calibration
    asked = [(found.for_alerts, f"it alerted about {found.alerts_per_day:.1f} times a day lately"),
             (found.for_restlessness, "its errors are often large"),
             (found.for_recent_news, "it said something recently, and an incident speaks once")]
    told = [f"{number(more)} because {why}" for more, why in asked if more >= _WORTH_SAYING]
    if told:
        words.append(f"Evidence of {number(found.needed)} is needed (a point as rare as one in 10^{found.needed:.0f}); "
                     f"of it {'; '.join(told)}.")
    return words


def _verdict(parts: Parts, band: Band) -> list[str]:
    if math.isnan(parts.value) or math.isnan(parts.score):
        return []
    if parts.calibration is None:
        return [f"The last value {number(parts.value)} scores {parts.score:.2f}; over 1 is outside."]
    found = parts.calibration
    words = [f"The last value {number(parts.value)} scores {parts.score:.2f} (over 1 is outside)."]
    words.append(f"Its evidence is {number(found.evidence)}; {number(found.needed)} was needed.")
    strongest = sorted(found.by_channel.items(), key=lambda item: -item[1])
    told = ", ".join(f"{name} ({number(worth)})" for name, worth in strongest[:3] if worth >= _WORTH_SAYING)
    if told:
        words.append(f"It comes from {told}.")
    if parts.score <= 1:
        edges = {"above": f"above {number(parts.upper)}", "below": f"below {number(parts.lower)}"}
        needed = edges.get(band.direction, f"above {number(parts.upper)} or below {number(parts.lower)}")
        words.append(f"It would have fired {needed}.")
    return words
