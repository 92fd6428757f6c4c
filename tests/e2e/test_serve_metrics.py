"""`observe serve-metrics` as a process: an existing prometheus.yml, its rules, a restart on the same data."""

import json
import signal
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest

from observe.testing import FakeTarget
from tests.e2e.product import ROOT
from tests.real.process import free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RULES = """\
groups:
- name: g
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Answers
    expr: up == 1
"""


def start(folder, port, config):
    return subprocess.Popen(
        [sys.executable, "-m", "observe", "serve-metrics", "--listen", f"127.0.0.1:{port}", "--data", str(folder),
         "--prometheus-config", str(config)], cwd=ROOT, stdout=subprocess.DEVNULL,
    )


def query(port, expr):
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expr)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return [(row["metric"], float(row["value"][1])) for row in json.load(answer)["data"]["result"]]


def test_a_prometheus_configuration_runs_as_it_is_and_samples_survive_a_restart(tmp_path):
    with FakeTarget("asked_total 7\n") as target:
        (tmp_path / "rules.yml").write_text(RULES)
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
            f"scrape_configs:\n- job_name: fake\n  static_configs: [{{targets: ['{target.address}']}}]\n",
        )
        port = free_port()
        process = start(tmp_path / "data", port, tmp_path / "prometheus.yml")
        try:
            wait_until(lambda: query(port, 'asked_total{job="fake"} == 7'), "a scrape", 60)
            wait_until(lambda: query(port, 'job:up:sum{job="fake"} == 1'), "a recording", 30)
            wait_until(lambda: query(port, 'ALERTS{alertname="Answers",alertstate="firing"}'), "an alert", 30)
        finally:
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(120)
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    process = start(tmp_path / "data", port, tmp_path / "prometheus.yml")
    try:
        found = wait_until(lambda: query(port, "max_over_time(asked_total[10m])"), "the samples of before", 60)
        assert [7.0] == [value for _, value in found]
    finally:
        process.kill()
        process.wait(60)
