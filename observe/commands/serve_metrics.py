"""The metrics half alone, as a server that Grafana takes for Prometheus."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observe.metrics_app import MetricsApp
    from observe.promql.evaluate import QueryLimits

SUMMARY = "serve scraping, rules, store and the Prometheus APIs alone"
EXAMPLE = "observe serve-metrics --listen 127.0.0.1:9090 --data metrics --prometheus-config prometheus.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:9090", help="default: 127.0.0.1:9090")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="where samples are kept")
    parser.add_argument("--accept-old", action="store_true",
                        help="take samples of any age in any order, keep all: for imports")
    parser.add_argument("--prometheus-config", type=Path, metavar="FILE",
                        help="run the scraping and rule files of this prometheus.yml")
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
    from observe.listening import check_free, loopback_only

    host, port = loopback_only(args.listen)
    query = _query_limits(args)
    check_free(host, port)
    from observe.metrics_app import MetricsApp, MetricsOptions

    app = MetricsApp(MetricsOptions(host, port, args.data, args.accept_old, args.prometheus_config, query))
    for problem in app.unsupported:
        print(f"not supported: {problem}", file=sys.stderr)
    try:
        asyncio.run(_main(app, args.listen))
    finally:
        app.close()
    return 0


def _query_limits(args: argparse.Namespace) -> "QueryLimits":
    from observe.duration import parse_duration_ms
    from observe.errors import UsageError
    from observe.promql.evaluate import QueryLimits

    spans = {}
    for name in ("query_timeout", "query_lookback"):
        try:
            spans[name] = parse_duration_ms(getattr(args, name))
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')}: {error}") from error
    given = {**spans, **{f"query_{name}": getattr(args, f"query_{name}") for name in
                         ("max_samples", "max_series", "max_steps")}}
    for name, value in given.items():
        if value <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0")
    return QueryLimits(
        lookback_ms=spans["query_lookback"], timeout_s=spans["query_timeout"] / 1000,
        max_samples=args.query_max_samples, max_series=args.query_max_series, max_steps=args.query_max_steps,
    )


async def _main(app: "MetricsApp", address: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(f"metrics on http://{address}", flush=True)
    await app.run(stop)
