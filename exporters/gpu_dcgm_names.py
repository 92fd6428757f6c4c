"""dcgm-exporter's names for what `gpu` reads, in its units and with its labels. Opt-in, beside our own names."""

import socket
from typing import Final

from observe.exporters.gpu_figures import Fast, Slow
from observe.exporters.gpu_nvml import Device
from observe.exporters.page import Kind, Metric, Page

_L = ("gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname")
_MIB: Final = 1 << 20


def _metric(name: str, kind: Kind, help_text: str) -> Metric:
    return Metric(f"DCGM_FI_{name}", kind, "", help_text, _L)


UTIL = _metric("DEV_GPU_UTIL", "gauge", "GPU utilization in percent.")
MEM_UTIL = _metric("DEV_MEM_COPY_UTIL", "gauge", "Memory utilization in percent.")
ENC_UTIL = _metric("DEV_ENC_UTIL", "gauge", "Encoder utilization in percent.")
DEC_UTIL = _metric("DEV_DEC_UTIL", "gauge", "Decoder utilization in percent.")
FB_TOTAL = _metric("DEV_FB_TOTAL", "gauge", "Framebuffer memory in MiB.")
FB_USED = _metric("DEV_FB_USED", "gauge", "Framebuffer memory used in MiB.")
FB_FREE = _metric("DEV_FB_FREE", "gauge", "Framebuffer memory free in MiB.")
FB_RESERVED = _metric("DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved in MiB.")
TEMP = _metric("DEV_GPU_TEMP", "gauge", "GPU temperature in degrees Celsius.")
MEMORY_TEMP = _metric("DEV_MEMORY_TEMP", "gauge", "Memory temperature in degrees Celsius.")
POWER = _metric("DEV_POWER_USAGE", "gauge", "Power draw in watts.")
POWER_LIMIT = _metric("DEV_ENFORCED_POWER_LIMIT", "gauge", "Enforced power limit in watts.")
ENERGY = _metric("DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Energy since the driver was loaded in mJ.")
SM_CLOCK = _metric("DEV_SM_CLOCK", "gauge", "SM clock in MHz.")
MEM_CLOCK = _metric("DEV_MEM_CLOCK", "gauge", "Memory clock in MHz.")
REASONS = _metric("DEV_CLOCK_THROTTLE_REASONS", "gauge", "Clock event reasons as a bit mask.")
REPLAYS = _metric("DEV_PCIE_REPLAY_COUNTER", "counter", "PCIe replays.")
PCIE_TX = _metric("PROF_PCIE_TX_BYTES", "gauge", "PCIe bytes a second from the GPU.")
PCIE_RX = _metric("PROF_PCIE_RX_BYTES", "gauge", "PCIe bytes a second to the GPU.")
XID = _metric("DEV_XID_ERRORS", "gauge", "Code of the last XID error.")
SBE = _metric("DEV_ECC_SBE_VOL_TOTAL", "counter", "Single-bit volatile ECC errors.")
DBE = _metric("DEV_ECC_DBE_VOL_TOTAL", "counter", "Double-bit volatile ECC errors.")
SBE_EVER = _metric("DEV_ECC_SBE_AGG_TOTAL", "counter", "Single-bit aggregate ECC errors.")
DBE_EVER = _metric("DEV_ECC_DBE_AGG_TOTAL", "counter", "Double-bit aggregate ECC errors.")
ROWS_CORRECTABLE = _metric("DEV_CORRECTABLE_REMAPPED_ROWS", "counter", "Rows remapped for correctable errors.")
ROWS_UNCORRECTABLE = _metric("DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Rows remapped for uncorrectable errors.")
ROW_FAILURE = _metric("DEV_ROW_REMAP_FAILURE", "gauge", "1 if remapping of rows failed.")

DCGM_METRICS: Final = (
    UTIL, MEM_UTIL, ENC_UTIL, DEC_UTIL, FB_TOTAL, FB_USED, FB_FREE, FB_RESERVED, TEMP, MEMORY_TEMP, POWER, POWER_LIMIT,
    ENERGY, SM_CLOCK, MEM_CLOCK, REASONS, REPLAYS, PCIE_TX, PCIE_RX, XID, SBE, DBE, SBE_EVER, DBE_EVER,
    ROWS_CORRECTABLE, ROWS_UNCORRECTABLE, ROW_FAILURE,
)


def write_dcgm(
    page: Page, device: Device, fast: Fast | None = None, slow: Slow | None = None, last_xid: int | None = None,
) -> None:
    """The figures of one GPU under DCGM's names. What is None stays absent: DCGM's own sentinel is never written."""
    minor = device.index if device.minor is None else device.minor
    labels = (str(device.index), device.uuid, device.bus_id, f"nvidia{minor}", device.name, socket.gethostname())
    page.add(XID, last_xid, *labels)
    if fast is not None:
        total, used, free, reserved = fast.memory
        for metric, value in (
            (UTIL, fast.utilization), (MEM_UTIL, fast.memory_utilization), (ENC_UTIL, fast.encoder),
            (DEC_UTIL, fast.decoder), (TEMP, fast.temperature), (ENERGY, fast.energy_mj), (REASONS, fast.reasons),
            (SM_CLOCK, fast.clocks_mhz.get("sm")), (MEM_CLOCK, fast.clocks_mhz.get("memory")),
        ):
            page.add(metric, value, *labels)
        for metric, size in ((FB_TOTAL, total), (FB_USED, used), (FB_FREE, free), (FB_RESERVED, reserved)):
            page.add(metric, None if size is None else size // _MIB, *labels)
        page.add(POWER, None if fast.power_mw is None else fast.power_mw / 1000, *labels)
        page.add(POWER_LIMIT, None if fast.power_limit_mw is None else fast.power_limit_mw / 1000, *labels)
    if slow is not None:
        rows = slow.remapped or (None, None, None, None)
        for metric, value in (
            (MEMORY_TEMP, slow.memory_temperature), (REPLAYS, slow.pcie_replays), (PCIE_TX, slow.pcie_transmit),
            (PCIE_RX, slow.pcie_receive), (SBE, slow.ecc.get(("corrected", "volatile"))),
            (DBE, slow.ecc.get(("uncorrected", "volatile"))), (SBE_EVER, slow.ecc.get(("corrected", "aggregate"))),
            (DBE_EVER, slow.ecc.get(("uncorrected", "aggregate"))), (ROWS_CORRECTABLE, rows[0]),
            (ROWS_UNCORRECTABLE, rows[1]), (ROW_FAILURE, None if rows[3] is None else int(rows[3])),
        ):
            page.add(metric, value, *labels)
