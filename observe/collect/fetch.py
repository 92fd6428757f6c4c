"""Get a page over HTTP/1.1 on a connection that stays open: the least that a scrape needs, on the event loop.

`HttpPage.fetch` calls back exactly once, with a `Fetched` or a `Failed`, and never later than its timeout. Bytes are
received into a buffer from a pool and handed on without a copy; decompression is left to whoever parses.
"""

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import SplitResult, urljoin, urlsplit

from observe._version import __version__
from observe.collect.target import Credentials, Target, Tls

ACCEPT_OPENMETRICS: Final = (
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.7,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
ACCEPT_TEXT: Final = "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
_MAX_HEAD = 64 * 1024
_MAX_REDIRECTS = 10
_FIRST_BUFFER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came. Call `release` when its bytes have been read."""

    body: memoryview
    gzip: bool
    openmetrics: bool
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is no page. `reason` is a short word and a metric label."""

    reason: str
    message: str


Done = Callable[[Fetched | Failed], None]


class Buffers:
    """A few byte arrays that go round, so that a page needs no new memory."""

    def __init__(self, keep: int = 16, largest: int = 4 * 1024 * 1024) -> None:
        self._free: list[bytearray] = []
        self._keep = keep
        self._largest = largest

    def take(self) -> bytearray:
        try:
            return self._free.pop()
        except IndexError:
            return bytearray(_FIRST_BUFFER)

    def give(self, buffer: bytearray) -> None:
        if len(self._free) < self._keep and len(buffer) <= self._largest:
            self._free.append(buffer)


class HttpPage:
    """One target's connection. One fetch at a time."""

    def __init__(self, target: Target, buffers: Buffers, largest_body: int, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.buffers = buffers
        self.limit = largest_body
        self._target = target
        self._home = urlsplit(target.url)
        self._url = self._home
        self._idle: _Connection | None = None
        self._used: _Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._done: Done | None = None
        self._redirects = 0
        self._asked = b""

    def fetch(self, done: Done, timeout_s: float) -> None:
        self._done = done
        self._redirects = 0
        self._url = self._home
        self._timer = self.loop.call_later(
            timeout_s, self.finish, Failed("timeout", f"no answer within {timeout_s:g} s: it is slow, or hangs"))
        self._send(fresh=False)

    def close(self) -> None:
        """End now; a fetch in progress is not called back."""
        self._done = None
        self.finish(Failed("closed", "the scrape was given up"))
        if self._idle is not None:
            self._idle.abort()
            self._idle = None

    def finish(self, result: Fetched | Failed) -> None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self._task = None
        used, self._used = self._used, None
        if used is not None and (isinstance(result, Failed) or not used.reusable):
            used.abort()
        elif used is not None and self._url is self._home:
            self._idle = used
        elif used is not None:
            used.abort()  # it leads to where a redirect pointed
        if done is not None:
            done(result)
        elif isinstance(result, Fetched):
            result.release()

    def lost(self, connection: "_Connection", error: Exception | None, *, before_answer: bool) -> None:
        """A connection ended. One that we had kept open may have ended just as we asked: ask again, once."""
        if connection is self._idle:
            self._idle = None
        if connection is not self._used:
            return
        self._used = None
        if before_answer and connection.answers > 0 and self._done is not None:
            self._send(fresh=True)
            return
        self.finish(Failed("closed", f"the connection ended before the page was complete{_because(error)}"))

    def expects(self, connection: "_Connection") -> bool:
        return connection is self._used and self._done is not None

    def redirect(self, status: int, location: str) -> None:
        self._redirects += 1
        url = urlsplit(urljoin(self._url.geturl(), location))
        if self._redirects > _MAX_REDIRECTS or url.scheme not in {"http", "https"} or not url.hostname:
            self.finish(Failed("status", f"{status} redirects to {location[:200]!r}, where no page is (redirect "
                                         f"{self._redirects} of at most {_MAX_REDIRECTS})"))
            return
        self._url = url
        used, self._used = self._used, None
        if used is not None:
            used.abort()
        self._send(fresh=True)

    @property
    def follow_redirects(self) -> bool:
        return self._target.follow_redirects

    def _send(self, *, fresh: bool) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not fresh:
            self._used = idle
            idle.ask(self._asked or self._request())
            return
        if idle is not None:
            idle.abort()
        self._task = self.loop.create_task(self._connect())

    def _request(self) -> bytes:
        """The request to the target itself; made once, unless it carries a secret that may change."""
        credentials = self._target.credentials
        request = _request(self._target, self._url, authorization(credentials))
        if (credentials is None or credentials.secret_file is None) and self._url is self._home:
            self._asked = request
        return request

    async def _connect(self) -> None:
        url = self._url
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        try:
            secure = None
            if url.scheme == "https":
                secure = await self.loop.run_in_executor(None, _tls_context, self._target.tls or Tls())
            same = (url.scheme, url.netloc) == (self._home.scheme, self._home.netloc)
            request = self._request() if same else _request(self._target, url, "")
            name = (self._target.tls.server_name or host) if secure and self._target.tls else None
            _, connection = await self.loop.create_connection(
                lambda: _Connection(self), host, port, ssl=secure, server_hostname=name)
        except asyncio.CancelledError:
            raise
        except (OSError, ssl.SSLError, ValueError) as error:
            self._task = None
            self.finish(Failed("connect", f"cannot connect to {host}:{port}: {_plain(error)}"))
            return
        self._task = None
        self._used = connection
        connection.ask(request)


class _Connection(asyncio.BufferedProtocol):
    """One HTTP/1.1 connection; knows how far an answer has come."""

    def __init__(self, page: HttpPage) -> None:
        self._page = page
        self._transport: asyncio.Transport | None = None
        self.answers = 0
        self.reusable = True
        self._buffer = bytearray()
        self._used = 0
        self._start_over()

    def _start_over(self) -> None:
        self._body = -1
        """Where the body begins; -1: the head is not complete."""
        self._length = -1
        """Bytes of the body; -1: chunked, or until the end of the connection."""
        self._chunked = False
        self._chunk_at = 0
        self._chunks: list[tuple[int, int]] = []
        self._gzip = self._openmetrics = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only

    def ask(self, request: bytes) -> None:
        self._start_over()
        self._used = 0
        if not self._buffer:
            self._buffer = self._page.buffers.take()
        if self._transport is None or self._transport.is_closing():
            self._page.loop.call_soon(lambda: self._page.lost(self, None, before_answer=True))
            return
        self._transport.write(request)

    def abort(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the hint may be -1 and says nothing
        if not self._buffer:
            self._buffer = self._page.buffers.take()
        if self._used == len(self._buffer):
            self._buffer = self._buffer + bytearray(len(self._buffer))
        return memoryview(self._buffer)[self._used :]

    def buffer_updated(self, nbytes: int) -> None:
        self._used += nbytes
        if not self._page.expects(self):
            self.abort()  # it speaks without being asked
            return
        if self._body < 0 and not self._read_head():
            return
        if self._used - self._body > self._page.limit:
            self._page.finish(Failed("body_size", f"the page is larger than {self._page.limit} bytes; raise "
                                                  "body_size_limit if it should be"))
        elif self._chunked:
            self._read_chunks()
        elif 0 <= self._length <= self._used - self._body:
            end = self._body + self._length
            self.reusable = self.reusable and self._used == end
            self._deliver(self._body, end)

    def eof_received(self) -> bool:
        if self._body >= 0 and not self._chunked and self._length < 0:
            self.reusable = False
            self._deliver(self._body, self._used)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        self._page.lost(self, exc, before_answer=self._used == 0)
        self._transport = None

    def _read_head(self) -> bool:
        """Read status and headers once they are complete. False: nothing of a body to look at yet (or ever)."""
        end = self._buffer.find(b"\r\n\r\n", 0, self._used)
        if end < 0:
            if self._used > _MAX_HEAD:
                self._page.finish(Failed("protocol", "the answer's head is not HTTP, or larger than 64 KiB"))
            return False
        status, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        words = status.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            self._page.finish(Failed("protocol", f"the answer is not HTTP: {status[:60]!r}"))
            return False
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        code = int(words[1])
        self._body = self._chunk_at = end + 4
        connection = headers.get(b"connection", b"").lower()
        self.reusable = connection != b"close" and (words[0] != b"HTTP/1.0" or connection == b"keep-alive")
        if code in {301, 302, 303, 307, 308} and self._page.follow_redirects and b"location" in headers:
            self._page.redirect(code, headers[b"location"].decode("latin-1"))
            return False
        if code != 200:
            said = words[2].decode("latin-1") if len(words) > 2 else ""
            self._page.finish(Failed("status", f"the server answered {code} {said}".rstrip()))
            return False
        kind = headers.get(b"content-type", b"").lower()
        self._openmetrics = kind.startswith(b"application/openmetrics-text")
        encoding = headers.get(b"content-encoding", b"").lower()
        self._gzip = encoding in {b"gzip", b"x-gzip"}
        if encoding not in {b"", b"identity"} and not self._gzip:
            self._page.finish(Failed("protocol", f"the page is encoded as {encoding[:40]!r}, which was not asked for"))
            return False
        self._chunked = headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        length = headers.get(b"content-length", b"")
        if not self._chunked and length:
            if not length.isdigit():
                self._page.finish(Failed("protocol", f"Content-Length is {length[:40]!r}"))
                return False
            self._length = int(length)
            if self._length > self._page.limit:
                self._page.finish(Failed("body_size", f"the page has {self._length} bytes, {self._page.limit} are "
                                                      "allowed; raise body_size_limit if it should be"))
                return False
        return True

    def _read_chunks(self) -> None:
        while True:
            line = self._buffer.find(b"\r\n", self._chunk_at, self._used)
            if line < 0:
                return
            try:
                size = int(bytes(self._buffer[self._chunk_at : line]).partition(b";")[0], 16)
            except ValueError:
                self._page.finish(Failed("protocol", "a chunk of the answer has no size"))
                return
            if size == 0:
                # No trailers are expected; the final blank line must be here, or the next answer would begin with it.
                if self._used < line + 4:
                    return
                self.reusable = self.reusable and self._used == line + 4
                self._deliver_chunks()
                return
            if self._used < line + 2 + size + 2:
                return
            self._chunks.append((line + 2, line + 2 + size))
            self._chunk_at = line + 2 + size + 2

    def _deliver_chunks(self) -> None:
        """Close the gaps between the chunks, in place."""
        end = start = self._body
        view = memoryview(self._buffer)
        for first, last in self._chunks:
            view[end : end + last - first] = view[first:last]
            end += last - first
        view.release()
        self._deliver(start, end)

    def _deliver(self, start: int, end: int) -> None:
        buffer, self._buffer = self._buffer, bytearray()
        self._used = 0
        self.answers += 1
        buffers = self._page.buffers
        body = memoryview(buffer)[start:end]

        def release() -> None:
            with contextlib.suppress(BufferError):  # somebody still looks at it: then it does not go round
                body.release()
                buffers.give(buffer)

        self._page.finish(Fetched(body, self._gzip, self._openmetrics, release))


def _request(target: Target, url: SplitResult, authorization: str) -> bytes:
    host = url.hostname or ""
    path = (url.path or "/") + ("?" + url.query if url.query else "")
    named = f"[{host}]" if ":" in host else host
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {named}{f':{url.port}' if url.port else ''}",
        f"User-Agent: observe/{__version__}",
        f"Accept: {ACCEPT_OPENMETRICS if target.openmetrics else ACCEPT_TEXT}",
        f"X-Prometheus-Scrape-Timeout-Seconds: {target.timeout_ms / 1000:g}",
    ]
    if not _is_loopback(host):
        lines.append("Accept-Encoding: gzip")  # on this machine it would cost both sides more than it saves
    if authorization:
        lines.append(f"Authorization: {authorization}")
    lines.extend(f"{name}: {value}" for name, value in target.headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", errors="replace")


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def authorization(credentials: Credentials | None) -> str:
    """The Authorization header, or nothing."""
    if credentials is None:
        return ""
    secret = credentials.secret
    if credentials.secret_file is not None:
        with contextlib.suppress(OSError):  # without it the target answers 401, which says enough
            secret = credentials.secret_file.read_text().strip()
    if credentials.scheme.lower() == "basic":
        secret = base64.b64encode(f"{credentials.user}:{secret}".encode()).decode()
    return f"{credentials.scheme} {secret}".replace("\r", "").replace("\n", "")


def _tls_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
    if tls.cert_file is not None:
        context.load_cert_chain(str(tls.cert_file), str(tls.key_file) if tls.key_file else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _because(error: Exception | None) -> str:
    return f": {_plain(error)}" if error is not None else ""


def _plain(error: Exception) -> str:
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text says "Connect call failed" of everything
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
