"""The pace of a sender: one round after the other, at once when woken, else when the next is due."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

_IDLE_S = 1.0
_LEAST_S = 0.01


class Rounds:
    """Calls a coroutine until it is told to stop. `wake` is safe from any thread, and before and after the rounds."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None

    async def run(self, stop: asyncio.Event, work: Callable[[], Awaitable[float]]) -> None:
        """`work` does what is due and says in how many seconds more will be."""
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                self._woken.clear()
                wait_s = min(_IDLE_S, max(_LEAST_S, await work()))
                waking = asyncio.ensure_future(self._woken.wait())
                await asyncio.wait({waking, stopping}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
        finally:
            stopping.cancel()
            self._loop = self._woken = None

    def wake(self) -> None:
        """Look at once whether something is due."""
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closing: there is nothing to wake
                loop.call_soon_threadsafe(woken.set)
