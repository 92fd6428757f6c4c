"""What an exporter answers: samples by the lines of a metrics table, written as Prometheus' text format."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of a metrics table. `unit` is a Prometheus base unit, or empty for plain counts."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()


class Page:
    """Samples of one answer, in the order of the metrics tables. A label set that comes twice keeps the last value."""

    def __init__(self) -> None:
        self.left_out = 0
        """Things of the source that a limit kept from the page."""
        self._rows: dict[Metric, dict[tuple[str, tuple[str, ...]], float]] = {}

    def add(self, metric: Metric, value: float | None, *labels: str) -> None:
        """One sample. `None` is a value that the source does not give: it stays absent."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, but was given {labels}")
        if value is not None:
            if not isinstance(value, int | float):
                raise TypeError(f"{metric.name} was given {value!r}, which is not a number")
            self._rows.setdefault(metric, {})["", labels] = value

    def histogram(
        self, metric: Metric, bounds: Sequence[float], counts: Sequence[int], total: float, *labels: str,
    ) -> None:
        """Buckets of one histogram: `counts` are per bucket, one more than `bounds` (the last is above all)."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, but was given {labels}")
        rows = self._rows.setdefault(metric, {})
        running = 0
        for bound, count in zip((*bounds, math.inf), counts, strict=True):
            running += count
            rows["_bucket", (*labels, _number(bound))] = running
        rows["_sum", labels] = total
        rows["_count", labels] = running

    def cumulative(
        self, metric: Metric, buckets: Mapping[float, float], total: float, count: float, *labels: str,
    ) -> None:
        """A histogram that is known by its cumulative buckets: upper bound -> count."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, but was given {labels}")
        rows = self._rows.setdefault(metric, {})
        for bound in sorted(buckets):
            rows["_bucket", (*labels, _number(bound))] = buckets[bound]
        rows["_bucket", (*labels, "+Inf")] = count
        rows["_sum", labels] = total
        rows["_count", labels] = count

    def leave_out(self, count: int) -> None:
        """So many things of the source are beyond a limit, and not shown: ``exporter_left_out`` says so."""
        self.left_out += max(0, count)

    def merge(self, other: "Page") -> None:
        self.left_out += other.left_out
        for metric, rows in other._rows.items():  # noqa: SLF001 - of its own class
            self._rows.setdefault(metric, {}).update(rows)

    def samples(self) -> Iterator[tuple[Metric, str, dict[str, str], float]]:
        """(metric, suffix of its name, labels, value) of every sample."""
        for metric, rows in self._rows.items():
            for (suffix, values), value in rows.items():
                names = (*metric.labels, "le") if suffix == "_bucket" else metric.labels
                yield metric, suffix, dict(zip(names, values, strict=True)), value

    def text(self) -> bytes:
        """The page in Prometheus' text format 0.0.4."""
        parts: list[str] = []
        for metric, rows in self._rows.items():
            explained = metric.help.replace("\\", r"\\").replace("\n", r"\n")
            parts.append(f"# HELP {metric.name} {explained}\n# TYPE {metric.name} {metric.kind}\n")
            for (suffix, values), value in rows.items():
                names = (*metric.labels, "le") if suffix == "_bucket" else metric.labels
                inner = ",".join([f'{name}="{_escape(text)}"' for name, text in zip(names, values, strict=True)])
                parts.append(f"{metric.name}{suffix}{{{inner}}} {_number(value)}\n" if inner
                             else f"{metric.name}{suffix} {_number(value)}\n")
        return "".join(parts).encode("utf-8", "replace")


def _escape(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return text


def _number(value: float) -> str:
    """A value as the text format writes it: whole numbers without a point."""
    if isinstance(value, int):
        return str(int(value))  # True is 1 here
    if value != value:  # noqa: PLR0124 - NaN is the number that differs from itself
        return "NaN"
    if value in {math.inf, -math.inf}:
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
