"""Fifty thousand scraped series, rules that run, eight clients at once: instant queries beside the real Prometheus.

Each server in turn scrapes fifty pages of a thousand series and evaluates two hundred rules, while eight clients ask
for 250 to 550 of the series each, one question after the other. One more client asks for nothing but a sign of life,
which the event loop answers by itself: how long that takes is how late the loop is. Times are those of a machine that
is busy with all of that at once; what counts is the ratio.
"""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from tests.real.process import RealProcess, free_port, http_get, require, wait_until

pytestmark = pytest.mark.real
HERE = Path(__file__).parent
TARGETS, RULES, CLIENTS, WINDOW_S = 50, 200, 8, 8.0
PACES = {"as fast as they can": 0.0, "ten a second each": 0.1}
MUST = 1.0


def questions(ports):
    """What the clients ask in turns."""
    return [
        lambda n: f'requests_total{{instance="127.0.0.1:{ports[n % TARGETS]}"}}',
        lambda n: f'requests_total{{handler="/h{n % 50}"}}',
        lambda n: f'depth{{queue=~"q{1 + n % 9}."}}',
        lambda n: f'sum by (code) (rate(requests_total{{handler="/h{n % 50}"}}[2m]))',
        lambda n: "histogram_quantile(0.9, sum by (le, handler) (rate(latency_seconds_bucket"
                  f'{{instance="127.0.0.1:{ports[n % TARGETS]}"}}[2m])))',
        lambda n: f'depth{{queue="q7",instance="127.0.0.1:{ports[n % TARGETS]}"}}',
    ]


@pytest.fixture(scope="module")
def targets():
    with subprocess.Popen([sys.executable, HERE / "scrape_targets.py", str(TARGETS)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        yield json.loads(child.stdout.readline())
        child.stdin.close()


def written_config(folder, ports):
    expr = 'sum by (instance) (rate(requests_total{handler="/h%d"}[2m])) > 1e9'
    rules = [{"alert": f"Rule{n}", "expr": expr % (n % 50)} for n in range(RULES)]
    groups = [{"name": f"group{n}", "rules": rules[n::10]} for n in range(10)]
    (folder / "rules.yml").write_text(json.dumps({"groups": groups}))
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"}, "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [
            {"job_name": "sim", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}],
    }))
    return config


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asking(port, ask, pace_s, first, stop, taken):
    """One client: over one connection, question after question."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number, due = first, time.perf_counter() + first * pace_s / CLIENTS
    while not stop.wait(max(0.0, due - time.perf_counter()) if pace_s else 0):
        path = ask(number)
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter() - began)
        assert answer.status == 200, path
        number, due = number + 1, max(due + pace_s, began)
    connection.close()


def hundredth(taken):
    return statistics.quantiles(taken, n=100, method="inclusive")[98] * 1e3


def load(child, port, ports, pace_s):
    """Milliseconds: median and p99 of the queries, p99 of the signs of life; and CPU milliseconds a query."""
    each, stop, taken, alive = questions(ports), threading.Event(), [], []

    def ask(number):
        return "/api/v1/query?" + urllib.parse.urlencode({"query": each[number % len(each)](number)})

    clients = [threading.Thread(target=asking, args=(port, ask, pace_s, first, stop, taken))
               for first in range(CLIENTS)]
    clients.append(threading.Thread(target=asking, args=(port, lambda _: "/-/healthy", 0.02, 0, stop, alive)))
    before = cpu_s(child.pid)
    for one in clients:
        one.start()
    time.sleep(WINDOW_S)
    stop.set()
    for one in clients:
        one.join()
    return {"p50": round(statistics.median(taken) * 1e3, 2), "p99": round(hundredth(taken), 1),
            "alive_p99": round(hundredth(alive), 1), "queries": len(taken),
            "cpu_ms": round((cpu_s(child.pid) - before) / len(taken) * 1e3, 2)}


def measured(name, command, folder, port, ports):
    base = f"http://127.0.0.1:{port}"
    with RealProcess(name, command, folder, env={"PYTHONPATH": str(HERE.parent)}) as child:
        def all_there():
            found = json.loads(http_get(f"{base}/api/v1/query?query=count(%7Bjob=%22sim%22%7D)"))
            return found["data"]["result"] and int(found["data"]["result"][0]["value"][1]) >= TARGETS * 1000

        wait_until(all_there, "all is scraped", 90, 0.5)
        wait_until(lambda: b'"health":"ok"' in http_get(f"{base}/api/v1/rules"), "rules run", 60, 0.5)
        load(child, port, ports, 0.0)  # both warm
        return {pace: load(child, port, ports, pace_s) for pace, pace_s in PACES.items()}


@pytest.mark.timeout(300)
def test_instant_queries_of_hundreds_of_fifty_thousand_series_by_eight_clients(benchmark, targets, tmp_path):
    config, ours_port, peer_port = written_config(tmp_path, targets), free_port(), free_port()
    ours = measured("observe", [
        sys.executable, "-m", "observe", "serve-metrics", "--listen", f"127.0.0.1:{ours_port}", "--data",
        str(tmp_path / "ours"), "--prometheus-config", str(config)], tmp_path, ours_port, targets)
    peer = measured("prometheus", [
        require("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/peer", "--log.level=error",
        f"--web.listen-address=127.0.0.1:{peer_port}"], tmp_path, peer_port, targets)
    for pace in PACES:
        benchmark.extra_info[pace] = {"ours": ours[pace], "prometheus": peer[pace],
                                      "p99_ratio": round(ours[pace]["p99"] / peer[pace]["p99"], 2)}
    benchmark.pedantic(lambda: None, rounds=1)

    closed = "as fast as they can"
    assert ours[closed]["cpu_ms"] <= MUST * peer[closed]["cpu_ms"]
