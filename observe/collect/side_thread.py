"""Work that may hang, beside the event loop."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def in_a_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], R], name: str) -> "asyncio.Future[R]":
    """What `work` returns or raises, from a daemon thread of its own: one that hangs holds up nobody, nor our exit."""
    future: asyncio.Future[R] = loop.create_future()

    def settle(done: "concurrent.futures.Future[R]") -> None:
        if future.done():  # given up meanwhile
            return
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)

    def run() -> None:
        done: concurrent.futures.Future[R] = concurrent.futures.Future()
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, done)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
