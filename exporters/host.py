"""The machine: CPU, memory, disks, file systems, network, TCP, pressure stalls, file descriptors, load, uptime."""

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from observe.exporters import procfs, sock_diag
from observe.exporters.collectors import Collector, NoData
from observe.exporters.host_node_names import with_node_names
from observe.exporters.page import Metric, Page
from observe.exporters.registry import Option, exporter, listed

_C: Final = "counter"
_G: Final = "gauge"
CPU = Metric("host_cpu_seconds_total", _C, "seconds", "Time that a CPU spent in a mode.", ("cpu", "mode"))
SYSTEM: Final = {
    "ctxt": Metric("host_context_switches_total", _C, "", "Context switches of all CPUs."),
    "intr": Metric("host_interrupts_total", _C, "", "Interrupts served."),
    "processes": Metric("host_forks_total", _C, "", "Processes and threads created."),
    "procs_running": Metric("host_processes_running", _G, "", "Processes that run or wait for a CPU."),
    "procs_blocked": Metric("host_processes_blocked", _G, "", "Processes that wait for a disk."),
    "btime": Metric("host_boot_time_seconds", _G, "seconds", "When the machine started, since the epoch."),
}
MEMORY: Final = {
    "MemTotal": Metric("host_memory_total_bytes", _G, "bytes", "Memory of the machine."),
    "MemFree": Metric("host_memory_free_bytes", _G, "bytes", "Memory used for nothing, not even for cache."),
    "MemAvailable": Metric("host_memory_available_bytes", _G, "bytes", "Memory that programs can still get."),
    "Buffers": Metric("host_memory_buffers_bytes", _G, "bytes", "Memory that buffers block devices."),
    "Cached": Metric("host_memory_cached_bytes", _G, "bytes", "Memory that caches files."),
    "Shmem": Metric("host_memory_shared_bytes", _G, "bytes", "Shared memory and tmpfs."),
    "AnonPages": Metric("host_memory_anonymous_bytes", _G, "bytes", "Memory of programs without a file behind it."),
    "SReclaimable": Metric("host_memory_slab_reclaimable_bytes", _G, "bytes", "Kernel memory that can be given back."),
    "SUnreclaim": Metric("host_memory_slab_unreclaimable_bytes", _G, "bytes", "Kernel memory that cannot."),
    "Dirty": Metric("host_memory_dirty_bytes", _G, "bytes", "Memory that waits to be written to disk."),
    "Writeback": Metric("host_memory_writeback_bytes", _G, "bytes", "Memory that is being written to disk."),
    "Committed_AS": Metric("host_memory_committed_bytes", _G, "bytes", "Memory promised to programs."),
    "SwapTotal": Metric("host_swap_total_bytes", _G, "bytes", "Swap space."),
    "SwapFree": Metric("host_swap_free_bytes", _G, "bytes", "Swap space not used."),
}
PAGING: Final = {
    "pgmajfault": Metric("host_page_faults_major_total", _C, "", "Page faults that had to read from disk."),
    "pswpin": Metric("host_swapped_in_pages_total", _C, "", "Pages read back from swap."),
    "pswpout": Metric("host_swapped_out_pages_total", _C, "", "Pages written to swap."),
    "oom_kill": Metric("host_oom_kills_total", _C, "", "Processes killed because memory ran out."),
}
_D = ("device",)
DISK: Final = {
    "reads": Metric("host_disk_reads_completed_total", _C, "", "Reads completed.", _D),
    "read_bytes": Metric("host_disk_read_bytes_total", _C, "bytes", "Bytes read.", _D),
    "read_s": Metric("host_disk_read_time_seconds_total", _C, "seconds", "Time spent by all reads.", _D),
    "writes": Metric("host_disk_writes_completed_total", _C, "", "Writes completed.", _D),
    "written_bytes": Metric("host_disk_written_bytes_total", _C, "bytes", "Bytes written.", _D),
    "write_s": Metric("host_disk_write_time_seconds_total", _C, "seconds", "Time spent by all writes.", _D),
    "in_flight": Metric("host_disk_io_now", _G, "", "Reads and writes in flight.", _D),
    "io_s": Metric("host_disk_io_time_seconds_total", _C, "seconds", "Time in which the disk was busy.", _D),
    "weighted_s": Metric(
        "host_disk_io_time_weighted_seconds_total", _C, "seconds", "Busy time times requests in flight.", _D,
    ),
}
_F = ("device", "fstype", "mountpoint")
FS_SIZE = Metric("host_filesystem_size_bytes", _G, "bytes", "Size of the file system.", _F)
FS_FREE = Metric("host_filesystem_free_bytes", _G, "bytes", "Free space, that kept for root included.", _F)
FS_AVAILABLE = Metric("host_filesystem_available_bytes", _G, "bytes", "Free space that any user can have.", _F)
FS_FILES = Metric("host_filesystem_files", _G, "", "Files (inodes) that fit.", _F)
FS_FILES_FREE = Metric("host_filesystem_files_free", _G, "", "Files (inodes) that can still be made.", _F)
FS_READONLY = Metric("host_filesystem_readonly", _G, "", "1 if mounted read-only.", _F)
NETWORK: Final = {
    "received_bytes": Metric("host_network_receive_bytes_total", _C, "bytes", "Bytes received.", _D),
    "received_packets": Metric("host_network_receive_packets_total", _C, "", "Packets received.", _D),
    "received_errors": Metric("host_network_receive_errors_total", _C, "", "Packets received in error.", _D),
    "received_dropped": Metric("host_network_receive_dropped_total", _C, "", "Packets received and dropped.", _D),
    "sent_bytes": Metric("host_network_transmit_bytes_total", _C, "bytes", "Bytes sent.", _D),
    "sent_packets": Metric("host_network_transmit_packets_total", _C, "", "Packets sent.", _D),
    "sent_errors": Metric("host_network_transmit_errors_total", _C, "", "Packets that could not be sent.", _D),
    "sent_dropped": Metric("host_network_transmit_dropped_total", _C, "", "Packets dropped before sending.", _D),
}
TCP = Metric("host_tcp_connections", _G, "", "TCP sockets (IPv4 and IPv6) by state.", ("state",))
TCP_COUNTS: Final = {
    "Tcp.ActiveOpens": Metric("host_tcp_active_opens_total", _C, "", "Connections that this machine opened."),
    "Tcp.PassiveOpens": Metric("host_tcp_passive_opens_total", _C, "", "Connections that this machine accepted."),
    "Tcp.OutSegs": Metric("host_tcp_sent_segments_total", _C, "", "TCP segments sent."),
    "Tcp.RetransSegs": Metric("host_tcp_retransmitted_segments_total", _C, "", "TCP segments sent once more."),
    "Tcp.OutRsts": Metric("host_tcp_sent_resets_total", _C, "", "TCP resets sent."),
    "TcpExt.ListenOverflows": Metric(
        "host_tcp_listen_overflows_total", _C, "", "Connections refused because an accept queue was full.",
    ),
    "TcpExt.ListenDrops": Metric("host_tcp_listen_drops_total", _C, "", "Connections dropped while being opened."),
}
SOCKETS: Final = {
    "sockets.used": Metric("host_sockets_used", _G, "", "Sockets of all kinds."),
    "TCP.orphan": Metric("host_tcp_orphans", _G, "", "TCP sockets that no process holds."),
}
_R = ("resource",)
PRESSURE_SOME = Metric(
    "host_pressure_waiting_seconds_total", _C, "seconds", "Time in which some task waited for the resource (PSI).", _R,
)
PRESSURE_FULL = Metric(
    "host_pressure_stalled_seconds_total", _C, "seconds", "Time in which all tasks waited for the resource (PSI).", _R,
)
FD_ALLOCATED = Metric("host_file_descriptors_allocated", _G, "", "File descriptors in use on the machine.")
FD_LIMIT = Metric("host_file_descriptors_limit", _G, "", "File descriptors that the kernel allows.")
LOAD: Final = tuple(
    Metric(f"host_load{m}", _G, "", f"Tasks that run or wait, averaged over {m} min.") for m in (1, 5, 15)
)
UPTIME = Metric("host_uptime_seconds", _G, "seconds", "Time since the machine started.")

_PARTITION = re.compile(r"(?:[hsv]|xv)d[a-z]+\d+|(?:nvme\d+n\d+|mmcblk\d+)p\d+")


class _Held:
    """CPU seconds that never step back a little: the kernel's iowait and idle do, and a rate would see a restart.

    A drop of more than `RESTART_S` is a CPU that came back, and is let through.
    """

    RESTART_S: Final = 3.0

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def __call__(self, cpu: str, mode: str, value: float) -> float:
        with self._lock:
            last = self._last.get((cpu, mode), value)
            held = last if last - self.RESTART_S < value < last else value
            self._last[cpu, mode] = held
            return held


class Host:
    """Reads below `root`; `statvfs` asks a file system for its size."""

    def __init__(self, root: Path, statvfs: Callable[[str], os.statvfs_result] = os.statvfs) -> None:
        self._root, self._statvfs, self._held = root, statvfs, _Held()

    def _read(self, path: str) -> str:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise NoData(f"{error.filename} is not there: this kernel does not tell it") from error

    def _read_or_empty(self, path: str) -> str:
        try:
            return self._read(path)
        except NoData:
            return ""

    def cpu(self, page: Page) -> None:
        stat = procfs.parse_stat(self._read("proc/stat"))
        for cpu, modes in stat.cpus.items():
            for mode, value in modes.items():
                page.add(CPU, self._held(cpu, mode, value), cpu, mode)
        for word, metric in SYSTEM.items():
            page.add(metric, stat.counters.get(word))

    def memory(self, page: Page) -> None:
        values = procfs.parse_meminfo(self._read("proc/meminfo"))
        for name, metric in MEMORY.items():
            page.add(metric, values.get(name))
        counts = procfs.parse_pairs(self._read_or_empty("proc/vmstat"))
        for name, metric in PAGING.items():
            page.add(metric, counts.get(name))

    def disk(self, page: Page) -> None:
        for device, disk in procfs.parse_diskstats(self._read("proc/diskstats")).items():
            if not self._is_whole_disk(device):
                continue
            for name, metric in DISK.items():
                page.add(metric, getattr(disk, name), device)

    def _is_whole_disk(self, device: str) -> bool:
        if device.startswith(("loop", "ram", "zram", "fd")):
            return False
        in_sys = self._root / "sys/class/block" / device
        return not (in_sys / "partition").exists() if in_sys.exists() else not _PARTITION.fullmatch(device)

    def filesystem(self, page: Page) -> None:
        for mount in procfs.parse_mounts(self._read("proc/mounts")):
            labels = (mount.device, mount.fstype, mount.mountpoint)
            try:
                size = self._statvfs(str(self._root / mount.mountpoint.lstrip("/")))
            except OSError:
                continue  # unmounted meanwhile, or not ours to see
            if size.f_blocks == 0:
                continue
            page.add(FS_SIZE, size.f_blocks * size.f_frsize, *labels)
            page.add(FS_FREE, size.f_bfree * size.f_frsize, *labels)
            page.add(FS_AVAILABLE, size.f_bavail * size.f_frsize, *labels)
            page.add(FS_FILES, size.f_files or None, *labels)
            page.add(FS_FILES_FREE, size.f_ffree if size.f_files else None, *labels)
            page.add(FS_READONLY, int(mount.readonly), *labels)

    def network(self, page: Page) -> None:
        for device, link in procfs.parse_net_dev(self._read("proc/net/dev")).items():
            for name, metric in NETWORK.items():
                page.add(metric, getattr(link, name), device)

    def tcp(self, page: Page) -> None:
        states = self._tcp_states()
        for state in procfs.TCP_STATES.values():
            page.add(TCP, states[state], state)
        counts = procfs.parse_snmp(self._read_or_empty("proc/net/snmp"))
        counts |= procfs.parse_snmp(self._read_or_empty("proc/net/netstat"))
        for name, metric in TCP_COUNTS.items():
            page.add(metric, counts.get(name))
        sockets = procfs.parse_sockstat(self._read_or_empty("proc/net/sockstat"))
        for name, metric in SOCKETS.items():
            page.add(metric, sockets.get(name))

    def _tcp_states(self) -> Counter[str]:
        if self._root == Path("/"):
            try:
                return sock_diag.tcp_states()
            except OSError:
                pass  # not allowed here, as in some sandboxes: the long way
        return procfs.parse_tcp(self._read("proc/net/tcp")) + procfs.parse_tcp(self._read_or_empty("proc/net/tcp6"))

    def pressure(self, page: Page) -> None:
        for resource in ("cpu", "io", "memory", "irq"):
            path = f"proc/pressure/{resource}"
            values = procfs.parse_pressure(self._read_or_empty(path) if resource == "irq" else self._read(path))
            page.add(PRESSURE_SOME, values.get("some"), resource)
            page.add(PRESSURE_FULL, values.get("full"), resource)

    def file_descriptors(self, page: Page) -> None:
        allocated, unused, limit = self._read("proc/sys/fs/file-nr").split()
        page.add(FD_ALLOCATED, int(allocated) - int(unused))
        page.add(FD_LIMIT, int(limit))

    def load(self, page: Page) -> None:
        for metric, word in zip(LOAD, self._read("proc/loadavg").split(), strict=False):
            page.add(metric, float(word))
        page.add(UPTIME, float(self._read("proc/uptime").split()[0]))


def collectors(host: Host) -> list[Collector]:
    """The collectors of one machine. File systems have their own pace: asking a broken disk may take long."""
    return [
        Collector("host_cpu", (CPU, *SYSTEM.values()), host.cpu),
        Collector("host_memory", (*MEMORY.values(), *PAGING.values()), host.memory),
        Collector("host_disk", tuple(DISK.values()), host.disk),
        Collector(
            "host_filesystem", (FS_SIZE, FS_FREE, FS_AVAILABLE, FS_FILES, FS_FILES_FREE, FS_READONLY), host.filesystem,
            every_s=15.0,
        ),
        Collector("host_network", tuple(NETWORK.values()), host.network),
        Collector("host_tcp", (TCP, *TCP_COUNTS.values(), *SOCKETS.values()), host.tcp),
        Collector("host_pressure", (PRESSURE_SOME, PRESSURE_FULL), host.pressure),
        Collector("host_file_descriptors", (FD_ALLOCATED, FD_LIMIT), host.file_descriptors),
        Collector("host_load", (*LOAD, UPTIME), host.load),
    ]


KNOWN: Final = tuple(one.name.removeprefix("host_") for one in collectors(Host(Path("/"))))


def _known_collectors(text: str) -> None:
    unknown = sorted(set(listed(text)) - set(KNOWN))
    if unknown:
        raise ValueError(f"there is no collector {', '.join(unknown)}; known are: {', '.join(KNOWN)}")


@exporter("host", port=9201, summary="this machine: CPU, memory, disks, network, TCP, pressure", options=(
    Option("root", "/", "folder that holds proc and sys; in a container, where the host's root is mounted"),
    Option("without", "", "collectors to leave out, separated by commas", _known_collectors),
    Option("node-names", "false", "also use node_exporter's names, so that boards made for it work"),
))
def build(options: Mapping[str, str]) -> Sequence[Collector]:
    left_out = {f"host_{name}" for name in listed(options["without"])}
    found = [one for one in collectors(Host(Path(options["root"]))) if one.name not in left_out]
    return with_node_names(found) if options["node-names"] == "true" else found


