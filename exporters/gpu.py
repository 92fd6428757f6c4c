"""NVIDIA GPUs: utilisation, memory, power, clocks, throttling, PCIe, ECC, processes, XID errors, MIG; through NVML."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from observe.exporters.collectors import Collector, NoData
from observe.exporters.gpu_dcgm_names import DCGM_METRICS, write_dcgm
from observe.exporters.gpu_figures import MAX_PROCESSES, REASONS, Fast, Slow, fast, slow
from observe.exporters.gpu_nvml import Device, DeviceLost, Nvml
from observe.exporters.page import Metric, Page
from observe.exporters.registry import Option, exporter, seconds

_C: Final = "counter"
_G: Final = "gauge"
_L = ("gpu", "uuid")
UP = Metric("gpu_up", _G, "", "1 if the GPU answers, 0 if it is lost or wants a reset.", _L)
INFO = Metric(
    "gpu_info", _G, "", "1, with what the GPU and its driver are.",
    (*_L, "name", "pci_bus_id", "driver_version", "cuda_version", "mig"),
)
UTILIZATION: Final = {
    what: Metric(f"gpu_utilization{suffix}_ratio", _G, "ratio", f"Share of time in which kernels ran, {say}.", _L)
    for what, suffix, say in (("avg", "", "mean of the window"), ("min", "_min", "least"), ("max", "_max", "most"))
}
BANDWIDTH: Final = {
    what: Metric(f"gpu_memory_utilization{suffix}_ratio", _G, "ratio", f"Share of time with memory traffic, {say}.", _L)
    for what, suffix, say in (("avg", "", "mean of the window"), ("min", "_min", "least"), ("max", "_max", "most"))
}
POWER: Final = {
    what: Metric(f"gpu_power{suffix}_watts", _G, "watts", f"Power drawn, {say}.", _L)
    for what, suffix, say in (("avg", "", "mean of the window"), ("min", "_min", "least"), ("max", "_max", "most"))
}
POWER_LIMIT = Metric("gpu_power_limit_watts", _G, "watts", "Power that the GPU may draw now.", _L)
ENERGY = Metric("gpu_energy_joules_total", _C, "joules", "Energy used since the driver was loaded.", _L)
MEMORY: Final = tuple(
    Metric(f"gpu_memory_{what}_bytes", _G, "bytes", f"GPU memory: {say}.", _L)
    for what, say in (
        ("total", "all of it"), ("used", "allocated"), ("free", "not allocated"), ("reserved", "kept by the driver"),
    )
)
TEMPERATURE = Metric("gpu_temperature_celsius", _G, "celsius", "Temperature by sensor (gpu, memory).", (*_L, "sensor"))
CLOCK = Metric("gpu_clock_hertz", _G, "hertz", "Clock now (graphics, sm, memory, video).", (*_L, "clock"))
THROTTLE = Metric(
    "gpu_throttle_active", _G, "", "1 if the clock was held down for this reason within the window.", (*_L, "reason"),
)
CODEC = Metric("gpu_codec_utilization_ratio", _G, "ratio", "Use of the video encoder or decoder.", (*_L, "codec"))
PCIE_RECEIVE = Metric(
    "gpu_pcie_receive_bytes_per_second", _G, "bytes", "PCIe traffic to the GPU, measured over 20 ms.", _L,
)
PCIE_TRANSMIT = Metric(
    "gpu_pcie_transmit_bytes_per_second", _G, "bytes", "PCIe traffic from the GPU, measured over 20 ms.", _L,
)
PCIE_REPLAYS = Metric("gpu_pcie_replays_total", _C, "", "PCIe packets sent once more.", _L)
PCIE_GENERATION = Metric("gpu_pcie_link_generation", _G, "", "PCIe generation of the link now.", _L)
PCIE_WIDTH = Metric("gpu_pcie_link_width", _G, "", "PCIe lanes of the link now.", _L)
ECC = Metric(
    "gpu_ecc_errors_total", _C, "", "Memory errors; volatile: since the driver was loaded, aggregate: ever.",
    (*_L, "kind", "counter"),
)
REMAPPED = Metric("gpu_remapped_rows", _G, "", "Rows of memory replaced by spare ones.", (*_L, "kind"))
REMAP_PENDING = Metric("gpu_remap_pending", _G, "", "1 if rows wait for a reset to be replaced.", _L)
REMAP_FAILED = Metric("gpu_remap_failed", _G, "", "1 if a row could not be replaced: the card is due for exchange.", _L)
PROCESSES = Metric("gpu_processes", _G, "", "Processes that use the GPU.", _L)
PROCESS_MEMORY = Metric(
    "gpu_process_memory_bytes", _G, "bytes", "GPU memory of a process.",
    (*_L, "pid", "process", "kind", "gpu_instance"),
)
_M = (*_L, "mig_uuid", "gpu_instance", "compute_instance", "profile")
MIG_MEMORY: Final = tuple(
    Metric(f"gpu_mig_memory_{what}_bytes", _G, "bytes", f"Memory of a MIG instance: {say}.", _M)
    for what, say in (("total", "all of it"), ("used", "allocated"), ("free", "not allocated"))
)
XID_EVENTS = Metric("gpu_xid_events_total", _C, "", "Critical errors (XID) seen by this exporter.", _L)
XID_BY_CODE = Metric("gpu_xid_events_by_code_total", _C, "", "Critical errors (XID) by code.", (*_L, "xid"))
XID_LAST = Metric("gpu_xid_last_code", _G, "", "Code of the last critical error (XID); 0 if none was seen.", _L)

_Said = TypeVar("_Said", Fast, Slow)

FAST: Final = (
    UP, INFO, *UTILIZATION.values(), *BANDWIDTH.values(), *POWER.values(), POWER_LIMIT, ENERGY, *MEMORY, TEMPERATURE,
    CLOCK, THROTTLE, CODEC,
)
SLOW: Final = (
    PCIE_RECEIVE, PCIE_TRANSMIT, PCIE_REPLAYS, PCIE_GENERATION, PCIE_WIDTH, ECC, REMAPPED, REMAP_PENDING, REMAP_FAILED,
    PROCESSES, PROCESS_MEMORY, *MIG_MEMORY,
)
EVENTS: Final = (XID_EVENTS, XID_BY_CODE, XID_LAST)

SLOW_EVERY_S: Final = 10.0
LOOK_AGAIN_S: Final = 60.0
"""After this long GPUs are enumerated anew: MIG may have been switched, a driver reloaded."""
EVENT_WAIT_MS: Final = 500
MAX_EVENTS_A_ROUND: Final = 1000


class Window:
    """The values of the last `length_s`, for their mean, least and most."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._values: deque[tuple[float, int]] = deque(maxlen=10_000)

    def add(self, now: float, value: int | None) -> None:
        if value is not None:
            self._values.append((now, value))
        while self._values and self._values[0][0] < now - self._length_s:
            self._values.popleft()

    def values(self) -> list[int]:
        return [value for _, value in self._values]


class Gpus:
    """The three loops over one session: cheap figures, slow figures, critical errors."""

    def __init__(
        self, nvml: Nvml, window_s: float, dcgm: bool, proc: Path, now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nvml, self._window_s, self._dcgm, self._proc, self._now = nvml, window_s, dcgm, proc, now
        self._windows: dict[tuple[str, str], Window] = {}
        self._looked_at = now()
        self._xids: dict[str, dict[int, int]] = {}
        self._last_xid: dict[str, int] = {}

    def fast(self, page: Page) -> None:
        if self._now() - self._looked_at > LOOK_AGAIN_S:
            self._looked_at = self._now()
            self._nvml.look_again()
        devices = self._devices()
        for device in devices:
            labels = (str(device.index), device.uuid)
            mig = "1" if device.mig_enabled else "0"
            page.add(INFO, 1, *labels, device.name, device.bus_id, self._nvml.driver, self._nvml.cuda, mig)
            try:
                said = self._guarded(fast, device)
            except DeviceLost:
                page.add(UP, 0, *labels)
                continue
            page.add(UP, 1, *labels)
            self._write_fast(page, device, said, labels)
            if self._dcgm:
                write_dcgm(page, device, fast=said)

    def _devices(self) -> list[Device]:
        devices = self._nvml.devices()
        if not devices:
            self._nvml.forget()
            raise NoData("the NVIDIA driver is here and sees no GPU")
        return devices

    def _guarded(self, call: Callable[[Nvml, Device], _Said], device: Device) -> _Said:
        import pynvml

        try:
            return call(self._nvml, device)
        except pynvml.NVMLError:
            self._nvml.forget()  # the session broke: the next round begins anew
            raise

    def _write_fast(self, page: Page, device: Device, said: Fast, labels: tuple[str, str]) -> None:
        self._spread(page, UTILIZATION, labels, said.utilization, 100)
        self._spread(page, BANDWIDTH, labels, said.memory_utilization, 100)
        self._spread(page, POWER, labels, said.power_mw, 1000)
        page.add(POWER_LIMIT, _scaled(said.power_limit_mw, 1000), *labels)
        page.add(ENERGY, _scaled(said.energy_mj, 1000), *labels)
        for metric, value in zip(MEMORY, said.memory, strict=True):
            page.add(metric, value, *labels)
        page.add(TEMPERATURE, said.temperature, *labels, "gpu")
        for clock, mhz in said.clocks_mhz.items():
            page.add(CLOCK, None if mhz is None else mhz * 1_000_000, *labels, clock)
        window = self._window(device.uuid, "reasons")
        window.add(self._now(), said.reasons)
        if said.reasons is not None:
            seen = 0
            for bits in window.values():
                seen |= bits
            for bit, reason in REASONS.items():
                page.add(THROTTLE, int(bool(seen & bit)), *labels, reason)
        page.add(CODEC, _scaled(said.encoder, 100), *labels, "encoder")
        page.add(CODEC, _scaled(said.decoder, 100), *labels, "decoder")

    def _window(self, uuid: str, what: str) -> Window:
        return self._windows.setdefault((uuid, what), Window(self._window_s))

    def _spread(
        self, page: Page, metrics: Mapping[str, Metric], labels: tuple[str, str], value: int | None, scale: int,
    ) -> None:
        window = self._window(labels[1], metrics["avg"].name)
        window.add(self._now(), value)
        values = window.values()
        if value is None or not values:
            return
        page.add(metrics["avg"], round(sum(values) / len(values) / scale, 6), *labels)
        page.add(metrics["min"], min(values) / scale, *labels)
        page.add(metrics["max"], max(values) / scale, *labels)

    def slow(self, page: Page) -> None:
        for device in self._devices():
            try:
                said = self._guarded(slow, device)
            except DeviceLost:
                continue  # `gpu_up` says so
            self._write_slow(page, device, said)
            if self._dcgm:
                write_dcgm(page, device, slow=said)

    def _write_slow(self, page: Page, device: Device, said: Slow) -> None:
        labels = (str(device.index), device.uuid)
        page.add(TEMPERATURE, said.memory_temperature, *labels, "memory")
        page.add(PCIE_RECEIVE, said.pcie_receive, *labels)
        page.add(PCIE_TRANSMIT, said.pcie_transmit, *labels)
        page.add(PCIE_REPLAYS, said.pcie_replays, *labels)
        page.add(PCIE_GENERATION, said.pcie_generation, *labels)
        page.add(PCIE_WIDTH, said.pcie_width, *labels)
        for (kind, counter), count in said.ecc.items():
            page.add(ECC, count, *labels, kind, counter)
        if said.remapped is not None:
            page.add(REMAPPED, said.remapped[0], *labels, "corrected")
            page.add(REMAPPED, said.remapped[1], *labels, "uncorrected")
            page.add(REMAP_PENDING, int(said.remapped[2]), *labels)
            page.add(REMAP_FAILED, int(said.remapped[3]), *labels)
        if said.processes is not None:
            page.add(PROCESSES, len({process.pid for process in said.processes}), *labels)
            page.leave_out(len(said.processes) - MAX_PROCESSES)
            for process in said.processes[:MAX_PROCESSES]:
                page.add(
                    PROCESS_MEMORY, process.used_bytes, *labels, str(process.pid), self._process_name(process.pid),
                    process.kind, process.gpu_instance,
                )
        for one in device.mig:
            names = (one.uuid, one.gpu_instance, one.compute_instance, one.profile)
            for metric, value in zip(MIG_MEMORY, said.mig_memory[one.uuid], strict=False):
                page.add(metric, value, *labels, *names)

    def _process_name(self, pid: int) -> str:
        """The command's name, never its arguments; empty where the pid is another container's."""
        try:
            return (self._proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def events(self, page: Page) -> None:
        import pynvml

        devices = self._devices()
        try:
            for _ in range(MAX_EVENTS_A_ROUND):
                found = self._nvml.next_xid(EVENT_WAIT_MS)
                if found is None:
                    break
                uuid, code = found
                counts = self._xids.setdefault(uuid, {})
                counts[code] = counts.get(code, 0) + 1
                self._last_xid[uuid] = code
        except pynvml.NVMLError:
            self._nvml.forget()
            raise
        for device in devices:
            labels = (str(device.index), device.uuid)
            counts = self._xids.get(device.uuid, {})
            page.add(XID_EVENTS, sum(counts.values()), *labels)
            for code, count in sorted(counts.items()):
                page.add(XID_BY_CODE, count, *labels, str(code))
            page.add(XID_LAST, self._last_xid.get(device.uuid, 0), *labels)
            if self._dcgm:
                write_dcgm(page, device, last_xid=self._last_xid.get(device.uuid, 0))


def _scaled(value: int | None, scale: int) -> float | None:
    return None if value is None else value / scale


@exporter("gpu", port=9204, summary="NVIDIA GPUs: utilisation, memory, power, throttling, ECC, XID errors", options=(
    Option("interval", "1", "seconds between two cheap readings", seconds),
    Option("window", "15", "seconds that mean, least and most are taken over; make it the scrape interval", seconds),
    Option("proc", "/proc", "where the names of processes are read"),
    Option("dcgm-names", "false", "also use dcgm-exporter's names, so that boards made for it work"),
))
def build(options: Mapping[str, str]) -> Sequence[Collector]:
    nvml, dcgm = Nvml(), options["dcgm-names"] == "true"
    gpus = Gpus(nvml, float(options["window"]), dcgm, Path(options["proc"]))
    extra = DCGM_METRICS if dcgm else ()
    return [
        Collector("gpu", (*FAST, *extra), gpus.fast, every_s=float(options["interval"]), close=nvml.close),
        Collector("gpu_slow", SLOW, gpus.slow, every_s=SLOW_EVERY_S),
        Collector("gpu_events", EVENTS, gpus.events, every_s=0.1),
    ]
