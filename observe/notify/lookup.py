"""Looks up the evidence of an alert while it is being paged, and remembers what was found."""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from observe.alert.evidence import FindTraces, TraceFinding, no_traces, traces
from observe.model import Alert, AlertState
from observe.notify.dedup import Identity, identity
from observe.telemetry import Telemetry

_THREADS = 2
_PAUSE_MS = 30_000
"""After no answer in time nobody waits for the store for so long: a slow one delays one page, not each in its turn."""


class EvidenceLookup:
    """Asks on threads of its own: a trace store that hangs must take none from the ledger.

    Not safe from several threads, but for `known`: the event loop asks.
    """

    def __init__(self, find_traces: FindTraces | None, most: int, timeout_s: float, telemetry: Telemetry) -> None:
        self._find_traces = find_traces
        self._most = most
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="evidence")
        self._stuck: set[Future[TraceFinding]] = set()
        """Searches that a thread still hangs in, though nobody waits for them any more."""
        self._ask_again_ms = 0
        self._found: dict[Identity, Mapping[str, str]] = {}
        self._searches = telemetry.counter(
            "observe_trace_searches_total",
            "Searches for the traces of an alert that is paged: found, none, failed, late, or skipped because the "
            "store was late a moment ago.", ("result",))

    async def of_all(self, alerts: Iterable[Alert], now_ms: int) -> dict[Identity, Mapping[str, str]]:
        """As `of` for many, all within one time limit."""
        asked = {identity(alert): alert for alert in alerts}
        found = await asyncio.gather(*(self.of(alert, now_ms) for alert in asked.values()))
        return dict(zip(asked, found, strict=True))

    async def of(self, alert: Alert, now_ms: int) -> Mapping[str, str]:
        """The annotations about its traces. Asked again while it fires and none were found."""
        known = self.known(alert)
        if known and (known.get("trace_ids") or alert.state is AlertState.RESOLVED):
            return known
        found = await self._search(alert, now_ms)
        if len(self._found) < self._most:
            self._found[identity(alert)] = found
        return found

    async def _search(self, alert: Alert, now_ms: int) -> Mapping[str, str]:
        if self._find_traces is None:
            return no_traces("no trace store is configured")
        if now_ms < self._ask_again_ms or len(self._stuck) == _THREADS:
            self._searches.labels("skipped").inc()
            return self._late()
        asked = self._threads.submit(self._find_traces, alert, now_ms)
        try:
            finding = await asyncio.wait_for(asyncio.wrap_future(asked), self._timeout_s)
        except TimeoutError:
            if not asked.cancel():
                self._stuck.add(asked)
                asked.add_done_callback(self._stuck.discard)
            self._ask_again_ms = now_ms + _PAUSE_MS
            self._searches.labels("late").inc()
            return self._late()
        except Exception as error:
            self._searches.labels("failed").inc()
            return no_traces(f"the trace store did not answer: {str(error)[:200]}")
        self._searches.labels("found" if finding.trace_ids else "none").inc()
        return traces(finding)

    def _late(self) -> Mapping[str, str]:
        return no_traces(f"the trace store did not answer within {self._timeout_s:g} s")

    def known(self, alert: Alert) -> Mapping[str, str]:
        """What was found when it was paged. Safe from any thread."""
        return self._found.get(identity(alert), {})

    def forget(self, one: Identity) -> None:
        self._found.pop(one, None)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
