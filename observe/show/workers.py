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
from typing import Any, TypeVar

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
                f"{self._busy} requests already run or wait; try again, or raise `show.query_threads`",
                reason="overloaded",
            )
        gone = threading.Event()
        self._count(1)
        running = self._pool.submit(_call, gone, function, args)
        running.add_done_callback(lambda _: self._count(-1))
        future = asyncio.wrap_future(running)
        try:
            done, _ = await asyncio.wait({future}, timeout=min(_PATIENCE_S, timeout_s))
            if done:
                return future.result()
            return await _or_gone(future, request, timeout_s)
        finally:
            gone.set()
            running.cancel()  # not yet started: it never will be, and its place is free

    def _count(self, change: int) -> None:
        with self._counting:
            self._busy += change
            self._gauge.set(self._busy)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _call(gone: threading.Event, function: Callable[..., R], args: tuple[Any, ...]) -> R:
    if gone.is_set():
        raise ClientGone
    token = CANCELLED.set(gone)
    try:
        return function(*args)
    finally:
        CANCELLED.reset(token)


async def _or_gone(future: "asyncio.Future[R]", request: Request | None, timeout_s: float) -> R:
    waiting: set[asyncio.Future[Any]] = {future}
    watch = asyncio.ensure_future(_hang_up(request)) if request is not None else None
    if watch is not None:
        waiting.add(watch)
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if watch is not None and watch.done():
            raise ClientGone
        raise QueryError(
            f"the query ran longer than {timeout_s:g} s; ask for less time, fewer series or a larger step",
            kind="timeout",
        )
    finally:
        if watch is not None:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
