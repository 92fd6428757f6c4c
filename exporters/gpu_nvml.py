"""A session with the NVIDIA driver: which GPUs there are, what one call says, which errors are reported.

Field meanings: NVIDIA's NVML reference. The binding is nvidia-ml-py (`pynvml`), which loads libnvidia-ml.so.1.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from observe.errors import ObserveError
from observe.exporters.collectors import NoData

NEVER: Final = frozenset((2, 3, 13, 22, 25, 26))
"""INVALID_ARGUMENT, NOT_SUPPORTED, FUNCTION_NOT_FOUND, VGPU_ECC_NOT_SUPPORTED, VERSION_MISMATCH, DEPRECATED."""
LOST: Final = frozenset((15, 16, 28))
"""GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND: this device is down, the others are not."""
BROKEN: Final = frozenset((1, 9, 12, 18))
"""UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, LIB_RM_VERSION_MISMATCH: begin anew."""
ABSENT: Final = frozenset((0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0x7FFF_FFFF_FFFF_FFF2, 0x7FFF_FFFF_FFFF_FFF4))
"""NVML_VALUE_NOT_AVAILABLE in two widths and its relatives: never shown."""
TIMED_OUT: Final = 10


class DeviceLost(ObserveError):
    """One GPU answers no more."""


@dataclass(slots=True)
class MigDevice:
    uuid: str
    profile: str
    gpu_instance: str
    compute_instance: str
    handle: Any = None


@dataclass(slots=True)
class Device:
    index: int
    uuid: str
    name: str
    bus_id: str
    minor: int | None
    handle: Any = None
    mig: list[MigDevice] = field(default_factory=list)
    mig_enabled: bool = False
    never: set[tuple[object, ...]] = field(default_factory=set)
    """Calls that this card or driver does not have."""


class Nvml:
    """One session with the driver, opened when first needed and anew after the driver was gone. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._devices: list[Device] | None = None
        self._events: Any = None
        self.driver = self.cuda = ""

    def devices(self) -> list[Device]:
        """Every GPU. Raises NoData without a driver."""
        with self._lock:
            if self._devices is None:
                self._devices = self._open()
            return self._devices

    def look_again(self) -> None:
        """Enumerate anew within the session: MIG may have been switched, a card that was lost may be back."""
        with self._lock:
            if self._devices is not None:
                before = [device.uuid for device in self._devices]
                self._devices = self._enumerate()
                if [device.uuid for device in self._devices] != before:
                    self._events = None

    def forget(self) -> None:
        """End the session; the next call begins a new one. After the driver itself has failed."""
        with self._lock:
            import pynvml

            if self._devices is not None:
                self._devices, self._events = None, None
                try:
                    pynvml.nvmlShutdown()
                except pynvml.NVMLError:
                    return  # it was gone already

    def _open(self) -> list[Device]:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            if error.value in BROKEN:
                raise NoData(
                    f"no NVIDIA driver here ({error}): install it, or run this exporter where the GPUs are",
                ) from error
            raise
        self.driver = _text(self._system(pynvml.nvmlSystemGetDriverVersion))
        cuda = self._system(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        self.cuda = f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) else ""
        return self._enumerate()

    def _enumerate(self) -> list[Device]:
        import pynvml

        return [self._device(index) for index in range(pynvml.nvmlDeviceGetCount())]

    def _system(self, call: Any) -> Any:
        import pynvml

        try:
            return call()
        except pynvml.NVMLError:
            return None

    def _device(self, index: int) -> Device:
        import pynvml

        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError:
            return Device(index, "", "", "", None)  # it is there and says nothing: shown as down
        device = Device(index, "", "", "", None, handle)
        try:
            device.uuid = _text(self.ask(device, "nvmlDeviceGetUUID"))
            device.name = _text(self.ask(device, "nvmlDeviceGetName"))
            device.bus_id = _text(getattr(self.ask(device, "nvmlDeviceGetPciInfo"), "busId", ""))
            device.minor = self.ask(device, "nvmlDeviceGetMinorNumber")
            mode = self.ask(device, "nvmlDeviceGetMigMode")
            device.mig_enabled = bool(mode and mode[0])
            if device.mig_enabled:
                device.mig = list(self._mig_devices(device))
        except DeviceLost:
            device.handle = None
        return device

    def _mig_devices(self, device: Device) -> Iterator[MigDevice]:
        import pynvml

        for index in range(self.ask(device, "nvmlDeviceGetMaxMigDeviceCount") or 0):
            try:
                handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device.handle, index)
            except pynvml.NVMLError:
                continue  # this slot is empty
            name = _text(self._system(lambda handle=handle: pynvml.nvmlDeviceGetName(handle)))
            yield MigDevice(
                _text(self._system(lambda handle=handle: pynvml.nvmlDeviceGetUUID(handle))),
                name.rpartition("MIG ")[2],
                _text(self._system(lambda handle=handle: pynvml.nvmlDeviceGetGpuInstanceId(handle))),
                _text(self._system(lambda handle=handle: pynvml.nvmlDeviceGetComputeInstanceId(handle))),
                handle,
            )

    def ask(self, device: Device, call: str, *words: Any, **named: Any) -> Any:
        """The answer of one call on `device`, or None. Raises DeviceLost, or NVMLError when the session broke."""
        import pynvml

        key = (call, *words, *named.values())
        if key in device.never:
            return None
        try:
            answer = getattr(pynvml, call)(device.handle, *words, **named)
        except pynvml.NVMLError as error:
            if error.value in NEVER:
                device.never.add(key)
                return None
            if error.value in LOST:
                raise DeviceLost(f"GPU {device.index} ({device.bus_id}): {error}") from error
            if error.value in BROKEN:
                raise
            return None  # busy, not permitted, unknown: perhaps next time
        return None if isinstance(answer, int) and answer in ABSENT else answer


    def next_xid(self, timeout_ms: int) -> tuple[str, int] | None:
        """(UUID, code) of the next critical error that a GPU reports, or None after `timeout_ms`."""
        import pynvml

        devices = self.devices()
        if self._events is None:
            self._events = events = pynvml.nvmlEventSetCreate()
            kind = pynvml.nvmlEventTypeXidCriticalError
            for device in devices:
                if device.handle is not None:  # a card without events, or a lost one, stays silent
                    self._system(lambda handle=device.handle: pynvml.nvmlDeviceRegisterEvents(handle, kind, events))
        try:
            event = pynvml.nvmlEventSetWait(self._events, timeout_ms)
        except pynvml.NVMLError as error:
            if error.value == TIMED_OUT:
                return None
            raise
        uuid = _text(self._system(lambda: pynvml.nvmlDeviceGetUUID(event.device)))
        return uuid, int(event.eventData)

    def close(self) -> None:
        self.forget()


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
