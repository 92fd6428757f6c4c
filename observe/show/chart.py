"""Charts drawn on the server as SVG: no script is needed to read them, so they are there first, they print,
and the CSP needs no exception for them.

A little script (static/console.js) adds what a pointer wants: values under it, and a range to zoom into. Every chart is
drawn twice, for a wide and a narrow screen, because text inside a scaled SVG cannot keep its size.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from observe.show.words import clock, quantity, scale_of, span_of

Values = NDArray[np.float64]

_TIME_STEPS_S: Final = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
    1209600,
    2592000,
)
LINE_STYLES: Final = 6
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


@dataclass(slots=True)
class _Frame:
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
    frame = _Frame(
        width,
        height,
        max(48, int(14 + 6.8 * widest)),
        12,
        38 if chart.flags else 10,
        24,
        int(chart.times_ms[0]),
        max(int(chart.times_ms[-1]), int(chart.times_ms[0]) + 1),
    )
    frame.low, frame.high, frame.ticks = low, high, ticks
    parts: list[Markup] = [
        *_firing(frame, chart.flags), *_grid(frame, chart.unit), *_time_axis(frame, 7 if kind == "wide" else 4)
    ]
    if chart.lower is not None or chart.upper is not None:
        parts.append(_band(frame, chart))
    if chart.baseline is not None:
        parts.append(Markup('<path class="baseline" d="{}"/>').format(_path(frame, chart.times_ms, chart.baseline)))
    for index, line in reversed(list(enumerate(chart.lines))):
        parts.append(
            Markup('<path class="line line-{}" d="{}"/>').format(
                index % LINE_STYLES, _path(frame, chart.times_ms, line.values)
            )
        )
        parts.extend(_lonely(frame, chart.times_ms, line.values, index))
    parts.extend(_marks(frame, chart))
    parts.extend(_flags(frame, chart.flags))
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" data-plot="{} {} {} {}">').format(
        kind, width, height, chart.title or "chart", frame.left, width - frame.right, frame.top, height - frame.bottom
    )
    return head + Markup("").join(parts) + Markup("</svg>")


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


def _grid(frame: _Frame, unit: str) -> Iterable[Markup]:
    factor, shown = scale_of(max(abs(frame.low), abs(frame.high)), unit)
    for tick in frame.ticks:
        y = frame.y(tick)
        text = f"{tick / factor:g}".replace("-", "−") + (f"\u00a0{shown}" if shown else "")
        yield Markup(
            '<path class="grid" d="M{} {:.1f}H{}"/><text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(frame.left, y, frame.width - frame.right, frame.left - 8, y + 4, text)


def time_ticks(start_ms: int, end_ms: int, wanted: int) -> tuple[list[int], str]:
    """Round times inside a range, at most about `wanted`, and the form in which to write them."""
    span_s = max(1.0, (end_ms - start_ms) / 1000)
    step_s = next((s for s in _TIME_STEPS_S if s >= span_s / wanted * 0.999), _TIME_STEPS_S[-1])
    first = -(-start_ms // (step_s * 1000)) * step_s * 1000
    form = "hms" if step_s < 60 else "hm" if span_s <= 86_400 else "day"
    return list(range(first, end_ms + 1, step_s * 1000)), form


def _time_axis(frame: _Frame, wanted: int) -> Iterable[Markup]:
    ticks, form = time_ticks(frame.start_ms, frame.end_ms, wanted)
    for tick in ticks:
        x = frame.x(tick)
        if frame.left + 8 <= x <= frame.width - frame.right - 8:
            yield Markup(
                '<text class="tick" x="{:.1f}" y="{}" text-anchor="middle" data-t="{}" data-form="{}">{}</text>'
            ).format(x, frame.height - 6, tick, form, clock(tick, form))


def _runs(values: Values) -> list[tuple[int, int]]:
    """Stretches without gaps, as [first, after last)."""
    known = np.isfinite(values)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _path(frame: _Frame, times: NDArray[np.int64], values: Values) -> str:
    parts = []
    for first, end in _runs(values):
        points = [f"{frame.x(float(times[i])):.1f} {frame.y(float(values[i])):.1f}" for i in range(first, end)]
        parts.append("M" + "L".join(points))
    return "".join(parts)


def _lonely(frame: _Frame, times: NDArray[np.int64], values: Values, index: int) -> Iterable[Markup]:
    """A sample with gaps on both sides has no line: draw a dot."""
    for first, end in _runs(values):
        if end - first == 1:
            yield Markup('<circle class="dot dot-{}" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(
                index % LINE_STYLES, frame.x(float(times[first])), frame.y(float(values[first]))
            )


def _band(frame: _Frame, chart: Chart) -> Markup:
    """The expected band: a soft area, with a thin edge so that it is seen in grey print too."""
    empty = np.full(len(chart.times_ms), np.nan)
    upper = chart.upper if chart.upper is not None else empty
    lower = chart.lower if chart.lower is not None else empty
    known = np.isfinite(upper) | np.isfinite(lower)
    high = np.where(np.isfinite(upper), np.clip(upper, frame.low, frame.high), frame.high)
    low = np.where(np.isfinite(lower), np.clip(lower, frame.low, frame.high), frame.low)
    area, edges = [], []
    for first, end in _runs(np.where(known, 0.0, np.nan)):
        xs = [frame.x(float(t)) for t in chart.times_ms[first:end]]
        top = [f"{x:.1f} {frame.y(float(v)):.1f}" for x, v in zip(xs, high[first:end], strict=True)]
        below = [f"{x:.1f} {frame.y(float(v)):.1f}" for x, v in zip(xs, low[first:end], strict=True)]
        area.append("M" + "L".join(top + below[::-1]) + "Z")
        edges += ["M" + "L".join(top), "M" + "L".join(below)]
    return Markup('<path class="band" d="{}"/><path class="band-edge" d="{}"/>').format("".join(area), "".join(edges))


def _marks(frame: _Frame, chart: Chart) -> Iterable[Markup]:
    if chart.marked is None or not chart.lines:
        return
    values = chart.lines[0].values
    for i in np.flatnonzero(chart.marked & np.isfinite(values)).tolist():
        yield Markup('<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
            frame.x(float(chart.times_ms[i])), frame.y(float(values[i]))
        )


def _firing(frame: _Frame, flags: Sequence[Flag]) -> Iterable[Markup]:
    """A soft ground from where it fired to where it was over, or to now."""
    begun = next((flag.at_ms for flag in flags if flag.kind == "fired"), None)
    over = next((flag.at_ms for flag in flags if flag.kind == "resolved"), frame.end_ms)
    if begun is not None and begun < frame.end_ms and over > frame.start_ms:
        x, x2 = frame.x(max(begun, frame.start_ms)), frame.x(min(over, frame.end_ms))
        yield Markup('<rect class="firing" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
            x, frame.top, max(1.0, x2 - x), frame.height - frame.bottom - frame.top
        )


def _flags(frame: _Frame, flags: Sequence[Flag]) -> Iterable[Markup]:
    """Vertical marks; names of changes stand in the upper row, the alert's own in the lower."""
    taken = {True: -1e9, False: -1e9}
    for flag in sorted(flags, key=lambda f: f.at_ms):
        if not frame.start_ms <= flag.at_ms <= frame.end_ms:
            continue
        x, upper = frame.x(flag.at_ms), flag.kind == "change"
        row = frame.top - (24 if upper else 8)
        yield Markup('<path class="flag flag-{}" d="M{:.1f} {}V{}"><title>{}</title></path>').format(
            flag.kind, x, row, frame.height - frame.bottom, flag.name
        )
        name = flag.name if len(flag.name) <= 28 else flag.name[:27] + "…"
        width = 6.2 * len(name)
        before = x + 5 + width > frame.width - 4
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


# ---------------------------------------------------------------- small ones


def sparkline(values: Values, lower: Values | None = None, upper: Values | None = None, title: str = "") -> Markup:
    """A line the size of a word, on its band where there is one; the last point is a dot."""
    index = np.arange(len(values), dtype=np.int64)
    chart = _drawable(Chart(index, [Line("", values)], lower=lower, upper=upper))
    values = chart.lines[0].values
    if not np.isfinite(values).any():
        return Markup('<span class="spark none">no samples</span>')
    frame = _Frame(144, 32, 2, 4, 3, 3, 0, max(1, len(values) - 1))
    frame.low, frame.high = _extent(chart)
    if frame.high <= frame.low:
        frame.low, frame.high = frame.low - 1, frame.high + 1
    parts = [_band(frame, chart)] if lower is not None or upper is not None else []
    parts.append(Markup('<path class="line line-0" d="{}"/>').format(_path(frame, index, values)))
    last = int(np.flatnonzero(np.isfinite(values))[-1])
    parts.append(
        Markup('<circle class="dot dot-0" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(
            frame.x(last), frame.y(float(values[last]))
        )
    )
    return (
        Markup('<svg class="spark" viewBox="0 0 144 32" role="img" aria-label="{}">').format(title or "recent values")
        + Markup("").join(parts)
        + Markup("</svg>")
    )


def stacked_bars(
    starts_ms: Sequence[int], end_ms: int, stacks: Sequence[tuple[str, Sequence[int]]], title: str = ""
) -> Markup:
    """Counts over time, stacked in the order given (first at the bottom); drag to zoom."""
    totals = [sum(column) for column in zip(*(counts for _, counts in stacks), strict=True)] if stacks else []
    if not totals or not max(totals):
        return Markup('<p class="empty">No lines in this range.</p>')
    drawn = Markup("").join(
        _bars(starts_ms, end_ms, stacks, max(totals), *size, title)
        for size in ((1200, 120, "wide"), (400, 96, "narrow"))
    )
    said = [["lines", [f"{total:,}" for total in totals]]] + [
        [name, [f"{n:,}" for n in counts]] for name, counts in stacks[::-1]
    ]
    data = json.dumps({"t": list(starts_ms), "lines": said, "bars": True, "end": end_ms}, separators=(",", ":"))
    return Markup('<figure class="chart bars" data-chart="{}">{}</figure>').format(data, drawn)


def _bars(
    starts_ms: Sequence[int],
    end_ms: int,
    stacks: Sequence[tuple[str, Sequence[int]]],
    most: int,
    width: int,
    height: int,
    kind: str,
    title: str,
) -> Markup:
    frame = _Frame(width, height, 56, 12, 6, 22, starts_ms[0], end_ms)
    frame.low, frame.high, frame.ticks = value_axis((0.0, float(max(most, 2))), 2, "")
    parts = [*_grid(frame, ""), *_time_axis(frame, 7 if kind == "wide" else 4)]
    below = [0] * len(starts_ms)
    for name, counts in stacks:
        path = []
        for i, count in enumerate(counts):
            if count:
                after = starts_ms[i + 1] if i + 1 < len(starts_ms) else end_ms
                x, x2 = frame.x(starts_ms[i]), frame.x(after)
                gap = min(1.0, (x2 - x) / 4)
                top, base = frame.y(below[i] + count), frame.y(below[i])
                path.append(f"M{x:.1f} {base:.1f}V{min(top, base - 1):.1f}H{x2 - gap:.1f}V{base:.1f}Z")
                below[i] += count
        parts.append(Markup('<path class="bar level-{}" d="{}"/>').format(escape(name or "none"), "".join(path)))
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" data-plot="{} {} {} {}">').format(
        kind, width, height, title, frame.left, width - frame.right, frame.top, height - frame.bottom
    )
    return head + Markup("").join(parts) + Markup("</svg>")
