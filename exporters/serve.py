"""Exporters on a port of their own: ``/metrics``, nothing else to configure.

Loopback needs no token. Any other address shows the machine's inner life to the network, so it needs a bearer token
(Prometheus sends one with ``authorization: {credentials_file: ...}``) or the explicit wish to do without.
"""

import gzip
import hmac
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, Final

from observe.errors import Unavailable, UsageError
from observe.exporters.collectors import Exporter
from observe.exporters.page import CONTENT_TYPE
from observe.exporters.together import Together

GZIP_FROM_BYTES: Final = 4096
"""Below this, compressing costs more than it saves."""


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``HOST``, ``:PORT`` or ``[V6]:PORT``. Raises UsageError.

    >>> parse_address("127.0.0.1:9200", 9101)
    ('127.0.0.1', 9200)
    """
    host, port = text, str(default_port)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text}: {port!r} is not a port; write HOST:PORT, such as 127.0.0.1:{default_port}")
    return host or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ExporterServer:
    """The HTTP server of exporters. `address` is known once it exists; `run` blocks, `stop` ends it."""

    def __init__(self, exporter: Exporter | Together, host: str, port: int, token: str = "") -> None:
        pages = exporter.pages() if isinstance(exporter, Together) else {"/metrics": exporter.exposition}
        wanted, list_of_pages = token, " ".join(pages)

        class Handler(BaseHTTPRequestHandler):
            timeout = 30  # a client that opens a connection and says nothing does not keep a thread
            server_version = "observe-exporter"
            sys_version = ""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path not in {"/", "/-/healthy"} and path not in pages:
                    self._say(404, f"the metrics are at {list_of_pages}\n".encode())
                elif path == "/-/healthy":
                    self._say(200, b"healthy\n")
                elif wanted and not _bearer_matches(self.headers.get("Authorization", ""), wanted):
                    self._say(401, b"this exporter wants a bearer token\n", {"WWW-Authenticate": "Bearer"})
                elif path == "/":
                    self._say(200, f"observe exporter {exporter.name}: {list_of_pages}\n".encode())
                else:
                    self._metrics(pages[path]())

            def _metrics(self, body: bytes) -> None:
                headers = {"Content-Type": CONTENT_TYPE}
                if len(body) >= GZIP_FROM_BYTES and "gzip" in self.headers.get("Accept-Encoding", ""):
                    body = gzip.compress(body, 1)
                    headers["Content-Encoding"] = "gzip"
                self._say(200, body, headers)

            def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """A scrape every few seconds is no news."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            self._server = Server((host, port), Handler)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another address with --listen HOST:PORT",
            ) from error
        self.address: tuple[str, int] = self._server.server_address[0], self._server.server_address[1]  # type: ignore[assignment]

    def run(self) -> None:
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        self._server.shutdown()


def _bearer_matches(header: str, token: str) -> bool:
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def serve(
    exporter: Exporter | Together, host: str, port: int, *, token: str = "", without_token: bool = False,
    on_ready: Callable[[str], None] = print,
) -> None:
    """Answer scrapes until SIGTERM or Ctrl-C. Raises UsageError for an open address without a token."""
    if not (is_loopback(host) or token or without_token):
        raise UsageError(
            f"--listen {host}:{port} is open to the network: give --serve-token-file FILE, or say --without-token if "
            "something else protects it",
        )
    server = ExporterServer(exporter, host, port, token)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.stop, daemon=True).start()  # shutdown waits for the loop that we interrupt

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with exporter:
            shown = f"[{server.address[0]}]" if ":" in server.address[0] else server.address[0]
            on_ready(f"exporter {exporter.name}: http://{shown}:{server.address[1]}/metrics")
            server.run()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
