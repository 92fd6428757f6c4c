"""Counts over time as stacked bars, such as log lines by level."""

import json
from collections.abc import Sequence

from markupsafe import Markup, escape

from observe.show.plot import Plot, grid, time_axis, value_axis


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
    plot = Plot(width, height, 56, 12, 6, 22, starts_ms[0], end_ms)
    plot.low, plot.high, plot.ticks = value_axis((0.0, float(max(most, 2))), 2, "")
    parts = [*grid(plot, ""), *time_axis(plot, 7 if kind == "wide" else 4)]
    below = [0] * len(starts_ms)
    for name, counts in stacks:
        path = []
        for i, count in enumerate(counts):
            if count:
                after = starts_ms[i + 1] if i + 1 < len(starts_ms) else end_ms
                x, x2 = plot.x(starts_ms[i]), plot.x(after)
                gap = min(1.0, (x2 - x) / 4)
                top, base = plot.y(below[i] + count), plot.y(below[i])
                path.append(f"M{x:.1f} {base:.1f}V{min(top, base - 1):.1f}H{x2 - gap:.1f}V{base:.1f}Z")
                below[i] += count
        parts.append(Markup('<path class="bar level-{}" d="{}"/>').format(escape(name or "none"), "".join(path)))
    return plot.svg(kind, title, parts)
