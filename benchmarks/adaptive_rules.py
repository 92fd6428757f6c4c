"""The real Prometheus evaluating adaptive anomaly rules (`adaptive_rules.yml`), to be measured beside our engine.

A day and two hours of points, one a minute, are put into its storage as blocks before it starts; then it evaluates (no
scrape brings new points: the last ones stand for five minutes), and the CPU of its process is read. What it does when
idle is measured first, without rules, and taken off.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import numpy as np

from observe.clock import SystemClock
from tests.real.process import RealProcess, free_port, http_ok, require, wait_until

RULES = Path(__file__).with_name("adaptive_rules.yml")
MINUTES = 26 * 60


def openmetrics(path, series, now_s):
    """Points of `m` and of the rules that look back over themselves."""
    draws = 50 + np.random.default_rng(5).standard_normal((2, MINUTES, series))
    times = now_s - 60 * MINUTES + 60 * np.arange(1, MINUTES + 1)
    with path.open("w") as out:
        for name, values in zip(("m", "m:deviation_1h"), draws, strict=True):
            out.write(f"# TYPE {name} gauge\n")
            for number in range(series):
                out.writelines(f'{name}{{i="{number}"}} {value:.4f} {at}\n'
                               for at, value in zip(times, values[:, number], strict=True))
        out.write("# EOF\n")


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counted(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page.read().decode(), re.MULTILINE)
    return sum(map(float, found))


def answered(port, query):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=10) as page:
        return int(json.load(page)["data"]["result"][0]["value"][1])


def spent(folder, rules, iterations, series):
    """CPU seconds and wall seconds of `iterations` evaluations, or of 10 s where there are no rules."""
    port, clock = free_port(), SystemClock()
    config = folder / "prometheus.yml"
    config.write_text(f"rule_files: [{rules}]\n" if rules else "global: {}\n")
    command = [require("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
               "--storage.tsdb.retention.time=100y", "--log.level=error", f"--web.listen-address=127.0.0.1:{port}"]
    with RealProcess("prometheus", command, folder) as child:
        child.wait_healthy(lambda: http_ok(f"http://127.0.0.1:{port}/-/ready"))
        done = "prometheus_rule_group_iterations_total" if rules else "process_start_time_seconds"
        first = wait_until(lambda: counted(port, done), "the first evaluation", 60)
        began, before = clock.monotonic(), cpu_s(child.pid)
        if rules:
            wait_until(lambda: counted(port, done) >= first + iterations, "evaluations", 120, 0.5)
        else:
            wait_until(lambda: clock.monotonic() - began > 10, "ten idle seconds", 30, 0.5)
        used = cpu_s(child.pid) - before, clock.monotonic() - began
        if rules:
            assert counted(port, "prometheus_rule_evaluation_failures_total") == 0
            assert [series, series] == [answered(port, f"count({name})") for name in ("m:upper", "m:lower")]
        return used


def microseconds_a_series(folder, series=500, iterations=6):
    """CPU of Prometheus for all rules of one series at one evaluation."""
    now_s = SystemClock().now_ms() // 60_000 * 60
    openmetrics(folder / "history.txt", series, now_s)
    subprocess.run([require("promtool"), "tsdb", "create-blocks-from", "openmetrics", folder / "history.txt",
                    folder / "data"], check=True, stdout=subprocess.DEVNULL)
    (folder / "history.txt").unlink()
    idle, idle_s = spent(folder, None, 0, series)
    busy, busy_s = spent(folder, RULES, iterations, series)
    shutil.rmtree(folder / "data")
    return 1e6 * (busy - idle * busy_s / idle_s) / (iterations * series)
