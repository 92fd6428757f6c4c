"""Hours without a fault give no page: `python -m tests.drill.quiet --hours 1`.

The demo gateway runs for a minute under its load; what it logged (endpoint, latency) is then drawn from again and
again, at Poisson times, into the gateway's own metrics. They go through the parser, the store, the shipped rules and
the engine on a clock that runs as fast as the machine can. Any alert that fires is an error.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from prometheus_client import generate_latest

from observe.alert.evaluate import RuleEvaluator
from observe.alert.rule_files import find_files, load_files
from observe.children import Children
from observe.collect.exposition import PageParser
from observe.demo.launch import Demo
from observe.demo.signals import ENGINE, SERVICE, Metrics
from observe.detect.staged import create
from observe.model import AlertState, Frame, Labels
from observe.promql.engine import Engine
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

STEP_MS = 2_000
RATE = 4.0
TARGET = {"job": "gateway", "instance": "demo"}


def record(seconds, folder):
    """(endpoint, latency in seconds) of every request of the real gateway in `seconds`."""
    demo, children = Demo.plan(folder), Children()
    try:
        demo.start(children.start, "http://127.0.0.1:9")  # nobody takes the spans
        time.sleep(seconds)
    finally:
        children.stop()
    lines = [json.loads(line) for line in demo.log.read_text().splitlines()]
    return [(line["endpoint"], line["latency"] / 1000) for line in lines if line.get("status") == "200"]


class Collected:
    """An `AlertSink` that keeps what fired."""

    def __init__(self):
        self.fired = {}

    def accept(self, alerts, now_ms):
        for alert in alerts:
            if alert.state is AlertState.FIRING and alert.name != "Watchdog":
                self.fired.setdefault((alert.name, alert.labels, alert.starts_at_ms), alert)


def replay(requests, hours, folder, seed, say):
    """Run the shipped rules over `hours` of requests drawn from `requests`; returns the alerts that fired."""
    clock, telemetry, chance = ManualClock(), Telemetry(), random.Random(seed)
    store = MetricStore(folder, MetricSettings(), clock, telemetry)
    collected = Collected()
    groups = load_files(find_files(["builtin"]), Engine(store).check, STEP_MS)
    evaluator = RuleEvaluator(groups, Engine(store, clock=clock), store, collected, create, clock, telemetry)
    gateway = Metrics()
    gateway.queue_capacity.labels(SERVICE).set(32)
    gateway.queue_depth.labels(SERVICE).set(0)
    up = store.series_ids([Labels({"__name__": "up", **TARGET})])

    def name(pairs):
        return Labels({**dict(pairs), **TARGET})

    parser = PageParser(name, store.series_ids)
    due_s, steps = 0.0, int(hours * 3_600_000 / STEP_MS)
    for step in range(steps):
        now_ms = clock.advance_ms(STEP_MS)
        while due_s < (step + 1) * STEP_MS / 1000:
            due_s += chance.expovariate(RATE)
            endpoint, latency = chance.choice(requests)
            gateway.requests.labels(SERVICE, endpoint, "200").inc()
            gateway.duration.labels(SERVICE, endpoint).observe(latency)
            gateway.e2e.labels(*ENGINE).observe(latency)
            if endpoint == "/generate":
                hit = latency < 0.01
                (gateway.cache_hits if hit else gateway.cache_misses).labels(SERVICE).inc()
        page = parser.parse(generate_latest(gateway.registry), now_ms)
        store.append(Frame(np.array([now_ms]), page.ids, page.values.reshape(1, -1)))
        store.append(Frame(np.array([now_ms]), up, np.ones((1, 1))))
        evaluator.tick(now_ms)
        if step % 300 == 299:
            store.maintain(now_ms)
            say(f"quiet: {(step + 1) * STEP_MS / 3_600_000:.2f} h of {hours:g} h, {len(collected.fired)} pages")
    store.close()
    return list(collected.fired.values())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--record", type=float, default=60.0, help="seconds of the real gateway")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        requests = record(args.record, Path(folder))
        print(f"quiet: {len(requests)} requests recorded from the real gateway", flush=True)
        fired = replay(requests, args.hours, Path(folder) / "metrics", args.seed, lambda text: print(text, flush=True))
    for alert in fired:
        print(f"quiet: PAGED {alert.name} {alert.labels} value {alert.value} band {alert.lower}..{alert.upper}")
    print(f"quiet: {args.hours:g} h without a fault, {len(fired)} pages")
    return 1 if fired else 0


if __name__ == "__main__":
    sys.exit(main())
