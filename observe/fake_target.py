"""A real HTTP exporter on loopback whose answers a test decides, the wrong ones too. Part of `observe.testing`."""

import gzip
import ssl
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves, also in the handshake, is what tests are about; any other error is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@dataclass
class FakeTarget:
    r"""Serves `page`; use as a context manager.

    >>> with FakeTarget("up_since 1\n") as target:
    ...     address = target.address
    """

    page: str | bytes = "a 1\n"
    content_type: str = "text/plain; version=0.0.4"
    status: int = 200
    how: str = "length"
    """length, chunked, gzip, close (no length), cut (less than promised), stall, junk, raw (`page` is the answer)."""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    connections: int = 0
    tls: ssl.SSLContext | None = None
    hang_up_after: int = 0
    """Close the kept-open connection silently after this many answers; 0 never."""

    def __enter__(self) -> Self:
        target = self
        self._go = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30
            answered = 0

            def setup(self) -> None:
                target.connections += 1
                super().setup()

            def do_GET(self) -> None:
                target.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                body = target.page if isinstance(target.page, bytes) else target.page.encode()
                if target.how == "stall":
                    target._go.wait(30)
                    self.close_connection = True
                    return
                if target.how in {"junk", "raw"}:
                    self.wfile.write(body if target.how == "raw" else b"SSH-2.0-OpenSSH\r\n\r\n")
                    self.close_connection = True
                    return
                self.send_response(target.status)
                self.send_header("Content-Type", target.content_type)
                for name, value in target.headers.items():
                    self.send_header(name, value)
                self._send(body)
                self.answered += 1
                if target.hang_up_after and self.answered >= target.hang_up_after:
                    self.close_connection = True

            def _send(self, body: bytes) -> None:
                if target.how == "chunked":
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for at in range(0, len(body), 7):
                        part = body[at : at + 7]
                        self.wfile.write(b"%x;x=y\r\n%s\r\n" % (len(part), part))
                    self.wfile.write(b"0\r\n\r\n")
                    return
                if target.how == "gzip":
                    self.send_header("Content-Encoding", "gzip")
                    body = gzip.compress(body)
                if target.how == "close":
                    self.send_header("Connection", "close")
                    self.close_connection = True
                else:
                    self.send_header("Content-Length", str(len(body) + (10 if target.how == "cut" else 0)))
                self.end_headers()
                self.wfile.write(body)
                if target.how == "cut":
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Stay quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        if self.tls is not None:
            # The handshake waits for the first read, in the connection's own thread: a client that opens a connection
            # and says nothing would else hold up those after it, and the end of the server.
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"
