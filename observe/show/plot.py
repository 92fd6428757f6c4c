"""The ground of every chart: a plot area with its scales, axes with round ticks, and the path of a series."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from observe.show.words import clock, scale_of

Values = NDArray[np.float64]

LINE_STYLES: Final = 6
"""How many lines look different."""

_TIME_STEPS_S: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
    86400, 172800, 604800, 1209600, 2592000,
)


@dataclass(slots=True)
class Plot:
    """The plot area and its scales."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    start_ms: int
    end_ms: int
    low: float = 0.0
    high: float = 1.0
    ticks: list[float] = field(default_factory=list)

    def x(self, time_ms: float) -> float:
        span = max(1, self.end_ms - self.start_ms)
        return self.left + (time_ms - self.start_ms) / span * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def svg(self, kind: str, title: str, parts: Iterable[Markup]) -> Markup:
        """The drawing. `kind` is the style that shows it, ``wide`` or ``narrow``; a script reads ``data-plot``."""
        head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" data-plot="{} {} {} {}">').format(
            kind, self.width, self.height, title, self.left, self.width - self.right, self.top,
            self.height - self.bottom,
        )
        return head + Markup("").join(parts) + Markup("</svg>")


def value_axis(extent: tuple[float, float], wanted: int, unit: str) -> tuple[float, float, list[float]]:
    """Low, high and round ticks that hold `extent`.

    >>> value_axis((0.0, 2.3), 5, "s")
    (0.0, 2.5, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    """
    low, high = extent
    size = max(abs(low), abs(high))
    if high - low <= max(size * 1e-9, 1e-200):  # one value, or so near to one that ticks would not differ
        pad = size * 0.5 if size > 1e-200 else 1.0
        low, high = (0.0, high + pad) if low >= 0 else (low - pad, high + pad)
    factor = scale_of(max(abs(low), abs(high)), unit)[0]
    rough = (high - low) / factor / wanted
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * magnitude >= rough * 0.999)
    first, last = math.floor(low / factor / step), math.ceil(high / factor / step - 1e-9)
    ticks = [round(i * step, 12) * factor for i in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def grid(plot: Plot, unit: str) -> Iterable[Markup]:
    """A line and its value at every tick of the value axis."""
    factor, shown = scale_of(max(abs(plot.low), abs(plot.high)), unit)
    for tick in plot.ticks:
        y = plot.y(tick)
        text = f"{tick / factor:g}".replace("-", "−") + (f"\u00a0{shown}" if shown else "")
        yield Markup(
            '<path class="grid" d="M{} {:.1f}H{}"/><text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(plot.left, y, plot.width - plot.right, plot.left - 8, y + 4, text)


def time_ticks(start_ms: int, end_ms: int, wanted: int) -> tuple[list[int], str]:
    """Round times inside a range, at most about `wanted`, and the form in which to write them."""
    span_s = max(1.0, (end_ms - start_ms) / 1000)
    step_s = next((s for s in _TIME_STEPS_S if s >= span_s / wanted * 0.999), _TIME_STEPS_S[-1])
    first = -(-start_ms // (step_s * 1000)) * step_s * 1000
    form = "hms" if step_s < 60 else "hm" if span_s <= 86_400 else "day"
    return list(range(first, end_ms + 1, step_s * 1000)), form


def time_axis(plot: Plot, wanted: int) -> Iterable[Markup]:
    """The time under the plot, at most about `wanted` times."""
    ticks, form = time_ticks(plot.start_ms, plot.end_ms, wanted)
    for tick in ticks:
        x = plot.x(tick)
        if plot.left + 8 <= x <= plot.width - plot.right - 8:
            yield Markup(
                '<text class="tick" x="{:.1f}" y="{}" text-anchor="middle" data-t="{}" data-form="{}">{}</text>'
            ).format(x, plot.height - 6, tick, form, clock(tick, form))


def runs(values: Values) -> list[tuple[int, int]]:
    """Stretches without gaps, as [first, after last)."""
    known = np.isfinite(values)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def path_of(plot: Plot, times: NDArray[np.int64], values: Values) -> str:
    """The line through a series [T], broken where it has gaps."""
    parts = []
    for first, end in runs(values):
        points = [f"{plot.x(float(times[i])):.1f} {plot.y(float(values[i])):.1f}" for i in range(first, end)]
        parts.append("M" + "L".join(points))
    return "".join(parts)


def lonely_dots(plot: Plot, times: NDArray[np.int64], values: Values, index: int) -> Iterable[Markup]:
    """A sample with gaps on both sides has no line: draw a dot."""
    for first, end in runs(values):
        if end - first == 1:
            yield Markup('<circle class="dot dot-{}" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(
                index % LINE_STYLES, plot.x(float(times[first])), plot.y(float(values[first]))
            )
