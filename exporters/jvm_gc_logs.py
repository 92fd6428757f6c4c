"""Follows GC logs and counts what they tell, one log file a set of series; survives rotation and truncation."""

import glob
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from observe.exporters import gclog
from observe.exporters.collectors import NoData
from observe.exporters.log_tail import LogTail
from observe.exporters.page import Metric, Page

_L = ("pid", "main_class", "log")
PAUSE = Metric(
    "jvm_gc_pause_seconds", "histogram", "seconds", "Time that one GC pause stopped the JVM, by kind of pause.",
    (*_L, "pause"),
)
FULL = Metric("jvm_gc_full_collections_total", "counter", "", "Full GCs by cause.", (*_L, "cause"))
HEAP_AFTER = Metric("jvm_gc_heap_after_bytes", "gauge", "bytes", "Heap in use after the last collection.", _L)
RECLAIMED = Metric("jvm_gc_reclaimed_bytes_total", "counter", "bytes", "Heap that collections gave back.", _L)
STALLS = Metric("jvm_gc_allocation_stalls_total", "counter", "", "Times that a thread waited for memory (ZGC).", _L)
STALL_SECONDS = Metric(
    "jvm_gc_allocation_stall_seconds_total", "counter", "seconds", "Time that threads waited for memory (ZGC).", _L,
)
EVACUATION_FAILURES = Metric(
    "jvm_gc_evacuation_failures_total", "counter", "", "Collections that found no room to copy survivors to (G1).", _L,
)
LINES = Metric("jvm_gc_log_lines_total", "counter", "", "Lines read from the log.", _L)
UNREAD = Metric("jvm_gc_log_unread_bytes", "gauge", "bytes", "Bytes of the log that are still to be read.", _L)
METRICS: Final = (
    PAUSE, FULL, HEAP_AFTER, RECLAIMED, STALLS, STALL_SECONDS, EVACUATION_FAILURES, LINES, UNREAD,
)

BOUNDS: Final = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MAX_LOGS: Final = 256
MAX_NAMES: Final = 50
"""Kinds and causes a log; the JVM has about thirty. More is some other file, and becomes ``other``."""


@dataclass(slots=True)
class Told:
    """What one log has told so far."""

    pauses: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    """kind -> (counts a bucket, [sum of seconds])."""
    full: Counter[str] = field(default_factory=Counter)
    heap_after: int | None = None
    reclaimed: int = 0
    stalls: int = 0
    stall_s: float = 0.0
    evacuation_failures: int = 0
    lines: int = 0
    numbers: frozenset[int] = frozenset()
    """Bare numbers in the decorations of the last line: the pid may be among them."""

    def take(self, line: str) -> None:
        self.lines += 1
        decorations, message = gclog.split(line)
        event = gclog.parse_message(message)
        if event is None:
            return
        self.numbers = frozenset(gclog.decorated_numbers(decorations))
        match event:
            case gclog.Pause(kind, cause, seconds, before, after, failed):
                counts, total = self.pauses.setdefault(_bounded(kind, self.pauses), ([0] * (len(BOUNDS) + 1), [0.0]))
                counts[bisect_left(BOUNDS, seconds)] += 1
                total[0] += seconds
                if kind == "Full":
                    self.full[_bounded(cause, self.full)] += 1
                self.evacuation_failures += failed
                self._heap(before, after)
            case gclog.HeapAfter(before, after):
                self._heap(before, after)
            case gclog.Stall(seconds):
                self.stalls += 1
                self.stall_s += seconds
            case gclog.EvacuationFailure():
                self.evacuation_failures += 1

    def _heap(self, before: int | None, after: int | None) -> None:
        if before is not None and after is not None:
            self.heap_after = after
            self.reclaimed += max(0, before - after)

    def write(self, page: Page, unread: int, *labels: str) -> None:
        for kind, (counts, total) in self.pauses.items():
            page.histogram(PAUSE, BOUNDS, counts, total[0], *labels, kind)
        for cause, count in self.full.items():
            page.add(FULL, count, *labels, cause)
        page.add(HEAP_AFTER, self.heap_after, *labels)
        page.add(RECLAIMED, self.reclaimed, *labels)
        page.add(STALLS, self.stalls, *labels)
        page.add(STALL_SECONDS, self.stall_s, *labels)
        page.add(EVACUATION_FAILURES, self.evacuation_failures, *labels)
        page.add(LINES, self.lines, *labels)
        page.add(UNREAD, unread, *labels)


def _bounded(name: str, known: Collection[str]) -> str:
    return name if name in known or len(known) < MAX_NAMES else "other"


@dataclass(slots=True)
class _Followed:
    tail: LogTail
    told: Told = field(default_factory=Told)
    owner: tuple[str, str] = ("", "")


class GcLogs:
    """All logs that the patterns name. `owners` gives (pid, main class) of the running JVMs."""

    def __init__(self, patterns: Sequence[str], owners: Callable[[], dict[int, str]], proc: Path) -> None:
        self._patterns, self._owners, self._proc = patterns, owners, proc
        self._followed: dict[str, _Followed] = {}

    def collect(self, page: Page) -> None:
        paths = sorted({path for pattern in self._patterns for path in glob.glob(pattern)})  # noqa: PTH207
        page.leave_out(len(paths) - MAX_LOGS)
        paths = paths[:MAX_LOGS]
        unreadable = []
        for path in paths:
            if path not in self._followed:
                try:
                    self._followed[path] = _Followed(LogTail(path))
                except OSError as error:
                    unreadable.append(f"{path}: {error.strerror}")
        running = self._owners()
        for path, followed in list(self._followed.items()):
            if path not in paths and not followed.tail.unread():
                followed.tail.close()
                del self._followed[path]  # deleted, and read to its end
                continue
            lines = followed.tail.lines()
            self._settle_owner(path, followed, running)
            for line in lines:
                followed.told.take(line)
            if followed.owner == ("", ""):
                self._settle_owner(path, followed, running)
            followed.told.write(page, followed.tail.unread(), *followed.owner, path)
        if not self._followed:
            raise NoData("; ".join(unreadable) or f"no file matches {', '.join(self._patterns)}")

    def _settle_owner(self, path: str, followed: _Followed, running: dict[int, str]) -> None:
        """Which JVM writes the log: the one that holds it open, else the one whose pid is in the lines."""
        if followed.owner[0] and int(followed.owner[0]) in running:
            return
        holder = next((pid for pid in running if self._holds(pid, path)), None)
        if holder is None:
            holder = next((number for number in followed.told.numbers if number in running), None)
        if holder is not None:
            if followed.owner[0]:
                followed.told = Told()  # another JVM took the file over: its series begin at 0
            followed.owner = (str(holder), running[holder])

    def _holds(self, pid: int, path: str) -> bool:
        wanted = Path(path).resolve()
        try:
            return any(entry.readlink() == wanted for entry in (self._proc / str(pid) / "fd").iterdir())
        except OSError:
            return False  # not ours to see, or gone

    def close(self) -> None:
        for followed in self._followed.values():
            followed.tail.close()
        self._followed.clear()
