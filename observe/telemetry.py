"""The stack watches itself: its own metrics, in one registry a process.

Names start with ``observe_`` and pass ``promtool check metrics``. Asking twice for a name gives the same metric, so
a stage may name what it needs where it needs it. Everything bounded counts what it drops by `Telemetry.dropped`.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Telemetry:
    """The registry and the few ways to fill it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        made = self._made.get(name)
        if not isinstance(made, Counter):
            made = self._made[name] = Counter(name, help_text, labels, registry=self.registry)
        return made

    def gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        made = self._made.get(name)
        if not isinstance(made, Gauge):
            made = self._made[name] = Gauge(name, help_text, labels, registry=self.registry)
        return made

    def histogram(
        self, name: str, help_text: str, labels: Sequence[str] = (), buckets: Sequence[float] = _SECONDS,
    ) -> Histogram:
        made = self._made.get(name)
        if not isinstance(made, Histogram):
            made = self._made[name] = Histogram(name, help_text, labels, registry=self.registry, buckets=buckets)
        return made

    def dropped(self, stage: str, reason: str, count: int = 1) -> None:
        """Something was refused, lost or cut at a bound: never silently."""
        self.counter(
            "observe_dropped_total", "Items that a stage refused, lost or cut at a bound.", ("stage", "reason"),
        ).labels(stage, reason).inc(count)

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
