"""A trace as rows to draw: places as shares of the whole, stretches of own time, colours by service."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from observe.model import Span
from observe.show import words
from observe.trace.view import SpanView, TraceView

COLOURS: Final = 8
_MOST_STRETCHES: Final = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the waterfall; `start`, `length` and the rest are shares (0 to 1) of the whole trace."""

    span: Span
    view: SpanView
    colour: int
    start: float
    length: float
    working: list[tuple[float, float]]
    """Stretches (start, length) in which no child ran: the span's own time."""
    logs: list[float]

    @property
    def critical(self) -> bool:
        return self.view.critical_ns > 0

    @property
    def failed(self) -> bool:
        return self.span.status == "error"


@dataclass(frozen=True, slots=True)
class Waterfall:
    view: TraceView
    rows: list[Row]
    services: dict[str, int]
    """Service to colour, in the order of appearance."""

    @property
    def failed(self) -> int:
        return sum(row.failed for row in self.rows)

    @property
    def duration_ms(self) -> float:
        return (self.view.end_ns - self.view.start_ns) / 1e6


def lay_out(view: TraceView) -> Waterfall:
    """Places of everything in a joined trace. Linear in spans."""
    start_ns, whole = view.start_ns, max(1, view.end_ns - view.start_ns)
    services: dict[str, int] = {}
    rows = []
    for row in view.rows:
        colour = services.setdefault(row.span.service, len(services) % COLOURS) if not row.gap else 0
        stretches = _working(row, [view.rows[child] for child in row.children])
        rows.append(Row(
            row.span, row, colour, (row.start_ns - start_ns) / whole, (row.end_ns - row.start_ns) / whole,
            [((a - start_ns) / whole, (b - a) / whole) for a, b in stretches],
            [min(1.0, max(0.0, (view.logs[i].record.timestamp_ns - start_ns) / whole)) for i in row.logs[:60]],
        ))
    return Waterfall(view, rows, services)


def _working(row: SpanView, children: Sequence[SpanView]) -> list[tuple[int, int]]:
    if row.gap:
        return []
    parts, here = [], row.start_ns
    for child in sorted(children, key=lambda c: c.start_ns):
        if child.start_ns > here:
            parts.append((here, min(child.start_ns, row.end_ns)))
        here = max(here, child.end_ns)
        if here >= row.end_ns or len(parts) >= _MOST_STRETCHES:
            break
    if here < row.end_ns:
        parts.append((here, row.end_ns))
    return [(a, b) for a, b in parts if b > a]


def where_time_went(view: TraceView) -> str:
    rows = [row for row in view.rows if not row.gap]
    if not rows:
        return ""
    most = max(rows, key=lambda row: row.critical_ns)
    place = most.span.attributes.get("worker")
    place = f"worker {place}" if str(place).isdecimal() else place or most.span.resource.get("host.name")
    where = f" on {place}" if place else f" in {most.span.service}" if most.span.service else ""
    return f"{words.took(most.critical_ns / 1e6)} in {most.span.name}{where}"
