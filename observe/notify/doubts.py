"""After a restart: which alerts must not be told again before the rules have spoken.

What fired before may have ended while we were away, and a twin may have said so: to tell it again would open a page
that is closed. Until the rules say that it still fires, the cluster's word counts: what fires there is told again like
any other, so that it does not lapse while a rule cannot be evaluated; what does not fire there is held.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Container, Iterable, Sequence

from observe.errors import ObserveError
from observe.model import Alert, Labels
from observe.notify.dedup import Identity, identity

_log = logging.getLogger(__name__)

_ASK_EVERY_MS = 5_000

FiringThere = Callable[[frozenset[str]], Container[Labels]]
"""(alertnames): the labels of what fires in the cluster now. Blocks; raises where nobody answers."""


class Doubts:
    """Safe from any thread."""

    def __init__(self, firing_there: FiringThere) -> None:
        self._firing_there = firing_there
        self._lock = threading.Lock()
        self._doubtful: dict[Identity, Alert] = {}
        self._held: frozenset[Identity] = frozenset()
        self._ask_at_ms = 0

    def add(self, alert: Alert) -> None:
        """It was told before the restart."""
        with self._lock:
            self._doubtful[identity(alert)] = alert

    def clear(self, spoken: Iterable[Identity]) -> bool:
        """The rules have spoken of these. Returns whether any of them was in doubt."""
        if not self._doubtful:
            return False
        with self._lock:
            cleared = [one for one in spoken if self._doubtful.pop(one, None) is not None]
        return bool(cleared)

    def __contains__(self, one: Identity) -> bool:
        return one in self._doubtful

    def alerts(self) -> list[Alert]:
        with self._lock:
            return list(self._doubtful.values())

    async def held(self, due: Sequence[Alert], now_ms: int) -> Collection[Identity]:
        """Those in doubt that are not to be told now. `due` are those that a peer would hear; only then is asked."""
        if due and now_ms >= self._ask_at_ms:
            self._ask_at_ms = now_ms + _ASK_EVERY_MS
            self._held = await self._not_firing_there()
        elif not due:
            return ()
        with self._lock:
            return {one for one in self._doubtful if one in self._held}

    async def _not_firing_there(self) -> frozenset[Identity]:
        alerts = self.alerts()
        try:
            there = await asyncio.to_thread(self._firing_there, frozenset(alert.name for alert in alerts))
        except (ObserveError, LookupError, TypeError, ValueError) as error:
            _log.info("whether alerts from before the restart still fire is not known: %s", error)
            return frozenset(map(identity, alerts))
        return frozenset(identity(alert) for alert in alerts if alert.labels not in there)
