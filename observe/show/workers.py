"""The query threads: everything that blocks or computes runs here, never on the event loop.

Bounded: so many threads, so many waiting requests. A request whose client has gone is not started; one that runs
past its time is answered 503 and its result is thrown away.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from starlette.requests import Request

from observe.errors import QueryError, Unavailable
from observe.telemetry import Telemetry

R = TypeVar("R")

CANCELLED: ContextVar[threading.Event | None] = ContextVar("observe_show_cancelled", default=None)
"""Set when nobody waits for the running call any more: long work may look at it and stop."""

_PATIENCE_S = 0.05
"""Most answers are there before this; only for the others is the client's going away watched."""


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


class QueryThreads:
    """A small pool with a bounded queue."""

    def __init__(self, threads: int, queue: int, telemetry: Telemetry) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="query")
        self._room = threads + queue
        self._busy = 0
        self._counting = threading.Lock()
        self._telemetry = telemetry
        self._gauge = telemetry.gauge("observe_query_threads_busy", "Requests that run or wait in the query threads.")

    async def run(
        self, function: Callable[..., R], *args: Any, request: Request | None = None, timeout_s: float = 120.0,
    ) -> R:
        """Call `function(*args)` in a query thread and wait for what it returns."""
        if self._busy >= self._room:
            self._telemetry.dropped("show", "query queue full")
            raise Unavailable(
                f"{self._busy} requests already run or wait; try again, or raise `query.threads`",
                reason="overloaded",
            )
        loop = asyncio.get_running_loop()
        gone, answer = threading.Event(), loop.create_future()
        self._count(1)
        running = self._pool.submit(self._work, loop, answer, gone, function, args)
        watch = _Watch(answer, request, timeout_s)
        try:
            return cast("R", await answer)
        finally:
            gone.set()
            if running.cancel():  # not yet started: it never will be, and its place is free
                self._count(-1)
            await watch.end()

    def _work(
        self, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Any]", gone: threading.Event,
        function: Callable[..., object], args: tuple[Any, ...],
    ) -> None:
        """In a query thread: call, and hand over what comes of it."""
        token = CANCELLED.set(gone)
        value: object = None
        error: BaseException | None = None
        try:
            value = function(*args)
        except BaseException as raised:
            error = raised
        finally:
            CANCELLED.reset(token)
            self._count(-1)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle, answer, value, error)

    def _count(self, change: int) -> None:
        with self._counting:
            self._busy += change
            self._gauge.set(self._busy)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _settle(answer: "asyncio.Future[Any]", value: object, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)


class _Watch:
    """Ends the wait for an answer that takes long: when its client hangs up, or when its time is over."""

    __slots__ = ("_answer", "_patience", "_request", "_timeout_s", "_watching")

    def __init__(self, answer: "asyncio.Future[Any]", request: Request | None, timeout_s: float) -> None:
        self._answer, self._request, self._timeout_s = answer, request, timeout_s
        self._watching: asyncio.Task[None] | None = None
        self._patience = answer.get_loop().call_later(min(_PATIENCE_S, timeout_s), self._begin)

    def _begin(self) -> None:
        self._watching = self._answer.get_loop().create_task(self._watch())

    async def _watch(self) -> None:
        left_s = max(0.0, self._timeout_s - _PATIENCE_S)
        try:
            async with asyncio.timeout(left_s):
                await (_hang_up(self._request) if self._request is not None else asyncio.Event().wait())
        except TimeoutError:
            _settle(self._answer, None, QueryError(
                f"the query ran longer than {self._timeout_s:g} s; ask for less time, fewer series or a larger step",
                kind="timeout",
            ))
        else:
            _settle(self._answer, None, ClientGone())

    async def end(self) -> None:
        self._patience.cancel()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
