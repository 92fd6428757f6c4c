"""A trace as it is shown: its spans as rows of a waterfall, its log lines on them, the alerts that overlap it."""

from dataclasses import dataclass
from typing import NamedTuple

from observe.model import Alert, LogRecord, Span


class SpanView(NamedTuple):
    """One row of the waterfall. A tuple: a trace may have ten thousand, and a frozen dataclass is four times slower."""

    span: Span
    depth: int
    parent: int | None
    """Row of the parent; None at the top."""
    children: tuple[int, ...]
    start_ns: int
    end_ns: int
    """As drawn: moved by `skew_ns` where the clock of that machine cannot be right."""
    self_ns: int
    """Not covered by any child."""
    critical_ns: int
    """Time on the critical path that was spent here and in no child."""
    skew_ns: int = 0
    gap: bool = False
    """Stands for a parent that is not stored."""
    logs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LogView:
    record: LogRecord
    row: int | None
    """Row of its span; None where the line names no span, or one that is not stored."""


@dataclass(frozen=True, slots=True)
class TraceView:
    trace_id: str
    rows: tuple[SpanView, ...] = ()
    """Depth first, siblings by their start."""
    logs: tuple[LogView, ...] = ()
    """By time."""
    alerts: tuple[Alert, ...] = ()
    notes: tuple[str, ...] = ()
    """What is odd about the trace, in sentences."""

    @property
    def start_ns(self) -> int:
        times = [row.start_ns for row in self.rows] or [one.record.timestamp_ns for one in self.logs]
        return min(times, default=0)

    @property
    def end_ns(self) -> int:
        times = [row.end_ns for row in self.rows] or [one.record.timestamp_ns for one in self.logs]
        return max(times, default=0)

    @property
    def services(self) -> tuple[str, ...]:
        """In the order of their first appearance."""
        names = [row.span.service for row in self.rows if not row.gap] + [one.record.service for one in self.logs]
        return tuple(name for name in dict.fromkeys(names) if name)

    @property
    def headline(self) -> str:
        """What took how long, and where the time went."""
        if not self.rows:
            lines = f"{len(self.logs)} log line{'s' if len(self.logs) != 1 else ''}"
            return f"{lines} and no spans" if self.logs else "nothing is stored of this trace"
        root = next((row for row in self.rows if not row.gap), self.rows[0])
        text = f"{root.span.name} took {spoken(root.end_ns - root.start_ns)}"
        longest = max(self.rows, key=lambda row: row.critical_ns)
        if longest is not root and longest.critical_ns * 5 >= root.end_ns - root.start_ns:
            where = f" on {longest.span.service}" if longest.span.service != root.span.service else ""
            text += f"; {spoken(longest.critical_ns)} of it in {longest.span.name}{where}"
        return text


def spoken(nanoseconds: int) -> str:
    """A duration as a person says it: 2.63 s, 14 ms, 850 µs."""
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.3g} s" if nanoseconds < 1e12 else f"{nanoseconds / 1e9:.0f} s"
    if nanoseconds >= 1_000_000:
        return f"{nanoseconds / 1e6:.3g} ms"
    return f"{nanoseconds / 1e3:.3g} µs"
