"""GPUs: use, memory, heat, power, throttling and faults, from NVML."""

from observe.dashboards.panels import Query, Row, board, chosen_by, timeseries

_G = 'instance=~"$instance", gpu=~"$gpu"'
_LEGEND = "{{instance}} {{gpu}}"

dashboard = board(
    "GPUs",
    "observe-gpu",
    "Use, memory, heat, power, throttling and faults of GPUs.",
    [
        Row(
            "Use",
            (
                timeseries(
                    "Busy",
                    Query(f"gpu_utilization_ratio{{{_G}}}", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="Share of time in which kernels ran.",
                ),
                timeseries(
                    "Memory",
                    Query(f"gpu_memory_used_bytes{{{_G}}} / gpu_memory_total_bytes{{{_G}}}", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="Share of the GPU's memory in use.",
                ),
                timeseries(
                    "Clock",
                    Query(f'gpu_clock_hertz{{{_G}, clock="sm"}}', _LEGEND),
                    unit="hertz",
                    description="Clock of the multiprocessors; falls when the GPU throttles.",
                ),
            ),
        ),
        Row(
            "Heat and power",
            (
                timeseries(
                    "Temperature",
                    Query(f"gpu_temperature_celsius{{{_G}}}", "{{gpu}} {{sensor}}"),
                    unit="celsius",
                    description="Temperature by sensor.",
                ),
                timeseries(
                    "Power",
                    [
                        Query(f"gpu_power_watts{{{_G}}}", _LEGEND),
                        Query(f"gpu_power_limit_watts{{{_G}}}", "{{gpu}} limit"),
                    ],
                    unit="watt",
                    description="Power drawn, and how much may be drawn.",
                ),
                timeseries(
                    "Answers",
                    Query(f"gpu_up{{{_G}}}", _LEGEND),
                    unit="short",
                    most=1,
                    description="1 while the GPU answers; 0 when it is lost or wants a reset.",
                ),
            ),
        ),
        Row(
            "Links",
            (
                timeseries(
                    "PCIe replays",
                    Query(f"rate(gpu_pcie_replays_total{{{_G}}}[5m])", _LEGEND),
                    unit="cps",
                    description="Packets sent once more: a bad slot or cable shows here first.",
                ),
                timeseries(
                    "Energy",
                    Query(f"rate(gpu_energy_joules_total{{{_G}}}[5m])", _LEGEND),
                    unit="watt",
                    description="Power from the energy counter: exact also between samples.",
                ),
            ),
        ),
    ],
    variables=[chosen_by("instance", "gpu_up", title="Host"), chosen_by("gpu", "gpu_up", title="GPU")],
    tags=("gpu",),
)
