"""Machines: CPU, memory, disks, network and pressure, from the host exporter."""

from observe.dashboards.panels import Band, Query, Row, board, chosen_by, timeseries

_I = 'instance=~"$instance"'
_LEGEND = "{{instance}}"

dashboard = board(
    "Hosts",
    "observe-host",
    "CPU, memory, disks, network and pressure of the watched machines.",
    [
        Row(
            "CPU",
            (
                timeseries(
                    "Busy",
                    Query(f"instance:host_cpu_busy:ratio_rate2m{{{_I}}}", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="Share of CPU time that is neither idle nor waiting for a disk.",
                ),
                timeseries(
                    "By mode",
                    Query(f'sum by (mode) (rate(host_cpu_seconds_total{{{_I}, mode!="idle"}}[2m]))', "{{mode}}"),
                    unit="short",
                    stacked=True,
                    description="CPUs in use by mode; iowait is time lost to disks.",
                ),
                timeseries(
                    "Busiest, and what is expected",
                    Query(f"topk(1, instance:host_cpu_busy:ratio_rate2m{{{_I}}})", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="The busiest machine, with the band of HostCpuOutsideBand where one machine is chosen.",
                    band=Band("host/HostCpuOutsideBand", _I),
                ),
            ),
        ),
        Row(
            "Memory",
            (
                timeseries(
                    "In use",
                    Query(f"1 - host_memory_available_bytes{{{_I}}} / host_memory_total_bytes{{{_I}}}", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="Share of memory that programs cannot get any more.",
                ),
                timeseries(
                    "Swapping",
                    [
                        Query(f"rate(host_swapped_in_pages_total{{{_I}}}[2m])", "{{instance}} in"),
                        Query(f"rate(host_swapped_out_pages_total{{{_I}}}[2m])", "{{instance}} out"),
                    ],
                    unit="cps",
                    description="Pages read from and written to swap a second.",
                ),
                timeseries(
                    "Pressure",
                    Query(f"rate(host_pressure_waiting_seconds_total{{{_I}}}[2m])", "{{instance}} {{resource}}"),
                    unit="percentunit",
                    description="Share of time in which some task waited for the resource (PSI).",
                ),
            ),
        ),
        Row(
            "Disks",
            (
                timeseries(
                    "Full",
                    Query(
                        f"1 - host_filesystem_available_bytes{{{_I}}} / (host_filesystem_size_bytes{{{_I}}} > 0)",
                        "{{instance}} {{mountpoint}}",
                    ),
                    unit="percentunit",
                    most=1,
                    description="Share of each file system in use.",
                ),
                timeseries(
                    "Busy",
                    Query(f"rate(host_disk_io_time_seconds_total{{{_I}}}[2m])", "{{instance}} {{device}}"),
                    unit="percentunit",
                    description="Share of time in which the disk had something to do.",
                ),
                timeseries(
                    "Throughput",
                    [
                        Query(
                            f"sum by (instance) (rate(host_disk_read_bytes_total{{{_I}}}[2m]))", "{{instance}} read"
                        ),
                        Query(
                            f"sum by (instance) (rate(host_disk_written_bytes_total{{{_I}}}[2m]))",
                            "{{instance}} written",
                        ),
                    ],
                    unit="Bps",
                    description="Bytes read and written a second.",
                ),
            ),
        ),
        Row(
            "Network",
            (
                timeseries(
                    "Traffic",
                    [
                        Query(
                            f"sum by (instance) (rate(host_network_receive_bytes_total{{{_I}}}[2m]))",
                            "{{instance}} in",
                        ),
                        Query(
                            f"sum by (instance) (rate(host_network_transmit_bytes_total{{{_I}}}[2m]))",
                            "{{instance}} out",
                        ),
                    ],
                    unit="Bps",
                    description="Bytes received and sent a second.",
                ),
                timeseries(
                    "Connections",
                    Query(f"sum by (state) (host_tcp_connections{{{_I}}})", "{{state}}"),
                    unit="short",
                    stacked=True,
                    description="TCP sockets by state.",
                ),
                timeseries(
                    "Trouble",
                    [
                        Query(
                            f"rate(host_tcp_retransmitted_segments_total{{{_I}}}[2m])", "{{instance}} retransmitted"
                        ),
                        Query(f"rate(host_tcp_listen_overflows_total{{{_I}}}[2m])", "{{instance}} accept queue full"),
                    ],
                    unit="cps",
                    description="Segments sent once more, and connections refused by a full accept queue.",
                ),
            ),
        ),
        Row(
            "Limits",
            (
                timeseries(
                    "Load",
                    Query(f"host_load1{{{_I}}}", _LEGEND),
                    unit="short",
                    description="Tasks that run or wait, averaged over a minute.",
                ),
                timeseries(
                    "File descriptors",
                    Query(f"host_file_descriptors_allocated{{{_I}}} / host_file_descriptors_limit{{{_I}}}", _LEGEND),
                    unit="percentunit",
                    description="Share of the machine's file descriptors in use.",
                ),
                timeseries(
                    "Processes killed for memory",
                    Query(f"increase(host_oom_kills_total{{{_I}}}[5m])", _LEGEND),
                    unit="short",
                    description="Processes that the kernel killed in five minutes.",
                ),
            ),
        ),
    ],
    variables=[chosen_by("instance", "host_uptime_seconds", title="Host")],
    tags=("host",),
)
