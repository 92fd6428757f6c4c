"""A trace as rows to draw: order, depth, self time, critical path, gaps where a parent is missing. Linear in spans."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from observe.model import LogRecord, Span
from observe.show import words

COLOURS: Final = 8


@dataclass(slots=True)
class Row:
    """One line of the waterfall. Offsets and lengths are shares (0 to 1) of the whole trace."""

    span: Span | None
    """None: a gap that stands for a parent that never arrived."""
    depth: int
    name: str
    service: str
    colour: int
    start: float
    length: float
    self_ms: float
    working: list[tuple[float, float]] = field(default_factory=list)
    """Stretches (start, length) in which no child ran: the span's own time."""
    critical: bool = False
    failed: bool = False
    logs: list[float] = field(default_factory=list)
    """Places of its log lines."""
    children: int = 0


@dataclass(frozen=True, slots=True)
class Waterfall:
    rows: list[Row]
    start_ns: int
    end_ns: int
    services: dict[str, int]
    """Service to colour, in the order of appearance."""
    failed: int

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


def lay_out(spans: Sequence[Span], logs: Sequence[LogRecord] = ()) -> Waterfall:
    """Depth-first by start time. A missing parent becomes a named gap above its orphans; loops are cut."""
    if not spans:
        return Waterfall([], 0, 0, {}, 0)
    ordered = sorted(spans, key=lambda s: (s.start_ns, -s.end_ns, s.span_id))
    known = {span.span_id for span in ordered}
    children: dict[str | None, list[Span]] = {}
    for span in ordered:
        parent = span.parent_span_id
        children.setdefault(parent if parent != span.span_id else None, []).append(span)
    start_ns, end_ns = min(s.start_ns for s in ordered), max(s.end_ns for s in ordered)
    whole = max(1, end_ns - start_ns)
    services: dict[str, int] = {}
    lines: dict[str, list[float]] = {}
    for line in logs:
        if line.span_id:
            place = min(1.0, max(0.0, (line.timestamp_ns - start_ns) / whole))
            lines.setdefault(line.span_id, []).append(place)
    rows: list[Row] = []
    seen: set[str] = set()

    def row(span: Span, depth: int) -> None:
        own = children.get(span.span_id, ())
        working = _working(span, own)
        rows.append(Row(
            span, depth, span.name, span.service, services.setdefault(span.service, len(services) % COLOURS),
            (span.start_ns - start_ns) / whole, max(0, span.end_ns - span.start_ns) / whole,
            sum(b - a for a, b in working) / 1e6,
            [((a - start_ns) / whole, (b - a) / whole) for a, b in working],
            failed=span.status == "error", logs=lines.get(span.span_id, []), children=len(own),
        ))

    def walk(tops: Sequence[Span], depth: int) -> None:
        stack = [(span, depth) for span in reversed(tops)]
        while stack:
            span, level = stack.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            row(span, level)
            stack += [(child, level + 1) for child in reversed(children.get(span.span_id, ()))]

    walk(children.get(None, ()), 0)
    for parent, orphans in children.items():
        if parent is not None and parent not in known:
            first, last = min(s.start_ns for s in orphans), max(s.end_ns for s in orphans)
            rows.append(Row(None, 0, f"missing span {parent}", "", 0, (first - start_ns) / whole,
                            (last - first) / whole, 0.0, children=len(orphans)))
            walk(orphans, 1)
    walk([span for span in ordered if span.span_id not in seen], 0)  # parents in a loop
    _mark_critical(rows, children)
    return Waterfall(rows, start_ns, end_ns, services, sum(r.failed for r in rows))


def _working(span: Span, children: Sequence[Span]) -> list[tuple[int, int]]:
    """Stretches of a span in which none of its children ran."""
    parts, here = [], span.start_ns
    for child in children:  # in the order of start
        if child.start_ns > here:
            parts.append((here, min(child.start_ns, span.end_ns)))
        here = max(here, child.end_ns)
        if here >= span.end_ns:
            break
    if here < span.end_ns:
        parts.append((here, span.end_ns))
    return [(a, b) for a, b in parts if b > a]


def _mark_critical(rows: Sequence[Row], children: dict[str | None, list[Span]]) -> None:
    """From the longest top span down: backwards in time, always the child that ended last before the next one began."""
    by_id = {row.span.span_id: row for row in rows if row.span is not None}
    tops = [row for row in rows if row.depth == 0 and row.span is not None]
    if not tops:
        tops = [row for row in rows if row.depth == 1 and row.span is not None]
    stack = [max(tops, key=lambda row: row.length)] if tops else []
    while stack:
        row = stack.pop()
        if row.critical or row.span is None:
            continue
        row.critical = True
        until = row.span.end_ns
        for child in sorted(children.get(row.span.span_id, ()), key=lambda s: -s.end_ns):
            if child.end_ns <= until and child.span_id in by_id:
                stack.append(by_id[child.span_id])
                until = child.start_ns


def slowest_span(spans: Sequence[Span]) -> str:
    """Where the time went, in words: ``2.2 s in decode on worker-2``."""
    found = lay_out(spans)
    rows = [row for row in found.rows if row.span is not None]
    if not rows:
        return ""
    most = max(rows, key=lambda row: row.self_ms)
    place = most.span.resource.get("service.instance.id") or most.span.resource.get("host.name") if most.span else None
    where = f"{most.name}{f' on {place}' if place else f' in {most.service}' if most.service else ''}"
    return f"{words.took(most.self_ms)} in {where}"
