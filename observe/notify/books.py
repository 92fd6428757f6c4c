"""The ledger as the senders use it: a disk that refuses is counted and told, and delays no page."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from observe.errors import StorageError
from observe.model import Alert, AlertState
from observe.notify.dedup import Identity, Sent, identity
from observe.notify.ledger import Ledger
from observe.protocols import Delivery
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)


class Books:
    """One ledger, written from one thread of its own where the event loop asks."""

    def __init__(self, folder: Path, telemetry: Telemetry, most_unkept: int) -> None:
        self.ledger = Ledger(folder / "alerts.sqlite")
        self._telemetry = telemetry
        self._most_unkept = most_unkept
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._unkept: dict[Identity, Alert] = {}
        self._failures = telemetry.counter(
            "observe_ledger_failures_total", "Writes that the ledger refused; they are tried again.")

    def keep(self, news: Sequence[Alert]) -> None:
        """Durable when it returns, where the disk takes it. What it refuses is written with the next news.

        A full disk must not keep the page about the full disk: callers go on and send.
        """
        if not news and not self._unkept:
            return
        waiting = {**self._unkept, **{identity(alert): alert for alert in news}}
        try:
            self.ledger.keep(list(waiting.values()))
            self._unkept = {}
        except StorageError as error:
            excess = max(0, len(waiting) - self._most_unkept)
            for one in [one for one, alert in waiting.items() if alert.state is AlertState.RESOLVED][:excess]:
                del waiting[one]
                self._telemetry.dropped("notify", "not written down")
            self._unkept = waiting
            self._failures.inc()
            _log.error("alerts are sent without being written down: %s", error)

    async def record(self, delivery: Delivery, sent: Sent | None) -> None:
        """Note a delivery; `sent` is what the receiver now knows of the group."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, self.ledger.record, delivery, sent)
        except StorageError as error:
            self._failures.inc()
            _log.error("a delivery is not written down: %s", error)

    async def forget(self, before_ms: int) -> None:
        """Let the ledger forget what ended long ago."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, self.ledger.forget, before_ms)
        except StorageError as error:
            self._failures.inc()
            _log.error("the ledger cannot be tidied: %s", error)

    def close(self) -> None:
        self._writing.shutdown()
        self.ledger.close()
