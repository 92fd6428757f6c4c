"""Scrape and append 20 000 series a second, against a real Prometheus on the same targets: no dearer than 1.5 times."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

MUST = 1.5
TARGETS = 20
WARM_S, WINDOW_S = 8, 12
HERE = Path(__file__).parent


@pytest.fixture
def targets():
    with subprocess.Popen([sys.executable, HERE / "scrape_targets.py", str(TARGETS)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        yield json.loads(child.stdout.readline())
        child.stdin.close()


def cpu_s(pid):
    """User and system time of a process and its reaped children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def measure(command, port, tmp_path):
    """CPU seconds a sample over the window, and how many samples were stored in it."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE.parent)
    try:
        base = f"http://127.0.0.1:{port}/api/v1/query"
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline
            try:
                if httpx.get(base, params={"query": "1"}, timeout=60).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        time.sleep(WARM_S)
        before = cpu_s(child.pid)
        time.sleep(WINDOW_S)
        spent = cpu_s(child.pid) - before
        query = f"sum(sum_over_time(scrape_samples_scraped[{WINDOW_S}s]))"
        found = httpx.get(base, params={"query": query}, timeout=60).json()
        samples = float(found["data"]["result"][0]["value"][1])
    finally:
        child.terminate()
        child.wait()
        shutil.rmtree(tmp_path, ignore_errors=True)
    return spent / samples, samples


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.timeout(180)
@pytest.mark.real
def test_scrape_and_append_cost_no_more_than_prometheus(benchmark, targets, tmp_path):
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed")
    config = tmp_path / "prometheus.yml"
    addresses = [f"127.0.0.1:{port}" for port in targets]
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "sim", "static_configs": [{"targets": addresses}]}],
    }))
    ours_port, peer_port = free_port(), free_port()
    ours, samples = measure(
        [sys.executable, "-m", "observe", "serve-metrics", "--listen", f"127.0.0.1:{ours_port}",
         "--data", tmp_path / "ours", "--prometheus-config", config], ours_port, tmp_path / "ours")
    peer, peer_samples = measure(
        [binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/peer",
         f"--web.listen-address=127.0.0.1:{peer_port}"], peer_port, tmp_path / "peer")
    benchmark.extra_info.update(
        us_a_sample=round(ours * 1e6, 2), peer_us_a_sample=round(peer * 1e6, 2), ratio=round(ours / peer, 2), must=MUST)
    benchmark.pedantic(lambda: None, rounds=1)

    assert samples == pytest.approx(peer_samples, rel=0.2)
    assert ours / peer <= MUST
