"""Starts of the demo, each of which must give its right page: `python -m tests.drill.demo --starts 10`.

Each start is a fresh data folder, as a newcomer has it: `observe up --demo` tells its own incident; the page must be
about the latency of /generate and be resolved; nothing else may page, and no child may be left.
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from observe.testing import WebhookSink
from tests.e2e.product import Product, alive, descendants
from tests.real.process import wait_until

EXPECTED = {"LatencyOutsideBand", "InterTokenLatencyOutsideBand", "QueueOutsideBand"}
"""A gateway whose decoding is slow has slow requests; some may queue."""


def pages(sink, status):
    return {
        alert["labels"]["alertname"] for received in list(sink.received) for alert in received.json()["alerts"]
        if alert["status"] == status
    } - {"Watchdog"}


def one_start(folder):
    """Seconds until the page and until its end. Raises AssertionError."""
    with WebhookSink() as sink, Product(folder, "--demo", "--webhook", sink.url) as product:
        began = time.monotonic()
        wait_until(lambda: "LatencyOutsideBand" in pages(sink, "firing"), "the page about latency", 180)
        paged = time.monotonic() - began
        wait_until(lambda: "LatencyOutsideBand" in pages(sink, "resolved"), "the end of it", 240)
        ended = time.monotonic() - began
        wrong = pages(sink, "firing") - EXPECTED
        assert not wrong, f"paged without a reason: {wrong}"
        wait_until(lambda: pages(sink, "firing") == pages(sink, "resolved"), "the end of every alert", 240)
        children = descendants(product.process.pid)
        product.interrupt()
        wait_until(lambda: not alive(children), "no child is left", 10)
        return paged, ended


def attempt(number):
    """True when start `number` was right; says what it saw."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            paged, ended = one_start(Path(folder) / "data")
        except AssertionError as error:
            print(f"demo: start {number}: WRONG: {error}", flush=True)
            return False
    print(f"demo: start {number}: paged after {paged:.0f} s, resolved after {ended:.0f} s", flush=True)
    return True


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=2, help="starts side by side (default: 2)")
    args = parser.parse_args(argv)
    with ThreadPoolExecutor(args.at_once) as pool:
        right = sum(pool.map(attempt, range(1, args.starts + 1)))
    print(f"demo: {right} right pages of {args.starts} starts")
    return 0 if right == args.starts else 1


if __name__ == "__main__":
    sys.exit(main())
