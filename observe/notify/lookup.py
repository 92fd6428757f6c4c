"""Looks up the evidence of an alert while it is being paged, and remembers what was found."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from observe.alert.evidence import FindTraces, traces
from observe.model import Alert, AlertState
from observe.notify.dedup import Identity, identity

_LONGEST_S = 5.0
"""A page waits no longer for its traces."""


class EvidenceLookup:
    """Asks on threads of its own: a trace store that hangs must take none from the ledger."""

    def __init__(self, find_traces: FindTraces | None, most: int) -> None:
        self._find_traces = find_traces
        self._most = most
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="evidence")
        self._found: dict[Identity, Mapping[str, str]] = {}

    async def of(self, alert: Alert, now_ms: int) -> Mapping[str, str]:
        """The annotations about its traces. Asked again while it fires and none were found."""
        known = self.known(alert)
        if known and (known.get("trace_ids") or alert.state is AlertState.RESOLVED):
            return known
        asked = asyncio.get_running_loop().run_in_executor(self._threads, traces, alert, now_ms, self._find_traces)
        found: Mapping[str, str]
        try:
            found = await asyncio.wait_for(asked, _LONGEST_S)
        except TimeoutError:
            found = {"trace_ids": "", "trace_ids_reason": f"the trace store did not answer within {_LONGEST_S:g} s"}
        if len(self._found) < self._most:
            self._found[identity(alert)] = found
        return found

    def known(self, alert: Alert) -> Mapping[str, str]:
        """What was found when it was paged. Safe from any thread."""
        return self._found.get(identity(alert), {})

    def forget(self, one: Identity) -> None:
        self._found.pop(one, None)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
