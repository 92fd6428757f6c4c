"""The performance counters that HotSpot writes into a memory-mapped file of each JVM (hsperfdata, format 2.0).

Layout: HotSpot's ``perfMemory.hpp``: a prologue of 32 bytes, then entries of a 20-byte header, a name and a value.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from observe.errors import MalformedData

MAGIC: Final = b"\xca\xfe\xc0\xc0"
MAX_BYTES: Final = 4 << 20
"""-XX:PerfDataMemorySize is 32 KiB unless someone raised it; beyond this it is some other file."""
_MAX_ENTRIES: Final = 20_000
_UNIT_TICKS: Final = 3


@dataclass(frozen=True, slots=True)
class PerfData:
    """The counters of one JVM at one moment, by name."""

    values: Mapping[str, int | str]
    ticks: frozenset[str]
    """Names of those counted in ticks of ``sun.os.hrt.frequency``."""

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        return value if isinstance(value, int) else None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def seconds(self, name: str) -> float | None:
        """A counter of ticks as seconds."""
        value, frequency = self.number(name), self.number("sun.os.hrt.frequency")
        if value is None or not frequency or name not in self.ticks:
            return None
        return value / frequency


def parse(data: bytes) -> PerfData:
    """The counters in `data`. Raises MalformedData with reason ``foreign``, ``version``, ``starting`` or ``torn``."""
    if len(data) < 32 or data[:4] != MAGIC:
        raise MalformedData("not a hsperfdata file: it does not begin with cafec0c0", "foreign")
    order = "<" if data[4] == 1 else ">"
    if data[5] != 2:
        raise MalformedData(f"hsperfdata version {data[5]}.{data[6]}: only 2.x can be read", "version")
    if not data[7]:
        raise MalformedData("the JVM is still starting", "starting")
    offset, count = struct.unpack_from(order + "ii", data, 24)
    if not (32 <= offset <= len(data) and 0 <= count <= _MAX_ENTRIES):
        raise MalformedData(f"impossible prologue: {count} entries from byte {offset} of {len(data)}", "torn")
    values: dict[str, int | str] = {}
    ticks = set()
    entry = struct.Struct(order + "iiiBBBBi")
    for _ in range(count):
        try:
            length, name_at, vector, kind, _flags, unit, _variability, value_at = entry.unpack_from(data, offset)
            if length < entry.size or not (0 < name_at < length) or not (0 < value_at <= length):
                raise MalformedData(f"impossible entry at byte {offset}", "torn")
            end = data.index(b"\0", offset + name_at, offset + length)
            name = data[offset + name_at:end].decode("utf-8", "replace")
            if kind == ord("J") and vector == 0:
                values[name] = struct.unpack_from(order + "q", data, offset + value_at)[0]
                if unit == _UNIT_TICKS:
                    ticks.add(name)
            elif kind == ord("B"):
                raw = data[offset + value_at:offset + value_at + vector]
                values[name] = raw.partition(b"\0")[0].decode("utf-8", "replace")
        except (struct.error, ValueError) as error:
            raise MalformedData(f"the file ends within the entry at byte {offset}", "torn") from error
        offset += length
    return PerfData(values, frozenset(ticks))


def main_class(command: str) -> str:
    """What a JVM runs, from ``sun.rt.javaCommand``: class, module/class or the jar's file name. Never arguments.

    >>> main_class("/opt/app/server.jar --password=x")
    'server.jar'
    """
    first = command.strip().partition(" ")[0]
    return (first.rpartition("/")[2] if first.endswith(".jar") else first) or "unknown"
