"""Running JVMs, found through the counters that each one keeps in a file: no agent, no port, no restart."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from observe.errors import MalformedData
from observe.exporters import hsperf, jvm_gc_logs
from observe.exporters.collectors import Collector, NoData
from observe.exporters.hsperf import PerfData
from observe.exporters.page import Metric, Page
from observe.exporters.registry import Option, exporter, listed

_C: Final = "counter"
_G: Final = "gauge"
_L = ("pid", "main_class")
INFO = Metric("jvm_info", _G, "", "1, with the JVM's name, version and vendor.", (*_L, "name", "version", "vendor"))
STARTED = Metric("jvm_start_time_seconds", _G, "seconds", "When the JVM started, since the epoch.", _L)
UPTIME = Metric("jvm_uptime_seconds", _G, "seconds", "Time since the JVM started.", _L)
_P = (*_L, "area", "pool")
POOL_USED = Metric("jvm_memory_pool_used_bytes", _G, "bytes", "Memory in use in a pool, as of the last collection.", _P)
POOL_COMMITTED = Metric("jvm_memory_pool_committed_bytes", _G, "bytes", "Memory that a pool has.", _P)
POOL_MAX = Metric("jvm_memory_pool_max_bytes", _G, "bytes", "Memory that a pool may grow to.", _P)
HEAP_USED = Metric("jvm_memory_heap_used_bytes", _G, "bytes", "Heap in use, as of the last collection.", _L)
HEAP_COMMITTED = Metric("jvm_memory_heap_committed_bytes", _G, "bytes", "Heap that the JVM has.", _L)
HEAP_MAX = Metric("jvm_memory_heap_max_bytes", _G, "bytes", "Heap that the JVM may grow to (-Xmx).", _L)
GC_COUNT = Metric("jvm_gc_collections_total", _C, "", "Collections, in the JVM's own counting.", (*_L, "collector"))
GC_TIME = Metric("jvm_gc_time_seconds_total", _C, "seconds", "Time spent in collections.", (*_L, "collector"))
SAFEPOINTS = Metric("jvm_safepoints_total", _C, "", "Times that all threads were stopped.", _L)
SAFEPOINT_TIME = Metric("jvm_safepoint_time_seconds_total", _C, "seconds", "Time in which all threads stood still.", _L)
SAFEPOINT_SYNC = Metric(
    "jvm_safepoint_sync_time_seconds_total", _C, "seconds", "Time spent waiting for threads to stop.", _L,
)
THREADS: Final = {
    "java.threads.live": Metric("jvm_threads_live", _G, "", "Threads alive.", _L),
    "java.threads.daemon": Metric("jvm_threads_daemon", _G, "", "Daemon threads alive.", _L),
    "java.threads.livePeak": Metric("jvm_threads_peak", _G, "", "Most threads alive at once.", _L),
    "java.threads.started": Metric("jvm_threads_started_total", _C, "", "Threads started.", _L),
}
CLASSES_LOADED = Metric("jvm_classes_loaded_total", _C, "", "Classes loaded, from the shared archive too.", _L)
CLASSES_UNLOADED = Metric("jvm_classes_unloaded_total", _C, "", "Classes unloaded.", _L)
COMPILE_TIME = Metric("jvm_compilation_time_seconds_total", _C, "seconds", "Time spent compiling bytecode.", _L)
CPU = Metric("jvm_process_cpu_seconds_total", _C, "seconds", "User and system CPU time of the process.", _L)
RESIDENT = Metric("jvm_process_resident_memory_bytes", _G, "bytes", "Resident memory of the process.", _L)
PROCESSES = Metric("jvm_processes", _G, "", "JVMs found, by whether their counters could be read.", ("state",))
METRICS: Final = (
    INFO, STARTED, UPTIME, POOL_USED, POOL_COMMITTED, POOL_MAX, HEAP_USED, HEAP_COMMITTED, HEAP_MAX, GC_COUNT,
    GC_TIME, SAFEPOINTS, SAFEPOINT_TIME, SAFEPOINT_SYNC, *THREADS.values(), CLASSES_LOADED, CLASSES_UNLOADED,
    COMPILE_TIME, CPU, RESIDENT, PROCESSES,
)

MAX_JVMS: Final = 200
_GENERATION = re.compile(r"sun\.gc\.generation\.(\d+)\.name")
_COLLECTOR = re.compile(r"sun\.gc\.collector\.(\d+)\.name")
_ONE_HEAP: Final = ("G1", "Z", "Shenandoah")
"""Collectors whose generations share one heap, so their maxima must not be added."""


@dataclass(frozen=True, slots=True)
class Found:
    """A counter file and the process it belongs to."""

    pid: int
    path: Path


def write(jvm: PerfData, page: Page, pid: int) -> None:
    """One JVM's counters as samples."""
    labels = (str(pid), hsperf.main_class(jvm.text("sun.rt.javaCommand")))
    name, version = jvm.text("java.property.java.vm.name"), jvm.text("java.property.java.vm.version")
    page.add(INFO, 1, *labels, name, version, jvm.text("java.property.java.vm.vendor"))
    began_ms = jvm.number("sun.rt.createVmBeginTime")
    page.add(STARTED, None if began_ms is None else began_ms / 1000, *labels)
    _write_memory(jvm, page, labels)
    for key in jvm.values:
        match = _COLLECTOR.fullmatch(key)
        if match:
            prefix = f"sun.gc.collector.{match[1]}"
            page.add(GC_COUNT, jvm.number(f"{prefix}.invocations"), *labels, jvm.text(key))
            page.add(GC_TIME, jvm.seconds(f"{prefix}.time"), *labels, jvm.text(key))
    page.add(SAFEPOINTS, jvm.number("sun.rt.safepoints"), *labels)
    page.add(SAFEPOINT_TIME, jvm.seconds("sun.rt.safepointTime"), *labels)
    page.add(SAFEPOINT_SYNC, jvm.seconds("sun.rt.safepointSyncTime"), *labels)
    for key, metric in THREADS.items():
        page.add(metric, jvm.number(key), *labels)
    page.add(CLASSES_LOADED, _sum(jvm, "java.cls.loadedClasses", "java.cls.sharedLoadedClasses"), *labels)
    page.add(CLASSES_UNLOADED, _sum(jvm, "java.cls.unloadedClasses", "java.cls.sharedUnloadedClasses"), *labels)
    page.add(COMPILE_TIME, jvm.seconds("java.ci.totalTime"), *labels)


def _sum(jvm: PerfData, *names: str) -> int | None:
    """The sum of the counters that are there; None if the first is not."""
    return None if jvm.number(names[0]) is None else sum(jvm.number(name) or 0 for name in names)


def _write_memory(jvm: PerfData, page: Page, labels: tuple[str, str]) -> None:
    generations = sorted(match[1] for key in jvm.values if (match := _GENERATION.fullmatch(key)))
    with_spaces = [index for index in generations if jvm.number(f"sun.gc.generation.{index}.spaces")]
    used = committed = 0
    for index in with_spaces:
        generation = f"sun.gc.generation.{index}"
        committed += _unpadded(jvm.number(f"{generation}.capacity")) or 0
        for space in range(jvm.number(f"{generation}.spaces") or 0):
            prefix = f"{generation}.space.{space}"
            said = jvm.text(f"{prefix}.name").lower()
            if said in {"space", "heap"}:  # the only one of its generation, or of the whole heap
                said = jvm.text(f"{generation}.name").lower() if len(with_spaces) > 1 else "heap"
            used += jvm.number(f"{prefix}.used") or 0
            _write_pool(jvm, page, prefix, *labels, "heap", said)
    largest = [_unpadded(jvm.number(f"sun.gc.generation.{index}.maxCapacity")) or 0 for index in with_spaces]
    shared = any(jvm.text(key).startswith(_ONE_HEAP) for key in jvm.values if _COLLECTOR.fullmatch(key))
    if with_spaces:
        page.add(HEAP_USED, used, *labels)
        page.add(HEAP_COMMITTED, committed, *labels)
        page.add(HEAP_MAX, max(largest) if shared else sum(largest), *labels)
    _write_pool(jvm, page, "sun.gc.metaspace", *labels, "nonheap", "metaspace")
    _write_pool(jvm, page, "sun.gc.compressedclassspace", *labels, "nonheap", "compressed_class_space")


def _write_pool(jvm: PerfData, page: Page, prefix: str, *labels: str) -> None:
    page.add(POOL_USED, jvm.number(f"{prefix}.used"), *labels)
    page.add(POOL_COMMITTED, _unpadded(jvm.number(f"{prefix}.capacity")), *labels)
    page.add(POOL_MAX, _unpadded(jvm.number(f"{prefix}.maxCapacity")), *labels)


def _unpadded(capacity: int | None) -> int | None:
    """Capacities are whole pages or regions; G1 before JDK 21 adds some bytes, so that nobody divides by zero."""
    return None if capacity is None else capacity & ~1023


class Jvms:
    """The JVMs of a machine: `temporary` folders hold their ``hsperfdata_USER`` folders, `proc` their processes."""

    def __init__(self, temporary: Sequence[Path], proc: Path, containers: bool = False) -> None:
        self._temporary, self._proc, self._containers = temporary, proc, containers
        self._read_one = False
        """Whether a JVM could be read earlier: then it is no failure that none is there now."""

    def find(self) -> list[Found]:
        """Counter files by pid."""
        found: dict[int, Path] = {}
        for folder in self._folders():
            try:
                paths = sorted(folder.iterdir())
            except OSError:
                continue  # gone this moment, or not ours to see
            for path in paths:
                if path.name.isdigit():
                    found.setdefault(int(path.name), path)
        if self._containers:
            found = self._in_containers() | found
        return [Found(pid, found[pid]) for pid in sorted(found)]

    def _folders(self) -> list[Path]:
        """Where JVMs keep their counters. The first one of a user makes the folder, and it outlives them all."""
        return [folder for temporary in self._temporary for folder in sorted(temporary.glob("hsperfdata_*"))]

    def _in_containers(self) -> dict[int, Path]:
        """JVMs that see another /tmp: through their own root, under the pid that they have in there."""
        found: dict[int, Path] = {}
        for process in self._proc.glob("[0-9]*"):
            try:
                if (process / "comm").read_text(encoding="utf-8").strip() != "java":
                    continue
                status = (process / "status").read_text(encoding="utf-8")
                inner = next(line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:"))
                found |= {int(process.name): path for path in process.glob(f"root/tmp/hsperfdata_*/{inner}")}
            except (OSError, StopIteration):
                continue  # gone, or not ours to see
        return found

    def collect(self, page: Page) -> None:
        found = self.find()
        page.leave_out(len(found) - MAX_JVMS)
        found = found[:MAX_JVMS]
        if not found and not self._read_one and not self._folders():
            raise NoData("no JVM keeps its counters here (none ever ran, or all run with -XX:-UsePerfData)")
        states = {"read": 0, "denied": 0, "unreadable": 0}
        for one in found:
            try:
                jvm = read(one.path)
            except PermissionError:
                states["denied"] += self._runs(one.pid, None)
                continue
            except FileNotFoundError:
                continue  # it ended this moment
            except (MalformedData, OSError):
                states["unreadable"] += self._runs(one.pid, None)
                continue
            if self._runs(one.pid, jvm.number("sun.rt.createVmBeginTime")):
                states["read"] += 1
                write(jvm, page, one.pid)
                self._write_process(one.pid, page, jvm)
        self._read_one = self._read_one or states["read"] > 0
        for state, count in states.items():
            page.add(PROCESSES, count, state)
        if states["denied"] and not self._read_one:
            raise PermissionError(
                f"{states['denied']} JVMs belong to other users: run this exporter as their user or as root",
            )

    def running(self) -> dict[int, str]:
        """Main class by pid of the JVMs that can be read, for those who follow their logs."""
        classes = {}
        for one in self.find()[:MAX_JVMS]:
            try:
                jvm = read(one.path)
            except (MalformedData, OSError):
                continue
            if self._runs(one.pid, jvm.number("sun.rt.createVmBeginTime")):
                classes[one.pid] = hsperf.main_class(jvm.text("sun.rt.javaCommand"))
        return classes

    def _runs(self, pid: int, vm_began_ms: int | None) -> bool:
        """Whether the process is there and is still that JVM: a killed one leaves its file, and pids come again."""
        try:
            words = _after_name(self._proc / str(pid) / "stat")
            boot_s = next(
                int(line.split()[1]) for line in (self._proc / "stat").read_text(encoding="utf-8").splitlines()
                if line.startswith("btime")
            )
        except (OSError, StopIteration, IndexError):
            return False
        began_s = boot_s + int(words[19]) / os.sysconf("SC_CLK_TCK")
        # Younger than its counters: the pid came again, or the wall clock was set. What it has mapped tells which.
        return vm_began_ms is None or began_s <= vm_began_ms / 1000 + 2 or self._maps_counters(pid)

    def _maps_counters(self, pid: int) -> bool:
        try:
            return "/hsperfdata_" in (self._proc / str(pid) / "maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False

    def _write_process(self, pid: int, page: Page, jvm: PerfData) -> None:
        labels = (str(pid), hsperf.main_class(jvm.text("sun.rt.javaCommand")))
        try:
            words = _after_name(self._proc / str(pid) / "stat")
            machine_s = float((self._proc / "uptime").read_text(encoding="ascii").split()[0])
        except (OSError, IndexError):
            return  # it ended this moment; what its counters said stays
        # Not from the counters: recent JVMs no longer write their clock there, and a frozen one does not move it.
        page.add(UPTIME, round(machine_s - int(words[19]) / os.sysconf("SC_CLK_TCK"), 2), *labels)
        page.add(CPU, (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"), *labels)
        page.add(RESIDENT, int(words[21]) * os.sysconf("SC_PAGESIZE"), *labels)


def _after_name(stat: Path) -> list[str]:
    """Words of /proc/PID/stat from the state on (field 3 of proc(5)): the name before may hold anything."""
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def read(path: Path) -> PerfData:
    """The counters in `path`. A JVM that adds one while we read makes a torn picture: look again, twice."""
    for attempt in range(3):
        with path.open("rb") as file:
            data = file.read(hsperf.MAX_BYTES)
        try:
            return hsperf.parse(data)
        except MalformedData as error:
            if error.reason != "torn" or attempt == 2:
                raise
    raise AssertionError("unreachable")


@exporter("jvm", port=9203, summary="running JVMs: heap, GC, safepoints, threads, classes; no agent", options=(
    Option("gc-logs", "", "GC logs (-Xlog:gc*) to follow: paths or patterns, separated by commas"),
    Option("tmp", "/tmp", "folders that hold hsperfdata_USER folders, separated by commas"),  # noqa: S108 - HotSpot's
    Option("proc", "/proc", "where processes are seen"),
    Option("containers", "false", "also look into the /tmp of JVMs in containers (needs root)"),
))
def build(options: Mapping[str, str]) -> Sequence[Collector]:
    proc = Path(options["proc"])
    jvms = Jvms([Path(folder) for folder in listed(options["tmp"])], proc, options["containers"] == "true")
    found = [Collector("jvm", METRICS, jvms.collect)]
    if options["gc-logs"]:
        logs = jvm_gc_logs.GcLogs(listed(options["gc-logs"]), jvms.running, proc)
        found.append(
            Collector("jvm_gc_log", jvm_gc_logs.METRICS, logs.collect, every_s=1.0, close=logs.close),
        )
    return found
