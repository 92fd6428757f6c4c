"""The host exporter on frozen trees, on this machine, and beside the real node_exporter."""

import os
import re
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from observe.exporters import create, procfs, sock_diag
from observe.exporters.collectors import Exporter
from observe.exporters.host import Host, _Held, build, collectors
from observe.exporters.host_node_names import with_node_names
from tests.exporters.golden import cases, check_golden, no_time
from tests.real.process import RealProcess, free_port, http_get, require


def _statvfs(path: str) -> os.statvfs_result:
    """A disk of 1000 blocks of 4 KiB wherever it is asked for, but for one place that is gone."""
    if path.endswith("/gone"):
        raise FileNotFoundError(path)
    files = 0 if path.endswith("/tmp") else 50
    return os.statvfs_result((4096, 4096, 1000, 600, 500, files, files // 2, files // 2, 0, 255))


def _exporter(root: Path) -> Exporter:
    return Exporter("host", with_node_names(collectors(Host(root, _statvfs))), timer=no_time)


@pytest.mark.parametrize("case", cases("host"), ids=lambda case: case.name)
def test_golden(case):
    check_golden(case, _exporter(case / "input").exposition())


def test_a_root_without_proc_fails_every_collector_and_not_the_scrape(tmp_path):
    text = create("host", {"root": str(tmp_path)}, timer=no_time).exposition().decode()

    assert re.findall(r'^exporter_success\{collector="(\w+)"\} 1$', text, re.MULTILINE) == []
    assert text.count("exporter_success{") == 9


def test_one_broken_source_costs_only_itself(tmp_path):
    (tmp_path / "proc/sys/fs").mkdir(parents=True)
    (tmp_path / "proc/sys/fs/file-nr").write_text("640\t0\t1000\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4 kB\n")
    (tmp_path / "proc/stat").write_text("cpu0 broken\n")

    text = create("host", {"root": str(tmp_path)}).exposition().decode()

    assert "host_file_descriptors_allocated 640\n" in text
    assert "host_memory_total_bytes 4096\n" in text
    assert 'exporter_success{collector="host_cpu"} 0\n' in text


@pytest.mark.parametrize(("values", "expected"), [
    ([10.0, 10.5], [10.0, 10.5]),
    ([10.0, 9.99, 10.01], [10.0, 10.0, 10.01]),
    ([10.0, 1.0, 2.0], [10.0, 1.0, 2.0]),
], ids=["rising", "iowait steps back a little: held", "the CPU came back: let through"])
def test_cpu_seconds_do_not_step_back_a_little(values, expected):
    held = _Held()

    assert [held("0", "iowait", value) for value in values] == expected


def test_sockets_are_counted_by_state_whichever_way_the_kernel_is_asked():
    """A listener and a connection of ours, in both ways' answers; what others do meanwhile does not matter."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        by_netlink = sock_diag.tcp_states()
        tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]  # the second is not there without IPv6
        by_text = sum((procfs.parse_tcp(table.read_text()) for table in tables if table.exists()), Counter())

    for states in (by_netlink, by_text):
        assert states["listen"] >= 1
        assert states["established"] >= 2
    assert set(by_netlink) <= set(procfs.TCP_STATES.values())


def test_the_kernels_answers_are_read_and_its_refusal_is_an_error():
    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body

    states: Counter[str] = Counter()
    last = [sock_diag.count(message(20, bytes([2, state]) + bytes(70)) * 2, states) for state in (1, 10, 99)]

    assert last == [False, False, False]
    assert sock_diag.count(message(3, bytes(4)), states)
    assert states == {"established": 2, "listen": 2, "unknown": 2}
    with pytest.raises(OSError, match="refuses to list sockets"):
        sock_diag.count(message(2, struct.pack("=i", -1)), states)


def test_mounts_are_told_once_a_device_with_their_names_unescaped():
    text = "/dev/a /var/lib ext4 rw 0 0\n/dev/a / ext4 rw,errors=ro 0 0\n/dev/b /a\\040b\\134 xfs ro,x 0 0\n"

    assert procfs.parse_mounts(text) == [
        procfs.Mount("/dev/a", "/", "ext4", False), procfs.Mount("/dev/b", "/a b\\", "xfs", True),
    ]


def test_left_out_collectors_are_not_there():
    options = {"root": "/", "without": "tcp, pressure", "node-names": "false"}

    assert {"host_tcp", "host_pressure"} & {one.name for one in build(options)} == set()


@pytest.mark.real
def test_figures_agree_with_the_real_node_exporter(tmp_path):
    """Same names, same label sets, and what only rises lies between theirs of before and after: the machine goes on."""
    binary, url = require("prometheus-node-exporter"), f"127.0.0.1:{free_port()}"
    with RealProcess("node", [binary, f"--web.listen-address={url}"], tmp_path) as node:
        node.wait_healthy(lambda: http_get(f"http://{url}/metrics"))
        theirs = _samples(http_get(f"http://{url}/metrics").decode())
        ours = _samples(create("host", {"node-names": "true"}).exposition().decode())
        after = _samples(http_get(f"http://{url}/metrics").decode())

    shared = {key for key in ours if key in theirs and key in after and key[0].startswith("node_")}
    cpus = os.cpu_count() or 1
    assert len([key for key in shared if key[0] == "node_cpu_seconds_total"]) == 8 * cpus
    steady = {"node_memory_MemTotal_bytes", "node_boot_time_seconds", "node_filefd_maximum"}
    assert {key[0]: ours[key] for key in shared if key[0] in steady} == {name: theirs[name, ()] for name in steady}
    off = {
        key: (theirs[key], ours[key], after[key]) for key in shared if key[0].endswith("_total")
        # A little more: iowait steps back now and then.
        and not 0.99 * theirs[key] - 1 <= ours[key] <= 1.01 * after[key] + 1
    }
    assert off == {}
    assert len({key[0] for key in shared}) > 50


def _samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples
    }


def test_the_command_prints_once_and_names_what_it_does_not_know():
    known, unknown, option = _export("host", "--once"), _export("hots"), _export("host", "--once", "--without", "disc")

    assert (known.returncode, unknown.returncode, option.returncode) == (0, 2, 2)
    assert "host_memory_total_bytes " in known.stdout
    assert "did you mean `host`?" in unknown.stderr
    assert "there is no collector disc; known are: cpu, memory" in option.stderr


def _export(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "observe", "export", *words], capture_output=True, text=True, check=False,
    )
