"""Get a target's page over HTTP, on a connection that stays open: when to connect, ask again, follow, or give up."""

import asyncio
import os
from dataclasses import replace
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from observe.collect.fetched import Done, Failed, Fetched
from observe.collect.http_connection import Buffers, Connection
from observe.collect.http_request import authorization, page_request, tls_context
from observe.collect.side_thread import in_a_thread
from observe.collect.target import Credentials, Target, Tls

_MAX_REDIRECTS: Final = 10
_NOWHERE: Final = urlsplit("")


class HttpPage:
    """One target's connection. One fetch at a time."""

    def __init__(self, target: Target, buffers: Buffers, largest_body: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffers = buffers
        self._largest_body = largest_body
        self._target = target
        self._home = _page_address(target.url) or _NOWHERE
        self._url = self._home
        self._idle: Connection | None = None
        self._used: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._done: Done | None = None
        self._redirects = 0
        self._asked = b""
        self._reading: asyncio.Future[str] | None = None

    def fetch(self, done: Done, timeout_s: float) -> None:
        self._done = done
        self._redirects = 0
        self._url = self._home
        hopeless = self._hopeless()
        if hopeless is not None:
            self._timer = self._loop.call_soon(self.finish, hopeless)
            return
        self._timer = self._loop.call_later(
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

    def lost(self, connection: Connection, error: Exception | None, *, before_answer: bool) -> None:
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

    def expects(self, connection: Connection) -> bool:
        return connection is self._used and self._done is not None

    def redirect(self, status: int, location: str) -> None:
        self._redirects += 1
        url = _page_address(location, self._url.geturl())
        if self._redirects > _MAX_REDIRECTS or url is None:
            self.finish(Failed("status", f"{status} redirects to {location[:200]!r}, where no page is (redirect "
                                         f"{self._redirects} of at most {_MAX_REDIRECTS})"))
            return
        self._url = url
        used, self._used = self._used, None
        if used is not None:
            used.abort()
        self._send(fresh=True)

    def _hopeless(self) -> Failed | None:
        """Why nobody need be asked."""
        if self._target.wrong:
            return Failed("labels", self._target.wrong)
        if self._home is _NOWHERE:
            return Failed("address", f"{self._target.url} is not an address; one is http://host:port/path")
        return None

    def _send(self, *, fresh: bool) -> None:
        """Ask. Configured headers and credentials are for the target: nobody else, to whom it redirects, is told them.

        The target's own request is made once, unless it carries a secret that may change.
        """
        credentials = self._target.credentials
        if (self._url.scheme, self._url.netloc) != (self._home.scheme, self._home.netloc):
            self._ask(page_request(replace(self._target, headers=()), self._url, ""), fresh=fresh)
        elif credentials is not None and credentials.in_files:
            self._task = self._loop.create_task(self._ask_with_secret(credentials, fresh=fresh))
        elif self._url is self._home:
            self._asked = self._asked or page_request(self._target, self._url, authorization(credentials))
            self._ask(self._asked, fresh=fresh)
        else:
            self._ask(page_request(self._target, self._url, authorization(credentials)), fresh=fresh)

    async def _ask_with_secret(self, credentials: Credentials, *, fresh: bool) -> None:
        """Files may hang: they are read on a thread, and one that still reads for the scrape before is not doubled."""
        if self._reading is None:
            self._reading = in_a_thread(self._loop, lambda: authorization(credentials), f"secret-{self._target.job}")
        reading = self._reading
        try:
            said = await asyncio.shield(reading)
        except (OSError, ValueError) as error:
            self._task = None
            self.finish(Failed("credentials", f"cannot read the secret of {self._target.url}: {_plain(error)}"))
            return
        finally:
            if reading.done():
                self._reading = None
        self._task = None
        self._ask(page_request(self._target, self._url, said), fresh=fresh)

    def _ask(self, request: bytes, *, fresh: bool) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not fresh:
            self._used = idle
            idle.ask(request)
            return
        if idle is not None:
            idle.abort()
        self._task = self._loop.create_task(self._connect(request))

    async def _connect(self, request: bytes) -> None:
        url = self._url
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        try:
            secure = None
            if url.scheme == "https":
                secure = await self._loop.run_in_executor(None, tls_context, self._target.tls or Tls())
            name = (self._target.tls.server_name or host) if secure and self._target.tls else None
            _, connection = await self._loop.create_connection(self._connection, host, port, ssl=secure,
                                                               server_hostname=name)
        except (OSError, ValueError) as error:
            self._task = None
            self.finish(Failed("connect", f"cannot connect to {host}:{port}: {_plain(error)}"))
            return
        self._task = None
        self._used = connection
        connection.ask(request)

    def _connection(self) -> Connection:
        return Connection(self, self._loop, self._buffers, self._largest_body,
                          follow_redirects=self._target.follow_redirects)


def _page_address(text: str, base: str = "") -> SplitResult | None:
    """Where a page may be; None where the text is not an address of HTTP."""
    try:
        url = urlsplit(urljoin(base, text))
        good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port beyond 65535, a bracket that is not closed
        return None
    return url if good else None


def _because(error: Exception | None) -> str:
    return f": {_plain(error)}" if error is not None else ""


def _plain(error: Exception) -> str:
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text says "Connect call failed" of everything
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
