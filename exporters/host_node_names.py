"""Node_exporter's names for what `host` reads: the core that common boards ask for. Opt-in, beside our own names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from observe.exporters.collectors import Collector
from observe.exporters.page import Metric, Page


@dataclass(frozen=True, slots=True)
class Alias:
    """`ours` is also shown as `theirs`. `where` picks samples by labels, which then vanish from the name's labels."""

    ours: str
    theirs: str
    where: Mapping[str, str] = field(default_factory=dict)


_MEMORY = {
    "memory_total": "MemTotal", "memory_free": "MemFree", "memory_available": "MemAvailable",
    "memory_buffers": "Buffers", "memory_cached": "Cached", "memory_shared": "Shmem", "memory_anonymous": "AnonPages",
    "memory_slab_reclaimable": "SReclaimable", "memory_slab_unreclaimable": "SUnreclaim", "memory_dirty": "Dirty",
    "memory_writeback": "Writeback", "memory_committed": "Committed_AS", "swap_total": "SwapTotal",
    "swap_free": "SwapFree",
}
_SAME_AFTER_PREFIX = (
    "cpu_seconds_total", "context_switches_total", "forks_total", "boot_time_seconds", "load1", "load5", "load15",
    "disk_reads_completed_total", "disk_read_bytes_total", "disk_read_time_seconds_total",
    "disk_writes_completed_total", "disk_written_bytes_total",
    "disk_write_time_seconds_total", "disk_io_now", "disk_io_time_seconds_total",
    "disk_io_time_weighted_seconds_total", "filesystem_size_bytes", "filesystem_free_bytes", "filesystem_files",
    "filesystem_files_free", "filesystem_readonly", "network_receive_bytes_total", "network_receive_packets_total",
    "network_transmit_bytes_total", "network_transmit_packets_total",
)

ALIASES: tuple[Alias, ...] = (
    *(Alias(f"host_{name}", f"node_{name}") for name in _SAME_AFTER_PREFIX),
    *(Alias(f"host_{ours}_bytes", f"node_memory_{theirs}_bytes") for ours, theirs in _MEMORY.items()),
    Alias("host_interrupts_total", "node_intr_total"),
    Alias("host_processes_running", "node_procs_running"),
    Alias("host_processes_blocked", "node_procs_blocked"),
    Alias("host_page_faults_major_total", "node_vmstat_pgmajfault"),
    Alias("host_swapped_in_pages_total", "node_vmstat_pswpin"),
    Alias("host_swapped_out_pages_total", "node_vmstat_pswpout"),
    Alias("host_oom_kills_total", "node_vmstat_oom_kill"),
    Alias("host_filesystem_available_bytes", "node_filesystem_avail_bytes"),
    Alias("host_network_receive_errors_total", "node_network_receive_errs_total"),
    Alias("host_network_receive_dropped_total", "node_network_receive_drop_total"),
    Alias("host_network_transmit_errors_total", "node_network_transmit_errs_total"),
    Alias("host_network_transmit_dropped_total", "node_network_transmit_drop_total"),
    Alias("host_tcp_connections", "node_netstat_Tcp_CurrEstab", {"state": "established"}),
    Alias("host_tcp_connections", "node_sockstat_TCP_tw", {"state": "time_wait"}),
    Alias("host_tcp_retransmitted_segments_total", "node_netstat_Tcp_RetransSegs"),
    Alias("host_tcp_sent_segments_total", "node_netstat_Tcp_OutSegs"),
    Alias("host_tcp_active_opens_total", "node_netstat_Tcp_ActiveOpens"),
    Alias("host_tcp_passive_opens_total", "node_netstat_Tcp_PassiveOpens"),
    Alias("host_tcp_listen_overflows_total", "node_netstat_TcpExt_ListenOverflows"),
    Alias("host_tcp_listen_drops_total", "node_netstat_TcpExt_ListenDrops"),
    Alias("host_sockets_used", "node_sockstat_sockets_used"),
    Alias("host_file_descriptors_allocated", "node_filefd_allocated"),
    Alias("host_file_descriptors_limit", "node_filefd_maximum"),
    *(
        Alias(f"host_pressure_{kind}_seconds_total", f"node_pressure_{name}_{kind}_seconds_total", {"resource": name})
        for name in ("cpu", "io", "memory") for kind in ("waiting", "stalled")
    ),
)


def with_aliases(found: Collector, aliases: tuple[Alias, ...]) -> Collector:
    """`found`, whose samples appear under the aliases' names too."""
    by_name = {metric.name: metric for metric in found.metrics}
    pairs = []
    for alias in aliases:
        ours = by_name.get(alias.ours)
        if ours is not None:
            labels = tuple(name for name in ours.labels if name not in alias.where)
            pairs.append((alias, ours, Metric(alias.theirs, ours.kind, ours.unit, ours.help, labels)))
    return replace(
        found, metrics=(*found.metrics, *(theirs for _, _, theirs in pairs)), collect=_doubled(found.collect, pairs),
    )


def _doubled(
    collect: Callable[[Page], None], pairs: list[tuple[Alias, Metric, Metric]],
) -> Callable[[Page], None]:
    def collect_both(page: Page) -> None:
        collect(page)
        read = list(page.samples())
        for alias, ours, theirs in pairs:
            for metric, _, labels, value in read:
                if metric is ours and all(labels[name] == wanted for name, wanted in alias.where.items()):
                    page.add(theirs, value, *(labels[name] for name in theirs.labels))

    return collect_both


def with_node_names(found: list[Collector]) -> list[Collector]:
    return [with_aliases(one, ALIASES) for one in found]
