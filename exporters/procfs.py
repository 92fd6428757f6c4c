"""What Linux says in /proc, as values: every function takes a file's text and opens nothing.

Layouts are the kernel's own (Documentation/filesystems/proc.rst, admin-guide/iostats.rst, accounting/psi.rst).
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

CPU_MODES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
SECTOR_BYTES: Final = 512
"""/proc/diskstats counts in these, whatever the device's own sectors are."""

TCP_STATES: Final = {
    "01": "established", "02": "syn_sent", "03": "syn_recv", "04": "fin_wait1", "05": "fin_wait2", "06": "time_wait",
    "07": "close", "08": "close_wait", "09": "last_ack", "0A": "listen", "0B": "closing", "0C": "new_syn_recv",
}


@dataclass(frozen=True, slots=True)
class Stat:
    """/proc/stat: seconds a CPU and mode, and the counters below them by their first word."""

    cpus: dict[str, dict[str, float]]
    counters: dict[str, int]


def parse_stat(text: str, ticks_per_second: int = 100) -> Stat:
    """Old kernels have fewer columns; modes that are not there stay absent."""
    cpus: dict[str, dict[str, float]] = {}
    counters: dict[str, int] = {}
    for line in text.splitlines():
        word, *numbers = line.split()
        if word.startswith("cpu"):
            if word != "cpu":  # the sum of all, which a query can make itself
                cpus[word[3:]] = {
                    mode: int(ticks) / ticks_per_second for mode, ticks in zip(CPU_MODES, numbers, strict=False)
                }
        elif numbers:
            counters[word] = int(numbers[0])
    return Stat(cpus, counters)


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes (plain counts, such as HugePages_Total, as they are)."""
    values = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        if number.isdigit():
            values[name] = int(number) * (1024 if unit == "kB" else 1)
    return values


def parse_pairs(text: str) -> dict[str, int]:
    """Files with ``name number`` a line, as /proc/vmstat."""
    return {name: int(number) for name, number in (line.split()[:2] for line in text.splitlines() if line.strip())}


@dataclass(frozen=True, slots=True)
class Disk:
    """One line of /proc/diskstats; counts since boot."""

    reads: int
    read_bytes: int
    read_s: float
    writes: int
    written_bytes: int
    write_s: float
    in_flight: int
    io_s: float
    weighted_s: float


def parse_diskstats(text: str) -> dict[str, Disk]:
    disks = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 14:
            continue  # 2.6-era partitions have four numbers only
        n = [int(word) for word in words[3:14]]
        disks[words[2]] = Disk(
            n[0], n[2] * SECTOR_BYTES, n[3] / 1000, n[4], n[6] * SECTOR_BYTES, n[7] / 1000,
            n[8], n[9] / 1000, n[10] / 1000,
        )
    return disks


@dataclass(frozen=True, slots=True)
class Link:
    """One line of /proc/net/dev."""

    received_bytes: int
    received_packets: int
    received_errors: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_dropped: int


def parse_net_dev(text: str) -> dict[str, Link]:
    links = {}
    for line in text.splitlines():
        name, colon, rest = line.rpartition(":")  # an alias such as eth0:1 has a colon of its own
        if colon:
            n = [int(word) for word in rest.split()]
            links[name.strip()] = Link(n[0], n[1], n[2], n[3], n[8], n[9], n[10], n[11])
    return links


def parse_tcp(text: str) -> Counter[str]:
    """Connections by state in /proc/net/tcp or tcp6."""
    states: Counter[str] = Counter()
    for line in text.splitlines()[1:]:
        words = line.split(None, 4)
        if len(words) > 3:
            states[TCP_STATES.get(words[3], "unknown")] += 1
    return states


def parse_snmp(text: str) -> dict[str, int]:
    """/proc/net/snmp or netstat: a line of names, then a line of numbers -> ``{"Tcp.RetransSegs": 3}``."""
    values = {}
    lines = text.splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        prefix, _, words = names.partition(":")
        for name, number in zip(words.split(), numbers.split()[1:], strict=False):
            values[f"{prefix}.{name}"] = int(number)
    return values


def parse_sockstat(text: str) -> dict[str, int]:
    """/proc/net/sockstat -> ``{"TCP.orphan": 0}``."""
    values = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(":")
        words = rest.split()
        for name, number in zip(words[::2], words[1::2], strict=False):
            values[f"{kind}.{name}"] = int(number)
    return values


def parse_pressure(text: str) -> dict[str, float]:
    """One file of /proc/pressure -> seconds since boot: ``{"some": 1.5, "full": 0.2}``."""
    values = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        total = rest.rpartition("total=")[2]
        values[kind] = int(total) / 1e6
    return values


@dataclass(frozen=True, slots=True)
class Mount:
    device: str
    mountpoint: str
    fstype: str
    readonly: bool


_OCTAL = re.compile(r"\\([0-7]{3})")

# Without storage of their own, or (the last line) behind a network: asking those hangs while their server is down.
NOT_DISKS: Final = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "erofs", "fusectl", "hugetlbfs", "iso9660", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs",
    "selinuxfs", "squashfs", "sysfs", "tracefs",
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3",
    "smbfs", "virtiofs",
))


def parse_mounts(text: str) -> list[Mount]:
    """Mounted file systems with storage on this machine; each device once, at its shortest mount point."""
    found: dict[tuple[str, str], Mount] = {}
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) < 4 or words[2] in NOT_DISKS:
            continue
        device, point = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), word) for word in words[:2])
        fstype = words[2]
        if fstype == "overlay" and point != "/":
            continue  # one for each container; their storage is the device below
        if fstype == "tmpfs" and point.startswith(("/run/", "/sys/", "/proc/")):
            continue
        key = (device, fstype) if device.startswith("/") else (device, point)
        mount = Mount(device, point, fstype, "ro" in words[3].split(","))
        if key not in found or len(point) < len(found[key].mountpoint):
            found[key] = mount
    return sorted(found.values(), key=lambda mount: mount.mountpoint)
