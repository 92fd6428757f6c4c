"""A small world behind the web side: the real metric store, engine and signal index.

Alerts, silences and deliveries are given, because the engine that makes them is tested elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from observe.model import ABSENT_NAN, Alert, AlertState, Frame, Labels
from observe.promql.engine import Engine
from observe.protocols import Delivery, OddSeries, PageState, PageStatus, RuleStatus, Silence
from observe.show.context import BuildInfo, ShowContext, ShowSettings
from observe.store.exemplars import matches
from observe.store.logs import SignalIndex, SignalSettings
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

NOW_MS = 1_763_697_600_000  # 2025-11-21T04:00:00Z
STEP_MS = 15_000


@dataclass(frozen=True)
class Explained:
    """`ExplainedBand` as a value."""

    labels: Labels
    words: tuple[str, ...]

    def told(self, say) -> tuple[str, ...]:
        return self.words


@dataclass
class MemoryBook:
    """`AlertBook` that says what it was given."""

    rule_list: list[RuleStatus] = field(default_factory=list)
    odd_list: list[OddSeries] = field(default_factory=list)
    past: list[Alert] = field(default_factory=list)
    explained: list[Explained] = field(default_factory=list)

    def rules(self) -> list[RuleStatus]:
        return self.rule_list

    def active(self) -> list[Alert]:
        return [alert for rule in self.rule_list for alert in rule.alerts]

    def odd(self) -> list[OddSeries]:
        return self.odd_list

    def explain(self, rule: str, labels: Mapping[str, str], limit: int = 5) -> list[Explained]:
        odd = [Explained(o.labels, (f"Expected is {o.baseline}.",)) for o in self.odd_list if o.rule == rule]
        return [one for one in [*self.explained, *odd] if labels.items() <= dict(one.labels).items()][:limit]

    def explain_alert(self, alert: Alert, say=None) -> tuple[str, ...]:
        added = {"alertname", *(label for rule in self.rule_list for label in rule.labels)}
        found = self.explain(alert.rule, alert.labels.without(*added), 1)
        return tuple(word for one in found for word in (one.told(say) if say is not None else one.words))

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        chosen = [a for a in self.past if a.starts_at_ms >= since_ms and fingerprint in {None, a.fingerprint}]
        return sorted(chosen, key=lambda a: -a.starts_at_ms)[:limit]


@dataclass
class MemoryDesk:
    """`PageDesk` over lists."""

    silence_list: list[Silence] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)
    standing: list[PageStatus] | None = None
    """What `page_status` says of every alert; None: as `told` has it."""

    def silences(self, now_ms: int) -> list[Silence]:
        return [s for s in self.silence_list if s.ends_at_ms > now_ms]

    def set_silence(self, silence: Silence, now_ms: int) -> str:
        chosen = replace(silence, id=silence.id or f"silence-{len(self.silence_list)}", updated_at_ms=now_ms)
        self.silence_list = [s for s in self.silence_list if s.id != chosen.id] + [chosen]
        return chosen.id

    def expire_silence(self, silence_id: str, now_ms: int) -> None:
        self.silence_list = [replace(s, ends_at_ms=now_ms) if s.id == silence_id else s for s in self.silence_list]

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        return [s.id for s in self.silences(now_ms) if s.starts_at_ms <= now_ms and matches(labels, s.matchers)]

    def page_status(self, alert: Alert, now_ms: int) -> list[PageStatus]:
        if self.standing is not None:
            return self.standing
        if alert.state is AlertState.PENDING:
            return [PageStatus("", PageState.PENDING, "its condition has not held for long enough to fire")]
        quiet = [s for s in self.silences(now_ms) if s.id in self.silenced_by(alert.labels, now_ms)]
        if quiet:
            words = ", ".join(f"{s.created_by}: {s.comment}" for s in quiet)
            return [PageStatus("", PageState.SILENCED, f"by {words}", max(s.ends_at_ms for s in quiet))]
        mine = [d for d in self.told if alert.fingerprint in d.fingerprints and d.attempts]
        return [
            PageStatus(d.receiver, PageState.RETRYING, f"attempt {d.attempts} failed: {d.detail}", now_ms + 25_000)
            for d in mine if not d.ok
        ] + [PageStatus(d.receiver, PageState.TOLD, "firing", d.at_ms) for d in mine if d.ok] or [
            PageStatus("", PageState.NO_RECEIVER, "no receiver is configured; add one under `notify:`")]

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int = 100) -> list[Delivery]:
        return [d for d in self.told if fingerprint is None or fingerprint in d.fingerprints][:limit]


@dataclass
class World:
    """The seams, with what tests fill in."""

    folder: Path
    clock: ManualClock
    telemetry: Telemetry
    store: MetricStore
    signals: SignalIndex
    book: MemoryBook
    desk: MemoryDesk
    context: ShowContext

    def add(
        self, labels: Labels, values: Sequence[float | None], end_ms: int = NOW_MS, step_ms: int = STEP_MS
    ) -> None:
        """One series whose last value is at `end_ms`; None is no sample."""
        ids = self.store.series_ids([labels])
        times = np.array([end_ms - step_ms * (len(values) - 1 - i) for i in range(len(values))], np.int64)
        column = np.array([[ABSENT_NAN if v is None else v] for v in values], np.float64)
        self.store.append(Frame(times, ids, column))

    def renewed(self) -> "World":
        """The same stored series, lines and spans, with a book, a desk, counters and a clock of its own."""
        clock, telemetry, book, desk = ManualClock(NOW_MS), Telemetry(), MemoryBook(), MemoryDesk()
        context = replace(self.context, clock=clock, telemetry=telemetry, alerts=book, desk=desk)
        return replace(self, clock=clock, telemetry=telemetry, book=book, desk=desk, context=context)

    def close(self) -> None:
        self.signals.close()
        self.store.close()


def empty_world(folder: Path, **changes: object) -> World:
    clock, telemetry = ManualClock(NOW_MS), Telemetry()
    store = MetricStore(folder / "metrics", MetricSettings(accept_old=True), clock, telemetry)
    signals = SignalIndex(folder / "signals", SignalSettings(index_every_s=0.01), clock, telemetry)
    book, desk = MemoryBook(), MemoryDesk()
    context = ShowContext(
        engine=Engine(store),
        source=store,
        clock=clock,
        telemetry=telemetry,
        signals=signals,
        alerts=book,
        desk=desk,
        build=BuildInfo("1.0", started_ms=NOW_MS - 7_200_000),
        settings=ShowSettings(external_url="http://localhost"),
    )
    return World(folder, clock, telemetry, store, signals, book, desk, replace(context, **changes))


def world_of_two(folder: Path) -> World:
    """A world with two series of `up`: a plain one, and one with all that JSON has no number for."""
    world = empty_world(folder)
    world.add(Labels({"__name__": "up", "job": "gateway"}), [1.0, 1.0, 0.5])
    world.add(Labels({"__name__": "up", "job": "host"}), [0.0, float("inf"), float("nan")])
    return world
