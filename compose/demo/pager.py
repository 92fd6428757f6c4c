"""Stands for somebody's pager: takes Alertmanager's webhook and prints a line for each alert."""

import argparse
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from observe.demo.process import die_with_parent

_LONGEST = 10_000_000
"""Bytes of a page; a longer one is refused."""


def lines(page: dict[str, Any]) -> list[str]:
    """What a person on call would read of a page: state, severity, what is wrong, where to look.

    >>> lines({"alerts": [{"status": "firing", "labels": {"alertname": "A"}, "generatorURL": "http://o/alerts/1"}]})
    ['FIRING   [none] A http://o/alerts/1']
    """
    told = []
    for alert in page.get("alerts", ()):
        labels, notes = alert.get("labels", {}), alert.get("annotations", {})
        told.append(" ".join((
            f"{alert.get('status', '?').upper():8}", f"[{labels.get('severity', 'none')}]",
            notes.get("summary") or labels.get("alertname", "?"), alert.get("generatorURL", ""),
        )).rstrip())
    return told


class Pager(BaseHTTPRequestHandler):
    """POST anywhere is a page; GET /-/healthy says that we are there."""

    timeout = 30

    def do_GET(self) -> None:
        self._say(200 if self.path == "/-/healthy" else 404)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LONGEST:
            self._say(413)
            return
        try:
            told = lines(json.loads(self.rfile.read(length)))
        except (ValueError, AttributeError, TypeError):
            self._say(400)
            return
        for line in told:
            print(line, flush=True)
        self._say(200)

    def _say(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """What it was asked is no page."""


def main() -> int:
    die_with_parent()
    parser = argparse.ArgumentParser(description="A pager for the demo: prints what it is sent.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9095)
    args = parser.parse_args()
    with ThreadingHTTPServer((args.host, args.port), Pager) as server:
        server.daemon_threads = True
        print(f"pager on http://{args.host}:{server.server_address[1]}/", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
