"""Charts drawn on the server as SVG: no script is needed to read them, so they are there first, they print,
and the CSP needs no exception for them.

A little script (static/console.js) adds what a pointer wants: values under it, and a range to zoom into. Every chart is
drawn twice, for a wide and a narrow screen, because text inside a scaled SVG cannot keep its size.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from observe.show.plot import LINE_STYLES, Plot, Values, grid, lonely_dots, path_of, runs, time_axis, value_axis
from observe.show.words import quantity, scale_of, span_of

_LARGEST: Final = 1e300


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    values: Values
    """[T], NaN where there is none."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A vertical mark with a name: a change, or the moment an alert began."""

    at_ms: int
    name: str
    kind: str = "change"
    """``change``, ``fired`` or ``resolved``."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw. All arrays are [T]."""

    times_ms: NDArray[np.int64]
    lines: Sequence[Line]
    unit: str = ""
    lower: Values | None = None
    upper: Values | None = None
    baseline: Values | None = None
    marked: NDArray[np.bool_] | None = None
    """Points of the first line that triggered."""
    flags: Sequence[Flag] = ()
    title: str = ""
    zero: bool = True
    """Whether the axis starts at 0 where no value is negative."""


def draw(chart: Chart, width: int = 1200, height: int = 320) -> Markup:
    """The figure: a wide drawing for about so many pixels, a narrow one, and the data for the pointer."""
    chart = _drawable(chart)
    if not len(chart.times_ms) or not any(np.isfinite(line.values).any() for line in chart.lines):
        return Markup('<p class="empty">No samples in this range.</p>')
    wide = _drawing(chart, width, height, "wide")
    narrow = _drawing(chart, 400, 260, "narrow")
    return Markup('<figure class="chart" data-chart="{}">{}{}</figure>').format(_pointer_data(chart), wide, narrow)


def _drawable(chart: Chart) -> Chart:
    """Without infinities, and without numbers so large that differences overflow: they are gaps."""

    def plain(values: Values | None) -> Values | None:
        return None if values is None else np.where(np.abs(values) < _LARGEST, values, np.nan)

    lines = [Line(line.name, np.where(np.abs(line.values) < _LARGEST, line.values, np.nan)) for line in chart.lines]
    return replace(
        chart, lines=lines, lower=plain(chart.lower), upper=plain(chart.upper), baseline=plain(chart.baseline),
    )


def _drawing(chart: Chart, width: int, height: int, kind: str) -> Markup:
    extent = _extent(chart)
    low, high, ticks = value_axis(extent, 5 if kind == "wide" else 4, chart.unit)
    factor, shown = scale_of(max(abs(low), abs(high)), chart.unit)
    widest = max(len(f"{tick / factor:g} {shown}") for tick in ticks)
    plot = Plot(
        width,
        height,
        max(48, int(14 + 6.8 * widest)),
        12,
        38 if chart.flags else 10,
        24,
        int(chart.times_ms[0]),
        max(int(chart.times_ms[-1]), int(chart.times_ms[0]) + 1),
    )
    plot.low, plot.high, plot.ticks = low, high, ticks
    parts: list[Markup] = [
        *_firing(plot, chart.flags), *grid(plot, chart.unit), *time_axis(plot, 7 if kind == "wide" else 4)
    ]
    if chart.lower is not None or chart.upper is not None:
        parts.append(_band(plot, chart))
    if chart.baseline is not None:
        parts.append(Markup('<path class="baseline" d="{}"/>').format(path_of(plot, chart.times_ms, chart.baseline)))
    for index, line in reversed(list(enumerate(chart.lines))):
        parts.append(
            Markup('<path class="line line-{}" d="{}"/>').format(
                index % LINE_STYLES, path_of(plot, chart.times_ms, line.values)
            )
        )
        parts.extend(lonely_dots(plot, chart.times_ms, line.values, index))
    parts.extend(_marks(plot, chart))
    parts.extend(_flags(plot, chart.flags))
    return plot.svg(kind, chart.title or "chart", parts)


def _extent(chart: Chart) -> tuple[float, float]:
    arrays = [line.values for line in chart.lines]
    arrays += [a for a in (chart.lower, chart.upper, chart.baseline) if a is not None]
    finite = [a[np.isfinite(a)] for a in arrays]
    joined = np.concatenate([a for a in finite if a.size] or [np.zeros(1)])
    # An upper bound far above every value would press the line flat: show at most three times what was seen.
    seen = np.concatenate([line.values[np.isfinite(line.values)] for line in chart.lines] or [joined])
    high = float(joined.max())
    if seen.size and float(seen.max()) > 0:
        expected = [a[np.isfinite(a)] for a in (chart.lower, chart.baseline) if a is not None]
        needed = max([3 * float(seen.max()), *(1.2 * float(a.max()) for a in expected if a.size)])
        high = min(high, needed)
    low = float(joined.min())
    if chart.zero and low >= 0:
        low = 0.0
    if seen.size and low < 0 <= float(seen.min()):
        low = 0.0  # a band may reach below zero where its values cannot
    return low, high


def _band(plot: Plot, chart: Chart) -> Markup:
    """The expected band: a soft area, with a thin edge so that it is seen in grey print too."""
    empty = np.full(len(chart.times_ms), np.nan)
    upper = chart.upper if chart.upper is not None else empty
    lower = chart.lower if chart.lower is not None else empty
    known = np.isfinite(upper) | np.isfinite(lower)
    high = np.where(np.isfinite(upper), np.clip(upper, plot.low, plot.high), plot.high)
    low = np.where(np.isfinite(lower), np.clip(lower, plot.low, plot.high), plot.low)
    area, edges = [], []
    for first, end in runs(np.where(known, 0.0, np.nan)):
        xs = [plot.x(float(t)) for t in chart.times_ms[first:end]]
        top = [f"{x:.1f} {plot.y(float(v)):.1f}" for x, v in zip(xs, high[first:end], strict=True)]
        below = [f"{x:.1f} {plot.y(float(v)):.1f}" for x, v in zip(xs, low[first:end], strict=True)]
        area.append("M" + "L".join(top + below[::-1]) + "Z")
        edges += ["M" + "L".join(top), "M" + "L".join(below)]
    return Markup('<path class="band" d="{}"/><path class="band-edge" d="{}"/>').format("".join(area), "".join(edges))


def _marks(plot: Plot, chart: Chart) -> Iterable[Markup]:
    if chart.marked is None or not chart.lines:
        return
    values = chart.lines[0].values
    for i in np.flatnonzero(chart.marked & np.isfinite(values)).tolist():
        yield Markup('<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
            plot.x(float(chart.times_ms[i])), plot.y(float(values[i]))
        )


def _firing(plot: Plot, flags: Sequence[Flag]) -> Iterable[Markup]:
    """A soft ground from where it fired to where it was over, or to now."""
    begun = next((flag.at_ms for flag in flags if flag.kind == "fired"), None)
    over = next((flag.at_ms for flag in flags if flag.kind == "resolved"), plot.end_ms)
    if begun is not None and begun < plot.end_ms and over > plot.start_ms:
        x, x2 = plot.x(max(begun, plot.start_ms)), plot.x(min(over, plot.end_ms))
        yield Markup('<rect class="firing" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
            x, plot.top, max(1.0, x2 - x), plot.height - plot.bottom - plot.top
        )


def _flags(plot: Plot, flags: Sequence[Flag]) -> Iterable[Markup]:
    """Vertical marks; names of changes stand in the upper row, the alert's own in the lower."""
    taken = {True: -1e9, False: -1e9}
    for flag in sorted(flags, key=lambda f: f.at_ms):
        if not plot.start_ms <= flag.at_ms <= plot.end_ms:
            continue
        x, upper = plot.x(flag.at_ms), flag.kind == "change"
        row = plot.top - (24 if upper else 8)
        yield Markup('<path class="flag flag-{}" d="M{:.1f} {}V{}"><title>{}</title></path>').format(
            flag.kind, x, row, plot.height - plot.bottom, flag.name
        )
        name = flag.name if len(flag.name) <= 28 else flag.name[:27] + "…"
        width = 6.2 * len(name)
        before = x + 5 + width > plot.width - 4
        begin = x - 5 - width if before else x + 5
        if begin > taken[upper]:
            yield Markup('<text class="flag-name" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                x - 5 if before else begin, row + 4, "end" if before else "start", name
            )
            taken[upper] = begin + width


def _pointer_data(chart: Chart) -> str:
    body = {
        "t": [int(t) for t in chart.times_ms],
        "lines": [[line.name, [_said(v, chart.unit) for v in line.values.tolist()]] for line in chart.lines[:12]],
    }
    if chart.lower is not None and chart.upper is not None:
        body["band"] = [
            span_of(low, high, chart.unit) if math.isfinite(low) or math.isfinite(high) else ""
            for low, high in zip(chart.lower.tolist(), chart.upper.tolist(), strict=True)
        ]
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def _said(value: float, unit: str) -> str:
    return quantity(value, unit) if math.isfinite(value) else ""


def sparkline(values: Values, lower: Values | None = None, upper: Values | None = None, title: str = "") -> Markup:
    """A line the size of a word, on its band where there is one; the last point is a dot."""
    index = np.arange(len(values), dtype=np.int64)
    chart = _drawable(Chart(index, [Line("", values)], lower=lower, upper=upper))
    values = chart.lines[0].values
    if not np.isfinite(values).any():
        return Markup('<span class="spark none">no samples</span>')
    plot = Plot(144, 32, 2, 4, 3, 3, 0, max(1, len(values) - 1))
    plot.low, plot.high = _extent(chart)
    if plot.high <= plot.low:
        plot.low, plot.high = plot.low - 1, plot.high + 1
    parts = [_band(plot, chart)] if lower is not None or upper is not None else []
    parts.append(Markup('<path class="line line-0" d="{}"/>').format(path_of(plot, index, values)))
    last = int(np.flatnonzero(np.isfinite(values))[-1])
    parts.append(
        Markup('<circle class="dot dot-0" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(
            plot.x(last), plot.y(float(values[last]))
        )
    )
    return (
        Markup('<svg class="spark" viewBox="0 0 144 32" role="img" aria-label="{}">').format(title or "recent values")
        + Markup("").join(parts)
        + Markup("</svg>")
    )
