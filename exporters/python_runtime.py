"""The Python process itself: garbage collections and their pauses, event-loop lag, threads, memory, CPU.

Any service can have these beside its own metrics::

    from observe.exporters.python_runtime import install
    install()                       # into prometheus-client's default registry; inside a running loop, watches it too

Costs: two clock readings a collection, one timer wake-up a loop each 250 ms, nothing else between scrapes.
"""

import asyncio
import gc
import os
import threading
import time
import weakref
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from observe.exporters.collectors import Collector
from observe.exporters.page import Metric, Page
from observe.exporters.registry import exporter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as Family

_G = ("generation",)
COLLECTIONS = Metric("python_gc_collections_total", "counter", "", "Garbage collections.", _G)
COLLECTED = Metric("python_gc_objects_collected_total", "counter", "", "Objects freed by garbage collections.", _G)
UNCOLLECTABLE = Metric(
    "python_gc_objects_uncollectable_total", "counter", "", "Objects that garbage collections could not free.", _G,
)
PAUSE = Metric(
    "python_gc_pause_seconds", "histogram", "seconds", "Time that one garbage collection stopped the interpreter.", _G,
)
LAG = Metric(
    "python_event_loop_lag_seconds", "histogram", "seconds", "How much later than asked the event loop ran a timer.",
    ("loop",),
)
BLOCKED = Metric(
    "python_event_loop_blocked_seconds", "gauge", "seconds", "How overdue the event loop's timer is right now.",
    ("loop",),
)
THREADS = Metric("python_threads", "gauge", "", "Python threads alive.")
RESIDENT = Metric("process_resident_memory_bytes", "gauge", "bytes", "Resident memory of the process.")
CPU = Metric("process_cpu_seconds_total", "counter", "seconds", "User and system CPU time of the process.")

SHARED_WITH_CLIENT: Final = (COLLECTIONS, COLLECTED, UNCOLLECTABLE, RESIDENT, CPU)
"""prometheus-client's own collectors may give these already, with the same meaning."""
OURS: Final = (PAUSE, LAG, BLOCKED, THREADS)

PAUSE_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LAG_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TICK_S: Final = 0.25


@dataclass(slots=True)
class Buckets:
    """A histogram without a lock: written from one thread at a time, read from any."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Snapshot:
    """What the process says at one moment."""

    gc_stats: Sequence[Mapping[str, int]]
    """By generation: collections, collected, uncollectable."""
    pauses: Sequence[Buckets]
    loops: Mapping[str, tuple[Buckets, float]]
    """By name: lags, and seconds that the loop's timer is overdue."""
    threads: int
    resident_bytes: int | None
    cpu_seconds: float


def write(snapshot: Snapshot, page: Page) -> None:
    """A snapshot as samples."""
    for generation, stats in enumerate(snapshot.gc_stats):
        page.add(COLLECTIONS, stats.get("collections"), str(generation))
        page.add(COLLECTED, stats.get("collected"), str(generation))
        page.add(UNCOLLECTABLE, stats.get("uncollectable"), str(generation))
    for generation, pauses in enumerate(snapshot.pauses):
        page.histogram(PAUSE, pauses.bounds, tuple(pauses.counts), pauses.total, str(generation))
    for name, (lags, overdue) in snapshot.loops.items():
        page.histogram(LAG, lags.bounds, tuple(lags.counts), lags.total, name)
        page.add(BLOCKED, overdue, name)
    page.add(THREADS, snapshot.threads)
    page.add(RESIDENT, snapshot.resident_bytes)
    page.add(CPU, snapshot.cpu_seconds)


class _LoopWatch:
    """Asks one event loop for a timer again and again, and measures how late it comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self.lags = Buckets(LAG_BOUNDS)
        self._due = loop.time() + TICK_S
        loop.call_soon_threadsafe(self._arm)

    def _arm(self) -> None:
        loop = self._loop()
        if loop is not None:
            self._due = loop.time() + TICK_S
            loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        loop = self._loop()
        if loop is not None:
            self.lags.observe(max(0.0, loop.time() - self._due))
            self._arm()

    def overdue_s(self) -> float | None:
        """Seconds; None once the loop is gone."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            return None
        return max(0.0, loop.time() - self._due)


class Runtime:
    """What is measured in this process. One is enough: `runtime()`."""

    def __init__(self) -> None:
        self.pauses = tuple(Buckets(PAUSE_BOUNDS) for _ in gc.get_stats())
        self._loops: dict[str, _LoopWatch] = {}
        self._began = 0.0
        # No lock in the callback: a collection may begin inside any allocation, also one made while holding a lock.
        # The interpreter runs one collection at a time.
        gc.callbacks.append(self._on_collection)

    def _on_collection(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif self._began:
            self.pauses[info["generation"]].observe(time.perf_counter() - self._began)

    def detach(self) -> None:
        """Stop measuring pauses."""
        gc.callbacks.remove(self._on_collection)

    def watch_loop(self, loop: asyncio.AbstractEventLoop, name: str = "main") -> None:
        """Measure this loop's lag from now on, under `name`; from any thread. A loop that ended makes room."""
        self._loops[name] = _LoopWatch(loop)

    def snapshot(self) -> Snapshot:
        loops = {
            name: (watch.lags, overdue) for name, watch in list(self._loops.items())
            if (overdue := watch.overdue_s()) is not None
        }
        return Snapshot(
            gc.get_stats(), self.pauses, loops, threading.active_count(), _resident_bytes(), time.process_time(),
        )

    def collect(self, page: Page) -> None:
        write(self.snapshot(), page)


def _resident_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return None  # not Linux


_state: dict[str, Runtime] = {}
_state_lock = threading.Lock()


def runtime() -> Runtime:
    """The one `Runtime` of this process; measuring begins with the first call."""
    with _state_lock:
        if "runtime" not in _state:
            _state["runtime"] = Runtime()
        return _state["runtime"]


class _ClientCollector:
    """Some of our metrics as a collector of prometheus-client."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._wanted = {metric.name for metric in metrics}

    def collect(self) -> Iterable["Family"]:
        from prometheus_client.core import Metric as Family

        page = Page()
        runtime().collect(page)
        families: dict[str, Family] = {}
        for metric, suffix, labels, value in page.samples():
            if metric.name in self._wanted:
                name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
                family = families.setdefault(metric.name, Family(name, metric.help, metric.kind))
                family.add_sample(metric.name + suffix, labels, value)
        return families.values()

    def describe(self) -> Iterable["Family"]:
        from prometheus_client.core import Metric as Family

        return [
            Family(one.name.removesuffix("_total") if one.kind == "counter" else one.name, one.help, one.kind)
            for one in (*SHARED_WITH_CLIENT, *OURS) if one.name in self._wanted
        ]


_installed: "weakref.WeakSet[CollectorRegistry]" = weakref.WeakSet()


def install(registry: "CollectorRegistry | None" = None, loop: asyncio.AbstractEventLoop | None = None) -> Runtime:
    """Put the runtime's metrics into `registry` (default: prometheus-client's own). Calling it again adds nothing.

    Names that prometheus-client's collectors already give there are left to them. Watches `loop`, or the loop that runs
    where this is called.
    """
    import prometheus_client

    target = prometheus_client.REGISTRY if registry is None else registry
    found = runtime()
    if target not in _installed:
        given = {family.name for family in target.collect()}
        missing = [metric for metric in SHARED_WITH_CLIENT if metric.name.removesuffix("_total") not in given]
        target.register(_ClientCollector((*missing, *OURS)))
        _installed.add(target)
    if loop is None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return found  # called before any loop runs: `watch_loop` can follow
    found.watch_loop(loop)
    return found


@exporter("python_runtime", port=9202, summary="this Python process: garbage collection, event-loop lag, memory")
def build(_options: Mapping[str, str]) -> Sequence[Collector]:
    return [Collector("python_runtime", (*SHARED_WITH_CLIENT, *OURS), runtime().collect)]
