"""A small world behind the web side: the real metric store, engine and signal index, and an incident in them.

Two hours of a gateway's series at 15 s; the latency of /generate leaves its band eight minutes before "now". Alerts,
silences and deliveries are given, because the engine that makes them is tested elsewhere.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from observe.model import ABSENT_NAN, Alert, AlertState, Frame, Labels, LogRecord, Matcher, Reason, Span, SpanEvent
from observe.promql.engine import Engine
from observe.protocols import Delivery, OddSeries, PageState, PageStatus, RuleStatus, Silence, TargetHealth
from observe.show.context import BuildInfo, Change, ShowContext, ShowSettings
from observe.store.exemplars import matches
from observe.store.logs import SignalIndex, SignalSettings
from observe.store.metrics import MetricSettings, MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

NOW_MS = 1_763_697_600_000  # 2025-11-21T04:00:00Z
STEP_MS = 15_000
LATENCY = (
    "histogram_quantile(0.95, sum by (service, endpoint, le) (rate(gateway_request_duration_seconds_bucket[2m])))"
)
BUCKETS = (
    0.03, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.14, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 2.5,
    3.0, 3.5, 4.0, 5.0, 10.0,
)


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


# ---------------------------------------------------------------- the incident


def incident(folder: Path) -> World:
    """A gateway whose decode step slowed down eight minutes ago."""
    world = empty_world(folder)
    dice = random.Random(7)
    _series(world, dice)
    _signals(world, dice)
    _alerts(world)
    world.context = replace(
        world.context,
        targets=targets,
        changes=lambda start, end: [
            Change(NOW_MS - 4 * 3_600_000, "reload: 2 rules added"),
            Change(NOW_MS - 560_000, "deploy gateway 1.8.2", "gateway"),
        ],
    )
    assert world.signals.wait_indexed(30)
    return world


def targets() -> list[TargetHealth]:
    found = []
    for i in range(12):
        job = ("gateway", "host", "python", "jvm")[i % 4]
        found.append(
            TargetHealth(
                job,
                f"http://10.0.0.{i}:8000/metrics",
                Labels({"job": job, "instance": f"10.0.0.{i}:8000"}),
                True,
                NOW_MS - 3000,
                0.0123,
                "",
                312,
            )
        )
    down = Labels({"job": "redis", "instance": "10.0.0.40:9121"})
    found.append(
        TargetHealth(
            "redis", "http://10.0.0.40:9121/metrics", down, False, NOW_MS - 9000, 5.0, "connection refused", 0
        )
    )
    return [
        *found,
        TargetHealth(
            "gpu",
            "http://10.0.0.41:9400/metrics",
            Labels({"job": "gpu", "instance": "10.0.0.41:9400"}),
            None,
            None,
            0.0,
            "",
        ),
    ]


def _series(world: World, dice: random.Random) -> None:
    steps = 480
    slow_from = steps - 32
    for endpoint, rate, typical in (("/generate", 14.0, 0.37), ("/embed", 55.0, 0.05)):
        counts = np.zeros((steps, len(BUCKETS) + 1))
        total = np.zeros(len(BUCKETS) + 1)
        for i in range(steps):
            much = int(rate * 15 * (1 + 0.15 * math.sin(i / 60)) + dice.gauss(0, 4))
            slow = 1.0 if i < slow_from else 5.19 if endpoint == "/generate" else 1.25
            took = np.array([typical * slow * math.exp(dice.gauss(0, 0.35)) for _ in range(40)])
            shares = np.array([(took <= edge).mean() for edge in BUCKETS] + [1.0])
            total = total + shares * much
            counts[i] = total
        base = {"service": "gateway", "endpoint": endpoint, "job": "gateway", "instance": "10.0.0.0:8000"}
        for b, edge in enumerate([*BUCKETS, math.inf]):
            le = "+Inf" if math.isinf(edge) else f"{edge:g}"
            world.add(
                Labels({"__name__": "gateway_request_duration_seconds_bucket", **base, "le": le}),
                counts[:, b].tolist(),
            )
        world.add(Labels({"__name__": "gateway_requests_total", **base, "status": "200"}), counts[:, -1].tolist())
    world.add(
        Labels({"__name__": "gateway_queue_depth", "service": "gateway", "job": "gateway"}),
        [max(0.0, 2 + dice.gauss(0, 1) + (0 if i < slow_from else (i - slow_from) * 1.1)) for i in range(steps)],
    )
    world.add(Labels({"__name__": "up", "job": "gateway", "instance": "10.0.0.0:8000"}), [1.0] * steps)
    rule = "gateway/GatewayLatencyOutsideBand"
    names = {"rule": rule, "service": "gateway", "endpoint": "/generate"}
    for part, offset in (("upper", 0.12), ("lower", -0.12), ("baseline", 0.0)):
        world.add(
            Labels({"__name__": f"observe_band_{part}", **names}),
            [None if i < 60 else 0.66 + offset * 2 + 0.03 * math.sin(i / 60) for i in range(steps)],
        )
        world.add(
            Labels({"__name__": f"observe_band_{part}", **names, "endpoint": "/embed"}),
            [None if i < 60 else 0.085 + offset / 8 for i in range(steps)],
        )


EXPLAINED = (
    "Firing for 4m. At 04:00:00 UTC the value was 3.41 s, outside its band: 660 ms was expected, up to 900 ms usual.",
    "It ends when 5 of the last 5 points are inside; so far none are.",
    "If it stays as it is, that becomes the new normal at 05:56:00 UTC, and the alert ends as `new level`.",
    "Until then the band stays the one it began with.",
    "Its level of the last days is 640 ms; at this time of the day and week it is usually 20 ms above that.",
    "The expectation follows the season (71 %), the level (29 %): what forecast this series best lately.",
    "The value usually misses the expectation by 42 ms, and under 132 ms (`min_rel`) nobody is woken.",
    "It stands on 40320 points over 7d.",
    "Its width was chosen for the budget: 1 page a week is allowed, its own history would have cost 0.7.",
)


def trace_id_of(number: int) -> str:
    return f"{random.Random(number).getrandbits(128):032x}"


def _signals(world: World, dice: random.Random) -> None:
    spans: list[Span] = []
    logs: list[LogRecord] = []
    for n in range(120):
        at = (NOW_MS - 3_500_000 + n * 29_000) * 1_000_000
        slow = NOW_MS * 1_000_000 - at < 480_000_000_000
        failed = slow and n % 3 == 0
        more, records = request(n, at, dice, slow=slow, failed=failed)
        spans += more
        logs += records
    world.signals.append(logs, spans)


def request(n: int, at: int, dice: random.Random, *, slow: bool, failed: bool) -> tuple[list[Span], list[LogRecord]]:
    """One request through gateway, queue, prefill and decode, with its lines."""
    trace = trace_id_of(n)
    ids = [f"{n * 16 + i + 1:016x}" for i in range(5)]
    queue, prefill = int(4e6 * (1 + dice.random())), int(60e6 * (1 + dice.random()))
    decode = int((2.8e9 if slow else 0.3e9) * (0.8 + 0.4 * dice.random()))
    end = at + queue + prefill + decode + 9_000_000
    resource = {"service.version": "1.8.2", "host.name": "node-3"}
    route = {
        "http.route": "/generate",
        "http.request.method": "POST",
        "http.response.status_code": 500 if failed else 200,
        "llm.tokens": 128,
        "model": "tiny-7b",
    }
    status = "error" if failed else "ok"
    spans = [
        Span(
            trace,
            ids[0],
            None,
            "POST /generate",
            "gateway",
            "server",
            at,
            end,
            status,
            "decode took too long" if failed else "",
            route,
            resource,
        ),
        Span(
            trace,
            ids[1],
            ids[0],
            "queue.wait",
            "gateway",
            "internal",
            at + 2_000_000,
            at + 2_000_000 + queue,
            "ok",
            "",
            {"queue.depth": 31 if slow else 2},
            resource,
        ),
        Span(
            trace,
            ids[2],
            ids[0],
            "prefill",
            "worker",
            "internal",
            at + queue + 3_000_000,
            at + queue + prefill,
            "ok",
            "",
            {"worker": "worker-2"},
            {"host.name": "node-7"},
        ),
        Span(
            trace,
            ids[3],
            ids[0],
            "decode",
            "worker",
            "internal",
            at + queue + prefill,
            at + queue + prefill + decode,
            status,
            "deadline exceeded" if failed else "",
            {"worker": "worker-2", "batch": 8},
            {"host.name": "node-7"},
            (SpanEvent(at + queue + prefill + decode // 2, "kv cache evicted", {"blocks": 12}),) if slow else (),
        ),
        Span(
            trace,
            ids[4],
            ids[3],
            "cache.lookup",
            "cache",
            "client",
            at + queue + prefill,
            at + queue + prefill + 8_000_000,
            "ok",
            "",
            {"db.system": "redis"},
            {},
        ),
    ]
    took = (end - at) / 1e6
    logs = [
        LogRecord(
            at + 1_000_000,
            "gateway",
            "info",
            f"request accepted, {dice.randint(20, 400)} prompt tokens",
            trace,
            ids[0],
            "/generate",
            uid=f"a{n}",
        ),
        LogRecord(
            end,
            "gateway",
            "error" if failed else "info",
            f"request {'failed' if failed else 'done'} in {took:.0f} ms",
            trace,
            ids[0],
            "/generate",
            took,
            "ERROR" if failed else "200",
            "upstream worker-2 timed out after 2000 ms" if failed else None,
            {"model": "tiny-7b", "tokens": 128},
            f"b{n}",
        ),
    ]
    if slow:
        logs.append(
            LogRecord(
                at + queue + prefill + decode // 2,
                "worker",
                "warn",
                f"kv cache evicted {dice.randint(4, 40)} blocks while decoding",
                trace,
                ids[3],
                uid=f"c{n}",
            )
        )
    return spans, logs


def latency_alert(**changes: object) -> Alert:
    alert = Alert(
        labels=Labels(
            {
                "alertname": "GatewayLatencyOutsideBand",
                "service": "gateway",
                "endpoint": "/generate",
                "severity": "critical",
                "team": "serving",
            }
        ),
        annotations={
            "summary": "Latency of gateway /generate is far above what is normal now",
            "description": "The 95th percentile of request duration left its band.",
            "runbook_url": "https://runbooks.example/gateway-latency",
            "trace_ids": trace_id_of(117),
        },
        state=AlertState.FIRING,
        starts_at_ms=NOW_MS - 240_000,
        ends_at_ms=None,
        updated_at_ms=NOW_MS,
        reason=Reason.HELD_FOR,
        rule="gateway/GatewayLatencyOutsideBand",
        expr=LATENCY,
        value=3.4137,
        baseline=0.66,
        lower=0.42,
        upper=0.9,
        score=11.4,
        generator_url="http://localhost/explore",
    )
    return replace(alert, **changes)


def _alerts(world: World) -> None:
    alert = latency_alert()
    queue = Alert(
        Labels({"alertname": "QueueFilling", "service": "gateway", "severity": "warning", "job": "gateway"}),
        {"summary": "The request queue fills up"},
        AlertState.FIRING,
        NOW_MS - 130_000,
        None,
        NOW_MS,
        Reason.CONDITION_MET,
        "gateway/QueueFilling",
        "gateway_queue_depth > 20",
        33.0,
    )
    errors = Alert(
        Labels({"alertname": "ErrorRatioHigh", "service": "gateway", "severity": "warning"}),
        {},
        AlertState.PENDING,
        NOW_MS - 40_000,
        None,
        NOW_MS,
        Reason.CONDITION_MET,
        "gateway/ErrorRatioHigh",
        "up > 0",
        1.0,
    )
    watchdog = Alert(
        Labels({"alertname": "Watchdog", "severity": "info"}),
        {},
        AlertState.FIRING,
        NOW_MS - 7_000_000,
        None,
        NOW_MS,
        Reason.CONDITION_MET,
        "self/Watchdog",
        "vector(1)",
        1.0,
    )
    band = {
        "detector": "auto",
        "direction": "above",
        "trigger": "3 of 5",
        "recover": "5 of 5",
        "min_rel": "20%",
        "min_abs": "0.05",
        "hold": "true",
    }

    def rule(
        name: str, expr: str, alerts: tuple[Alert, ...] = (), group: str = "gateway", **more: object
    ) -> RuleStatus:
        kind = more.pop("kind", "alerting")
        return RuleStatus(
            group,
            f"alert_rules/{group}.yml",
            name,
            kind,
            expr,
            15_000,
            Labels({"severity": "warning", "team": "serving"}),
            {"summary": name},
            health=more.pop("health", "ok"),
            last_evaluation_ms=NOW_MS - 4000,
            last_duration_s=0.0021,
            alerts=alerts,
            **more,
        )

    world.book.rule_list = [
        rule(
            "GatewayLatencyOutsideBand", LATENCY, (alert,), band=band, series_total=2, series_ready=2, for_ms=60_000
        ),
        rule("QueueFilling", "gateway_queue_depth > 20", (queue,)),
        rule("ErrorRatioHigh", "up > 0", (errors,), for_ms=120_000),
        rule("gateway:requests:rate1m", "sum by (service) (rate(gateway_requests_total[1m]))", kind="recording"),
        rule(
            "HostCpuOutsideBand",
            "1 - avg by (instance) (rate(node_cpu_seconds_total{mode='idle'}[2m]))",
            group="host",
            band=band,
            series_total=310,
            series_ready=278,
            ready_in_ms=240_000,
        ),
        rule(
            "DiskFull",
            "disk_free_bytes / disk_size_bytes < 0.1",
            group="host",
            health="err",
            last_error="the expression has no series `disk_size_bytes`; is the exporter's name right?",
        ),
        rule("Watchdog", "vector(1)", (watchdog,), group="self"),
    ]
    world.book.odd_list = [
        OddSeries(
            "gateway/GatewayLatencyOutsideBand",
            Labels({"service": "gateway", "endpoint": "/embed"}),
            0.112,
            0.09,
            0.07,
            0.1,
            1.4,
            NOW_MS - 95_000,
        )
    ]
    names = Labels({"service": "gateway", "endpoint": "/generate"})
    world.book.explained = [Explained(names, EXPLAINED)]
    world.book.past = [
        alert,
        latency_alert(
            state=AlertState.RESOLVED,
            starts_at_ms=NOW_MS - 93_000_000,
            ends_at_ms=NOW_MS - 92_000_000,
            reason=Reason.RECOVERED,
        ),
        replace(
            queue,
            state=AlertState.RESOLVED,
            starts_at_ms=NOW_MS - 9_000_000,
            ends_at_ms=NOW_MS - 8_000_000,
            reason=Reason.CONDITION_CLEARED,
        ),
    ]
    world.desk.told = [
        Delivery(
            NOW_MS - 235_000,
            "webhook",
            "{}:{alertname}",
            "firing",
            "first notification",
            True,
            "200 OK",
            1,
            (alert.fingerprint,),
        ),
        Delivery(
            NOW_MS - 230_000,
            "mail",
            "{}:{alertname}",
            "firing",
            "first notification",
            False,
            "connection refused by mail.example:25",
            3,
            (alert.fingerprint,),
        ),
        Delivery(
            NOW_MS - 120_000,
            "webhook",
            "{}:{alertname}",
            "firing",
            "first notification",
            True,
            "200 OK",
            1,
            (queue.fingerprint,),
        ),
    ]


def silence_for(labels: Labels, ends_at_ms: int = NOW_MS + 3_600_000) -> Silence:
    matchers = tuple(Matcher(name, "=", value) for name, value in labels.pairs)
    return Silence("quiet", matchers, NOW_MS - 1000, ends_at_ms, "anna", "known, rolling back")
