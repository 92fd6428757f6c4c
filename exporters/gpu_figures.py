"""What NVML says about one GPU, as plain values. A figure that a card or driver does not have is None."""

from dataclasses import dataclass, field
from typing import Final

from observe.exporters.gpu_nvml import ABSENT, Device, DeviceLost, Nvml

MAX_PROCESSES: Final = 256
"""Processes of one GPU that are shown; all are counted."""

REASONS: Final = {
    0x1: "idle", 0x2: "applications_clocks", 0x4: "sw_power_cap", 0x8: "hw_slowdown", 0x10: "sync_boost",
    0x20: "sw_thermal", 0x40: "hw_thermal", 0x80: "hw_power_brake", 0x100: "display_clocks",
}


@dataclass(slots=True)
class Fast:
    """Cheap figures, in NVML's units."""

    utilization: int | None = None
    memory_utilization: int | None = None
    memory: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
    """total, used, free, reserved; bytes."""
    temperature: int | None = None
    power_mw: int | None = None
    power_limit_mw: int | None = None
    energy_mj: int | None = None
    clocks_mhz: dict[str, int | None] = field(default_factory=dict)
    reasons: int | None = None
    encoder: int | None = None
    decoder: int | None = None


@dataclass(slots=True)
class Process:
    pid: int
    kind: str
    used_bytes: int | None
    gpu_instance: str


@dataclass(slots=True)
class Slow:
    """Figures that take milliseconds, or that hardly change."""

    memory_temperature: int | None = None
    pcie_receive: int | None = None
    pcie_transmit: int | None = None
    """Bytes a second, over the last 20 ms."""
    pcie_replays: int | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    ecc: dict[tuple[str, str], int | None] = field(default_factory=dict)
    remapped: tuple[int, int, bool, bool] | None = None
    """corrected, uncorrected, pending, failed."""
    processes: list[Process] | None = None
    mig_memory: dict[str, tuple[int | None, int | None, int | None, int | None]] = field(default_factory=dict)


def fast(nvml: Nvml, device: Device) -> Fast:
    """Some microseconds a call."""
    if device.handle is None:
        raise DeviceLost(f"GPU {device.index} does not answer")
    import pynvml

    rates = nvml.ask(device, "nvmlDeviceGetUtilizationRates")
    encoder, decoder = (nvml.ask(device, f"nvmlDeviceGet{what}Utilization") for what in ("Encoder", "Decoder"))
    clocks = {"graphics": 0, "sm": 1, "memory": 2, "video": 3}
    return Fast(
        _said(getattr(rates, "gpu", None)), _said(getattr(rates, "memory", None)), _memory(nvml, device),
        nvml.ask(device, "nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU),
        nvml.ask(device, "nvmlDeviceGetPowerUsage"), nvml.ask(device, "nvmlDeviceGetEnforcedPowerLimit"),
        nvml.ask(device, "nvmlDeviceGetTotalEnergyConsumption"),
        {name: nvml.ask(device, "nvmlDeviceGetClockInfo", kind) for name, kind in clocks.items()},
        _reasons(nvml, device), _said(encoder and encoder[0]), _said(decoder and decoder[0]),
    )


def _said(value: int | None) -> int | None:
    """A figure inside a larger answer; None where it is what NVML writes for "not available"."""
    return None if value in ABSENT else value


def _reasons(nvml: Nvml, device: Device) -> int | None:
    found: int | None = nvml.ask(device, "nvmlDeviceGetCurrentClocksEventReasons")
    return nvml.ask(device, "nvmlDeviceGetCurrentClocksThrottleReasons") if found is None else found


def _memory(nvml: Nvml, device: Device) -> tuple[int | None, int | None, int | None, int | None]:
    import pynvml

    memory = nvml.ask(device, "nvmlDeviceGetMemoryInfo", version=pynvml.nvmlMemory_v2)
    if memory is None:  # drivers before 510: reserved counts as used
        memory = nvml.ask(device, "nvmlDeviceGetMemoryInfo")
    said = [getattr(memory, name, None) for name in ("total", "used", "free", "reserved")]
    total, used, free, reserved = map(_said, said)
    if total is None:
        return None, None, None, None  # what is free of it is none either
    return total, used, free, reserved


def slow(nvml: Nvml, device: Device) -> Slow:
    """Milliseconds a call: PCIe figures are measured while we wait, process lists walk the driver's tables."""
    if device.handle is None:
        raise DeviceLost(f"GPU {device.index} does not answer")
    receive, transmit = (nvml.ask(device, "nvmlDeviceGetPcieThroughput", way) for way in (1, 0))
    remapped = nvml.ask(device, "nvmlDeviceGetRemappedRows")
    found = Slow(
        _memory_temperature(nvml, device),
        None if receive is None else receive * 1024, None if transmit is None else transmit * 1024,
        nvml.ask(device, "nvmlDeviceGetPcieReplayCounter"), nvml.ask(device, "nvmlDeviceGetCurrPcieLinkGeneration"),
        nvml.ask(device, "nvmlDeviceGetCurrPcieLinkWidth"),
        {
            (kind, counter): nvml.ask(device, "nvmlDeviceGetTotalEccErrors", kind_id, counter_id)
            for kind, kind_id in (("corrected", 0), ("uncorrected", 1))
            for counter, counter_id in (("volatile", 0), ("aggregate", 1))
        },
        None if remapped is None else (remapped[0], remapped[1], bool(remapped[2]), bool(remapped[3])),
        _processes(nvml, device),
    )
    for one in device.mig:
        found.mig_memory[one.uuid] = _memory(nvml, Device(device.index, one.uuid, "", "", None, one.handle))
    return found


def _memory_temperature(nvml: Nvml, device: Device) -> int | None:
    import pynvml

    values = nvml.ask(device, "nvmlDeviceGetFieldValues", (pynvml.NVML_FI_DEV_MEMORY_TEMP,))
    if not values or values[0].nvmlReturn != 0:
        return None
    value = int(values[0].value.uiVal)
    return None if value in ABSENT else value


def _processes(nvml: Nvml, device: Device) -> list[Process] | None:
    found: list[Process] = []
    known = False
    for kind in ("Compute", "Graphics"):
        answer = nvml.ask(device, f"nvmlDeviceGet{kind}RunningProcesses")
        known = known or answer is not None
        for one in answer or ():
            instance = getattr(one, "gpuInstanceId", None)
            found.append(Process(
                one.pid, kind.lower(), _said(one.usedGpuMemory),
                "" if instance is None or instance in ABSENT else str(instance),
            ))
    return found if known else None
