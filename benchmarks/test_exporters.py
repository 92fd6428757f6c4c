"""The CPU of a scrape of the host exporter, against the real node_exporter with the same collectors in the same run."""

import os
import sys
from pathlib import Path

from tests.real.process import RealProcess, free_port, http_get, require

SCRAPES = 200
AT_MOST = 2.0
"""Times node_exporter's CPU. Ours is Python, theirs compiled; what matters is that both are near nothing."""
COLLECTORS = (
    "cpu", "stat", "meminfo", "vmstat", "diskstats", "filesystem", "netdev", "netstat", "sockstat", "tcpstat",
    "pressure", "filefd", "loadavg",
)


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def cost(process: RealProcess, url: str) -> float:
    """CPU seconds of one scrape, over many."""
    for _ in range(5):
        http_get(url)
    before = cpu_seconds(process.pid)
    for _ in range(SCRAPES):
        http_get(url)
    return (cpu_seconds(process.pid) - before) / SCRAPES


def test_a_scrape_of_the_host_costs_little_more_than_node_exporters(benchmark, tmp_path):
    port = free_port()
    theirs_url = f"http://127.0.0.1:{port}/metrics"
    flags = [f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--web.disable-exporter-metrics"]
    flags += [f"--collector.{name}" for name in COLLECTORS]
    here = {"PYTHONPATH": str(Path.cwd())}
    ours_argv = [sys.executable, "-m", "observe", "export", "host", "--listen", "127.0.0.1:0"]
    with RealProcess("node", [require("prometheus-node-exporter"), *flags], tmp_path) as node, \
            RealProcess("ours", ours_argv, tmp_path, env=here) as ours:
        node.wait_healthy(lambda: http_get(theirs_url))
        ours.wait_healthy(lambda: "http://" in ours.output())
        ours_url = ours.output().split()[-1]
        theirs_s, ours_s = cost(node, theirs_url), cost(ours, ours_url)
        resident = {one.name: int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) * 4096 for one in (node, ours)}
        benchmark.extra_info.update(
            cpu_ms=round(ours_s * 1000, 2), peer_cpu_ms=round(theirs_s * 1000, 2), ratio=round(ours_s / theirs_s, 2),
            at_most=AT_MOST, resident_mib=round(resident["ours"] / 2**20, 1),
            peer_resident_mib=round(resident["node"] / 2**20, 1),
        )
        print(benchmark.extra_info)
        benchmark.pedantic(http_get, args=(ours_url,), rounds=20)
    assert ours_s / theirs_s <= AT_MOST
