"""What the rules and the desk say in an incident: alerts, why their band is where it is, who was told."""

from dataclasses import replace

from observe.model import Alert, AlertState, Labels, Matcher, Reason
from observe.protocols import Delivery, OddSeries, RuleStatus, Silence
from tests.show.incident_requests import trace_id_of
from tests.show.world import NOW_MS, Explained, World

LATENCY = (
    "histogram_quantile(0.95, sum by (service, endpoint, le) (rate(gateway_request_duration_seconds_bucket[2m])))"
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


def write_alerts(world: World) -> None:
    """Into the book and onto the desk of a world."""
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
