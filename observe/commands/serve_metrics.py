"""The metrics half alone, as a server that Grafana takes for Prometheus."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from observe.errors import ObserveError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from observe.metrics_app import MetricsApp
    from observe.promql.evaluate import QueryLimits
    from observe.store.metric_settings import MetricSettings

SUMMARY = "serve scraping, rules, store and the Prometheus APIs alone"
EXAMPLE = "observe serve-metrics --listen 127.0.0.1:9090 --data metrics --prometheus-config prometheus.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:9090", help="default: 127.0.0.1:9090")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="where samples are kept")
    parser.add_argument("--accept-old", action="store_true",
                        help="take samples of any age in any order, keep all: for imports")
    parser.add_argument("--prometheus-config", type=Path, metavar="FILE",
                        help="run the scraping and rule files of this prometheus.yml")
    parser.add_argument("--retention", metavar="DURATION", default="15d",
                        help="how long samples are kept, without --accept-old (default: 15d)")
    parser.add_argument("--retention-size", metavar="SIZE", default="10GB",
                        help="room for samples, the oldest go first (default: 10GB)")
    parser.add_argument("--query-timeout", metavar="DURATION", default="2m", help="time a query may take (default: 2m)")
    parser.add_argument("--query-lookback", metavar="DURATION", default="5m",
                        help="how far back a selector looks for the newest sample (default: 5m)")
    parser.add_argument("--query-max-samples", metavar="N", type=int, default=50_000_000,
                        help="samples that a query may read and points it may make, together (default: 50000000)")
    parser.add_argument("--query-max-series", metavar="N", type=int, default=200_000,
                        help="series that one selector may give (default: 200000)")
    parser.add_argument("--query-max-steps", metavar="N", type=int, default=11_000,
                        help="points of a range query (default: 11000)")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    from observe import memory
    from observe.listening import check_free, loopback_only

    memory.spare()
    host, port = loopback_only(args.listen)
    query, kept = _query_limits(args), _kept(args)
    check_free(host, port)
    from observe.metrics_app import MetricsApp, MetricsOptions

    app = MetricsApp(MetricsOptions(host, port, args.data, kept, args.prometheus_config, query))
    for problem in app.unsupported:
        print(f"note: {problem}", file=sys.stderr)
    try:
        asyncio.run(_main(app, args.listen))
    finally:
        app.close()
    return 0


def _query_limits(args: argparse.Namespace) -> "QueryLimits":
    from observe.duration import parse_duration_ms
    from observe.promql.evaluate import QueryLimits

    return QueryLimits(
        lookback_ms=_above_0(args, "query_lookback", parse_duration_ms),
        timeout_s=_above_0(args, "query_timeout", parse_duration_ms) / 1000,
        max_samples=_above_0(args, "query_max_samples"), max_series=_above_0(args, "query_max_series"),
        max_steps=_above_0(args, "query_max_steps"),
    )


def _kept(args: argparse.Namespace) -> "MetricSettings":
    from observe.duration import parse_duration_ms
    from observe.size import parse_size
    from observe.store.metric_settings import MetricSettings

    return MetricSettings(
        retention_ms=_above_0(args, "retention", parse_duration_ms),
        retention_bytes=_above_0(args, "retention_size", parse_size), accept_old=args.accept_old,
    )


def _above_0(args: argparse.Namespace, name: str, read: "Callable[[str], int]" = int) -> int:
    """The value of an option; raises UsageError with its name."""
    option = f"--{name.replace('_', '-')}"
    try:
        value = read(getattr(args, name))
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
    if value <= 0:
        raise UsageError(f"{option} must be more than 0")
    return value


async def _main(app: "MetricsApp", address: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, _reload, app))
    print(f"metrics on http://{address}", flush=True)
    await app.run(stop)


def _reload(app: "MetricsApp") -> None:
    try:
        print(f"reloaded: {app.reload()}", file=sys.stderr)
    except ObserveError as error:
        print(f"reload refused, the old configuration stays:\n{error}", file=sys.stderr)
