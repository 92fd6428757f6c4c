"""Who can be told: receivers by name, how many messages may be on their way to each, and their end after a reload."""

import asyncio
from collections.abc import Iterable, Sequence

from observe.errors import ObserveError
from observe.protocols import Receiver


class ReceiverSet:
    """`replace` may be called from any thread; the rest is the event loop's."""

    def __init__(self, receivers: Iterable[Receiver]) -> None:
        self._receivers = {one.name: one for one in receivers}
        self._retired: list[Receiver] = []
        """Replaced by a reload, and not closed yet."""
        self._gates: dict[str, asyncio.Semaphore] = {}

    def names(self) -> list[str]:
        return sorted(self._receivers)

    def get(self, name: str) -> Receiver:
        """The receiver `name`. Raises `ObserveError`: a route may name one that is not there."""
        found = self._receivers.get(name)
        if found is None:
            raise ObserveError(f"no receiver `{name}` is configured; add it to `receivers:`, or correct the route")
        return found

    def gate(self, name: str, at_once: int) -> asyncio.Semaphore:
        """Passes as many messages to one receiver at once."""
        return self._gates.setdefault(name, asyncio.Semaphore(at_once))

    def replace(self, receivers: Iterable[Receiver]) -> None:
        """Others from now on. Those of before are closed when `retire` finds nobody on the way to them."""
        self._retired.extend(self._receivers.values())
        self._receivers = {one.name: one for one in receivers}
        self._gates = {}

    async def retire(self, busy: Sequence[asyncio.Task[None]]) -> None:
        """Close what was replaced, after the messages that may still be on their way through it have arrived."""
        retired, self._retired = self._retired, []
        try:
            await asyncio.gather(*busy, return_exceptions=True)
        finally:
            await _close(retired)

    @property
    def has_retired(self) -> bool:
        return bool(self._retired)

    async def close(self) -> None:
        await _close([*self._receivers.values(), *self._retired])


async def _close(receivers: Sequence[Receiver]) -> None:
    for receiver in receivers:
        close = getattr(receiver, "close", None)
        if close is not None:
            await close()
