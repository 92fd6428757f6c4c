"""The spans and lines of one trace joined into one picture: a tree, placed in time, with its critical path.

What is broken in a trace is shown, not hidden: a parent that never came is a named gap, a loop of parents is cut, a
span that came twice is counted, a clock that runs ahead is moved back (and by how much is said).
"""

from collections.abc import Sequence

from observe.model import Span
from observe.protocols import TraceSignals
from observe.trace.view import LogView, SpanView, TraceView, spoken


class _Node:
    """A span while its place is sought. Written out, because a trace may have ten thousand of them."""

    __slots__ = (
        "children", "critical_ns", "depth", "end_ns", "gap", "logs", "parent", "reach_ns", "row", "self_ns", "skew_ns",
        "span", "start_ns",
    )

    def __init__(self, span: Span, *, gap: bool = False) -> None:
        self.span = span
        self.gap = gap
        self.parent: _Node | None = None
        self.children: list[_Node] = []
        self.start_ns = self.end_ns = self.skew_ns = self.depth = 0
        self.row = -1
        self.self_ns = self.critical_ns = self.reach_ns = 0
        self.logs: list[int] = []


def join(trace_id: str, signals: TraceSignals) -> TraceView:
    """Spans and lines of one trace as a view, without its alerts."""
    notes: list[str] = []
    nodes = _unique(signals.spans, notes)
    tops = _tree(nodes, notes)
    ordered = _ordered(tops)
    _place(ordered, notes)
    if ordered:
        _self_time(ordered)
        _critical_path(max(tops, key=lambda node: node.end_ns - node.start_ns), ordered)
    by_id = {node.span.span_id: node for node in ordered if not node.gap}
    lines = sorted(signals.logs, key=lambda record: (record.timestamp_ns, record.uid))
    views = []
    for place, record in enumerate(lines):
        node = by_id.get(record.span_id or "")
        if node is not None:
            node.logs.append(place)
        views.append(LogView(record, None if node is None else node.row))
    rows = tuple(
        SpanView(
            node.span, node.depth, None if node.parent is None else node.parent.row,
            tuple(child.row for child in node.children), node.start_ns, node.end_ns, node.self_ns, node.critical_ns,
            node.skew_ns, node.gap, tuple(node.logs),
        )
        for node in ordered
    )
    return TraceView(trace_id, rows, tuple(views), notes=tuple(notes))


def _unique(spans: Sequence[Span], notes: list[str]) -> dict[str, _Node]:
    """One node a span id; of two spans with one id the longer says more."""
    nodes: dict[str, _Node] = {}
    repeats = 0
    for span in spans:
        known = nodes.get(span.span_id)
        if known is not None:
            repeats += 1
            if known.span.end_ns - known.span.start_ns >= span.end_ns - span.start_ns:
                continue
        nodes[span.span_id] = _Node(span)
    if repeats:
        notes.append(f"{repeats} span{'s' if repeats != 1 else ''} came twice; the longer of each two is shown")
    return nodes


def _tree(nodes: dict[str, _Node], notes: list[str]) -> list[_Node]:
    """Link children to parents; returns the tops, gaps included."""
    tops: list[_Node] = []
    gaps: dict[str, _Node] = {}
    in_time = sorted(nodes.values(), key=_by_start)
    for node in in_time:
        parent_id = node.span.parent_span_id
        if parent_id is None:
            tops.append(node)
        elif parent_id in nodes:
            node.parent = nodes[parent_id]
        else:
            node.parent = gaps.setdefault(parent_id, _gap(node.span, parent_id))
    _cut_loops(in_time, tops, notes)
    for node in in_time:
        if node.parent is not None:
            node.parent.children.append(node)
    if gaps:
        parents = "parent spans are" if len(gaps) != 1 else "parent span is"
        notes.append(f"{len(gaps)} {parents} missing: not sent, not sampled, or not here yet")
    for gap in gaps.values():
        if len(tops) == 1 and not tops[0].gap:
            gap.parent = tops[0]
            tops[0].children.append(gap)
            tops[0].children.sort(key=_by_start)
        else:
            tops.append(gap)
    return tops


def _by_start(node: _Node) -> tuple[int, str]:
    return node.span.start_ns, node.span.span_id


def _gap(child: Span, span_id: str) -> _Node:
    missing = Span(child.trace_id, span_id, None, "missing span", "", "internal", child.start_ns, child.end_ns)
    return _Node(missing, gap=True)


def _cut_loops(in_time: Sequence[_Node], tops: list[_Node], notes: list[str]) -> None:
    """A span that is its own ancestor becomes a top."""
    seen: dict[_Node, int] = {}
    for number, node in enumerate(in_time, 1):
        at: _Node | None = node
        while at is not None and at not in seen:
            seen[at] = number
            at = at.parent
        if at is None or seen[at] != number:
            continue
        loop = [at]
        while (parent := loop[-1].parent) is not at and parent is not None:
            loop.append(parent)
        first = min(loop, key=_by_start)
        first.parent = None
        tops.append(first)
        notes.append(f"{len(loop)} span(s) are their own ancestors; the circle is cut at {first.span.name}")


def _ordered(tops: list[_Node]) -> list[_Node]:
    """All nodes depth first, with their depth and row. Without recursion: traces are deeper than stacks."""
    ordered: list[_Node] = []
    stack = sorted(tops, key=_by_start, reverse=True)
    while stack:
        node = stack.pop()
        node.row = len(ordered)
        node.depth = 0 if node.parent is None else node.parent.depth + 1
        ordered.append(node)
        stack.extend(reversed(node.children))
    return ordered


def _place(ordered: list[_Node], notes: list[str]) -> None:
    """Where each span is drawn. A called service whose clock puts it outside its caller is moved into it."""
    moved: dict[str, int] = {}
    for node in ordered:
        span, parent = node.span, node.parent
        skew = parent.skew_ns if parent is not None and not parent.gap and parent.span.service == span.service else 0
        start, end = span.start_ns + skew, max(span.start_ns, span.end_ns) + skew
        if parent is not None and not parent.gap and parent.span.service != span.service:
            shift = _shift(start, end, span, parent)
            start, end, skew = start + shift, end + shift, skew + shift
            if shift:
                moved[span.service] = max(moved.get(span.service, 0), abs(shift))
        node.start_ns, node.end_ns, node.skew_ns = start, end, skew
    for node in reversed(ordered):  # children first: a gap spans what is under it
        if node.gap and node.children:
            node.start_ns = min(child.start_ns for child in node.children)
            node.end_ns = max(child.end_ns for child in node.children)
    notes.extend(
        f"the clock of {service} is off by at least {spoken(by)}; its spans are moved"
        for service, by in moved.items())


def _shift(start: int, end: int, span: Span, parent: _Node) -> int:
    before = start < parent.start_ns
    called = parent.span.kind == "client" and span.kind == "server"  # a reply cannot outlast the wait for it
    if not before and not (called and end > parent.end_ns):
        return 0
    slack = (parent.end_ns - parent.start_ns) - (end - start)
    if slack >= 0:
        return parent.start_ns + slack // 2 - start
    return parent.start_ns - start if before else 0


def _drawn_start(node: _Node) -> int:
    return node.start_ns


def _self_time(ordered: list[_Node]) -> None:
    for node in ordered:
        covered, at = 0, node.start_ns
        if not node.children:
            node.self_ns = 0 if node.gap else max(0, node.end_ns - node.start_ns)
            continue
        for child in sorted(node.children, key=_drawn_start):
            start, end = max(child.start_ns, at), min(child.end_ns, node.end_ns)
            if end > start:
                covered += end - start
                at = end
        node.self_ns = 0 if node.gap else max(0, node.end_ns - node.start_ns - covered)


def _critical_path(top: _Node, ordered: list[_Node]) -> None:
    """Walk back from the end: at every moment the child that finished last is what was waited for.

    A child may outlive its parent (a reply goes on after the handler returned): what counts is how far a whole
    subtree reaches.
    """
    for node in reversed(ordered):
        reach = node.end_ns
        for child in node.children:
            reach = max(reach, child.reach_ns)
        node.reach_ns = reach
    stack = [(top, top.reach_ns)]
    while stack:
        node, at = stack.pop()
        for child in sorted(node.children, key=lambda one: one.reach_ns, reverse=True):
            end = min(child.reach_ns, at)
            if child.start_ns >= at or end <= node.start_ns:
                continue
            node.critical_ns += max(0, min(at, node.end_ns) - end)
            stack.append((child, end))
            at = max(child.start_ns, node.start_ns)
        node.critical_ns += max(0, min(at, node.end_ns) - node.start_ns)
