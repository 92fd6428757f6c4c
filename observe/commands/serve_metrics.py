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

SUMMARY = "serve scraping, rules, store and the Prometheus APIs alone"
EXAMPLE = "observe serve-metrics --listen 127.0.0.1:9090 --data metrics --prometheus-config prometheus.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:9090", help="default: 127.0.0.1:9090")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="where samples are kept")
    parser.add_argument("--accept-old", action="store_true",
                        help="take samples of any age in any order, keep all: for imports")
    parser.add_argument("--prometheus-config", type=Path, metavar="FILE",
                        help="run the scraping and rule files of this prometheus.yml")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    from observe.listening import check_free, loopback_only

    host, port = loopback_only(args.listen)
    check_free(host, port)
    from observe.metrics_app import MetricsApp, MetricsOptions

    app = MetricsApp(MetricsOptions(host, port, args.data, args.accept_old, args.prometheus_config))
    for problem in app.unsupported:
        print(f"not supported: {problem}", file=sys.stderr)
    try:
        asyncio.run(_main(app, args.listen))
    finally:
        app.close()
    return 0


async def _main(app: "MetricsApp", address: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(f"metrics on http://{address}", flush=True)
    await app.run(stop)
