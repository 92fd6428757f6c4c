"""One HTTP/1.1 connection to a target: the least that reading a page of metrics needs.

Bytes are received into a buffer from a pool and handed on without a copy; decompression is left to whoever parses.
What the answer means (try again, follow, give up) is decided by the `Asker`.
"""

import asyncio
import contextlib
import re
from typing import Final, Protocol, cast

from observe.collect.fetched import Failed, Fetched

_MAX_HEAD: Final = 64 * 1024
_MAX_CHUNK_LINE: Final = 4096
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,16}")
_FIRST_BUFFER: Final = 64 * 1024


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


class Asker(Protocol):
    """Who asked a `Connection` for a page, and is told how the answer ended."""

    def expects(self, connection: "Connection") -> bool:
        """Whether an answer of this connection is wanted now."""

    def finish(self, result: Fetched | Failed) -> None: ...

    def redirect(self, status: int, location: str) -> None: ...

    def lost(self, connection: "Connection", error: Exception | None, *, before_answer: bool) -> None:
        """The connection ended; `before_answer`: without a byte of the answer that is awaited."""


class Connection(asyncio.BufferedProtocol):
    """One HTTP/1.1 connection; knows how far an answer has come."""

    def __init__(
        self, asker: Asker, loop: asyncio.AbstractEventLoop, buffers: Buffers, largest_body: int, *,
        follow_redirects: bool,
    ) -> None:
        self._asker = asker
        self._loop = loop
        self._buffers = buffers
        self._largest_body = largest_body
        self._follow_redirects = follow_redirects
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
        """Where the next chunk begins, with the line of its size."""
        self._joined = 0
        """Where the chunks end that have been put together, from `_body` on."""
        self._gzip = self._openmetrics = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only

    def ask(self, request: bytes) -> None:
        self._start_over()
        self._used = 0
        if not self._buffer:
            self._buffer = self._buffers.take()
        if self._transport is None or self._transport.is_closing():
            self._loop.call_soon(lambda: self._asker.lost(self, None, before_answer=True))
            return
        self._transport.write(request)

    def abort(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the hint may be -1 and says nothing
        if not self._buffer:
            self._buffer = self._buffers.take()
        if self._used == len(self._buffer):
            self._buffer = self._buffer + bytearray(len(self._buffer))
        return memoryview(self._buffer)[self._used :]

    def buffer_updated(self, nbytes: int) -> None:
        self._used += nbytes
        if not self._asker.expects(self):
            self.abort()  # it speaks without being asked
            return
        if self._body < 0 and not self._read_head():
            return
        if self._used - self._body > self._largest_body:
            self._asker.finish(Failed("body_size", f"the page is larger than {self._largest_body} bytes; raise "
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
        self._asker.lost(self, exc, before_answer=self._used == 0)
        self._transport = None

    def _read_head(self) -> bool:
        """Read status and headers once they are complete. False: nothing of a body to look at yet (or ever)."""
        end = self._buffer.find(b"\r\n\r\n", 0, self._used)
        if end < 0:
            if self._used > _MAX_HEAD:
                self._asker.finish(Failed("protocol", "the answer's head is not HTTP, or larger than 64 KiB"))
            return False
        status, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        words = status.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            self._asker.finish(Failed("protocol", f"the answer is not HTTP: {status[:60]!r}"))
            return False
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        code = int(words[1])
        self._body = self._joined = self._chunk_at = end + 4
        connection = headers.get(b"connection", b"").lower()
        self.reusable = connection != b"close" and (words[0] != b"HTTP/1.0" or connection == b"keep-alive")
        if code in {301, 302, 303, 307, 308} and self._follow_redirects and b"location" in headers:
            self._asker.redirect(code, headers[b"location"].decode("latin-1"))
            return False
        if code != 200:
            said = words[2].decode("latin-1") if len(words) > 2 else ""
            self._asker.finish(Failed("status", f"the server answered {code} {said}".rstrip()))
            return False
        kind = headers.get(b"content-type", b"").lower()
        self._openmetrics = kind.startswith(b"application/openmetrics-text")
        encoding = headers.get(b"content-encoding", b"").lower()
        self._gzip = encoding in {b"gzip", b"x-gzip"}
        if encoding not in {b"", b"identity"} and not self._gzip:
            self._asker.finish(Failed("protocol", f"the page is encoded as {encoding[:40]!r}, which was not asked for"))
            return False
        self._chunked = headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        length = headers.get(b"content-length", b"")
        if not self._chunked and length:
            if not length.isdigit():
                self._asker.finish(Failed("protocol", f"Content-Length is {length[:40]!r}"))
                return False
            self._length = int(length)
            if self._length > self._largest_body:
                self._asker.finish(Failed("body_size", f"the page has {self._length} bytes, {self._largest_body} are "
                                                       "allowed; raise body_size_limit if it should be"))
                return False
        return True

    def _read_chunks(self) -> None:
        """Join the chunks that are here whole, in place: each moves to where the one before it ends."""
        while True:
            line = self._buffer.find(b"\r\n", self._chunk_at, self._used)
            if line < 0:
                if self._used - self._chunk_at > _MAX_CHUNK_LINE:
                    self._asker.finish(Failed("protocol", "the size of a chunk of the answer does not end"))
                return
            size_text = bytes(self._buffer[self._chunk_at : line]).partition(b";")[0].rstrip(b" \t")
            if _CHUNK_SIZE.fullmatch(size_text) is None:  # int() reads more: -6 would be read for ever
                self._asker.finish(Failed("protocol", f"a chunk of the answer has the size {size_text[:40]!r}, "
                                                      "which is not a hexadecimal number"))
                return
            size = int(size_text, 16)
            if size == 0:
                # No trailers are expected; the final blank line must be here, or the next answer would begin with it.
                if self._used < line + 4:
                    return
                self.reusable = self.reusable and self._used == line + 4
                self._deliver(self._body, self._joined)
                return
            first, end = line + 2, line + 2 + size
            if self._used < end + 2:
                return
            with memoryview(self._buffer) as view:
                view[self._joined : self._joined + size] = view[first:end]
            self._joined += size
            self._chunk_at = end + 2

    def _deliver(self, start: int, end: int) -> None:
        buffer, self._buffer = self._buffer, bytearray()
        self._used = 0
        self.answers += 1
        buffers = self._buffers
        body = memoryview(buffer)[start:end]

        def release() -> None:
            with contextlib.suppress(BufferError):  # somebody still looks at it: then it does not go round
                body.release()
                buffers.give(buffer)

        self._asker.finish(Fetched(body, self._gzip, self._openmetrics, release))
