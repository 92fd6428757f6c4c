"""A gateway whose decode step slowed down: its series, targets, requests and alerts, in a world of their own.

Two hours of series at 15 s; the latency of /generate leaves its band eight minutes before "now".
"""

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from observe.model import Labels
from observe.protocols import TargetHealth
from observe.show.context import Change
from tests.show.incident_alerts import write_alerts
from tests.show.incident_requests import write_requests
from tests.show.world import NOW_MS, World, empty_world

BUCKETS = (
    0.03, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.14, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 2.5,
    3.0, 3.5, 4.0, 5.0, 10.0,
)


def incident(folder: Path) -> World:
    """A gateway whose decode step slowed down eight minutes ago."""
    world = empty_world(folder)
    dice = random.Random(7)
    _series(world, dice)
    write_requests(world, dice)
    write_alerts(world)
    world.context = replace(
        world.context,
        targets=targets,
        changes=lambda start, end: [
            Change(NOW_MS - 4 * 3_600_000, "reload: 2 rules added"),
            Change(NOW_MS - 560_000, "deploy gateway 1.8.2", "gateway"),
        ],
    )
    assert world.signals.wait_indexed(300)
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
