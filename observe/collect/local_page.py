"""A page that a callable of this process makes (an exporter inside): the way of a scrape, without HTTP."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from observe.collect.fetched import Done, Failed, Fetched


class LocalPage:
    """A `PageSource`. Each page is made on a daemon thread of its own: one that hangs holds up nobody, nor our exit."""

    def __init__(self, url: str, read: Callable[[], bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._url = url
        self._read = read
        self._loop = loop
        self._turn = 0
        self._making: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    def fetch(self, done: Done, timeout_s: float) -> None:
        if self._making is not None and self._making.is_alive():
            done(Failed("timeout", "the page of the scrape before is still being made"))
            return
        self._turn += 1
        late = Failed("timeout", f"the page was not made within {timeout_s:g} s")
        self._timer = self._loop.call_later(timeout_s, self._finish, self._turn, done, late)
        self._making = threading.Thread(
            target=self._make, args=(self._turn, done), name=f"observe-{self._url}", daemon=True)
        self._making.start()

    def close(self) -> None:
        self._end_turn()

    def _make(self, turn: int, done: Done) -> None:
        result: Fetched | Failed
        try:
            body = memoryview(self._read())
            result = Fetched(body, gzip=False, openmetrics=False, release=body.release)
        except Exception as error:
            result = Failed("local", f"the page could not be made: {type(error).__name__}: {error}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, turn, done, result)

    def _finish(self, turn: int, done: Done, result: Fetched | Failed) -> None:
        """Of a turn that is over nothing is wanted any more."""
        if turn == self._turn:
            self._end_turn()
            done(result)
        elif isinstance(result, Fetched):
            result.release()

    def _end_turn(self) -> None:
        self._turn += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
