"""The whole product: cold start, idle CPU and memory, and what the install takes. Printed, never asserted."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.product import Product
from tests.real.process import free_port

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid):
    """Resident now, resident at most so far, and of it now what is no file."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return [int(told[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM", "RssAnon")]


@pytest.mark.timeout(600)
def test_cold_start_and_idle_cost(tmp_path):
    subprocess.run([sys.executable, "-m", "observe.compile_kernels"], check=True, stdout=subprocess.DEVNULL,
                   cwd=Path(__file__).parents[1])
    began = time.monotonic()
    with Product(tmp_path / "data") as product:
        ready = time.monotonic() - began
        time.sleep(240)
        used, at = cpu_seconds(product.process.pid), time.monotonic()
        time.sleep(60)
        share = (cpu_seconds(product.process.pid) - used) / (time.monotonic() - at)
        resident, most, own = memory_mb(product.process.pid)
        print(f"\nobserve up: ready after {ready:.1f} s; idle at a 15 s interval, after 5 min: {share:.1%} of a core, "
              f"{resident:.0f} MB resident ({own:.0f} MB of it not files), at most {most:.0f} MB")
        product.interrupt()


@pytest.mark.timeout(120)
def test_metrics_server_start(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "observe", "serve-metrics", "--listen", address, "--data", str(tmp_path)],
        cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL,
    ) as process:
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/api/v1/query?query=1", timeout=1).close()
                break
            except OSError:
                time.sleep(0.01)
        print(f"\nobserve serve-metrics: answers after {time.monotonic() - began:.2f} s")
        process.terminate()
