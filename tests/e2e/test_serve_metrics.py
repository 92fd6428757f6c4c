"""`observe serve-metrics` as a process: an existing prometheus.yml, its rules, a restart on the same data."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest

from observe import cli
from observe.model import Labels
from observe.testing import FakeTarget
from tests.e2e.product import ROOT
from tests.promql import remote_write
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

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def start(folder, port, config, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "observe", "serve-metrics", "--listen", f"127.0.0.1:{port}", "--data", str(folder),
         "--prometheus-config", str(config), *more], cwd=ROOT, stdout=subprocess.DEVNULL,
    )


def query(port, expr):
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expr)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return [(row["metric"], float(row["value"][1])) for row in json.load(answer)["data"]["result"]]


def test_a_prometheus_configuration_runs_as_it_is_and_samples_survive_a_restart(tmp_path):
    page = f'# TYPE asked counter\nasked_total 7 # {{trace_id="{TRACE}"}} 0.5\n# EOF\n'
    with FakeTarget(page, "application/openmetrics-text; version=1.0.0; charset=utf-8", how="gzip") as target:
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
            exemplars = json.loads(ask(port, "/api/v1/query_exemplars", query="rate(asked_total[5m])")[1])["data"]
            wait_until(lambda: query(port, 'ALERTS{alertname="Answers",alertstate="firing"}'), "an alert", 30)
        finally:
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(120)
    assert [({"trace_id": TRACE}, "0.5")] == [
        (one["labels"], one["value"]) for row in exemplars for one in row["exemplars"]]
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    process = start(tmp_path / "data", port, tmp_path / "prometheus.yml")
    try:
        found = wait_until(lambda: query(port, "max_over_time(asked_total[10m])"), "the samples of before", 60)
        assert [7.0] == [value for _, value in found]
    finally:
        process.kill()
        process.wait(60)


def test_a_hangup_signal_reloads_what_can_be_read_and_the_shown_configuration_is_the_one_in_force(tmp_path):
    file = tmp_path / "prometheus.yml"

    def write(job, more=""):
        file.write_text(f"scrape_configs:\n- job_name: {job}\n  basic_auth: {{username: me, password: s3cret}}\n"
                        f"  static_configs: [{{targets: ['127.0.0.1:1']}}]\n{more}")

    def shown():
        return json.loads(ask(port, "/api/v1/status/config")[1])["data"]["yaml"]

    def pools():
        return json.loads(ask(port, "/api/v1/scrape_pools")[1])["data"]["scrapePools"]

    write("before")
    port = free_port()
    process = start(tmp_path / "data", port, file)
    try:
        wait_until(lambda: pools() == ["before"], "the first job", 60)
        write("broken", "nonsense: 1\n")
        process.send_signal(signal.SIGHUP)
        refused = "observe_config_last_reload_successful 0.0"
        wait_until(lambda: refused in ask(port, "/metrics")[1], "the refusal", 30)
        assert (["before"], True, False) == (pools(), "job_name: before" in shown(), "s3cret" in shown())
        write("after")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: pools() == ["after"], "the new job", 30)
        assert (True, False) == ("job_name: after" in shown(), "s3cret" in shown())
    finally:
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(120)


def ask(port, path, **params):
    """Status and body of what the server answers."""
    url = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(params)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


LIMITS = [
    ("samples", {"query": "count_over_time(vector(1)[2m:1s])"}, 422, "execution", "too many samples"),
    ("series", {"query": '{__name__=~"many|few"}'}, 422, "execution", "21 series, the limit is 20"),
    ("steps", {"query": "few", "start": "0", "end": "101", "step": "1"}, 400, "bad_data", "resolution of 100 points"),
    ("time", {"query": "few", "timeout": "0"}, 503, "timeout", "timed out|longer than 0 s"),
]


def test_limits_labels_and_flags_are_as_given(tmp_path):
    """Each limit of a query answers with Prometheus' error JSON; `external_labels` are told; the flags say all this."""
    page = "".join(f'many{{n="{n}"}} 1\n' for n in range(20)) + "few 1\n"
    with FakeTarget(page) as target:
        (tmp_path / "rules.yml").write_text(
            "groups:\n- name: g\n  rules:\n  - alert: Few\n    expr: few == 1\n    annotations:\n"
            "      summary: few in {{ $externalLabels.region }} by {{ $externalURL }}\n")
        (tmp_path / "prometheus.yml").write_text(
            # A scrape that comes too late ends its series: a busy machine is given five seconds.
            "global: {scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 1s,"
            " external_labels: {region: eu, n: none}}\n"
            "rule_files: [rules.yml]\n"
            f"scrape_configs:\n- job_name: fake\n  static_configs: [{{targets: ['{target.address}']}}]\n",
        )
        port = free_port()
        process = start(tmp_path / "data", port, tmp_path / "prometheus.yml", "--query-timeout", "90s",
                        "--query-max-samples", "50", "--query-max-series", "20", "--query-max-steps", "100",
                        "--retention", "30d", "--retention-size", "2GB")
        try:
            wait_until(lambda: query(port, 'ALERTS{alertname="Few"}'), "an alert", 60)
            told = {name: found for name, params, *_ in LIMITS for found in [limited(port, params)]}
            alerts = json.loads(ask(port, "/api/v1/alerts")[1])["data"]["alerts"]
            federated = ask(port, "/federate", **{"match[]": '{__name__=~"few|many",n=~"|7"}'})[1]
            flags = json.loads(ask(port, "/api/v1/status/flags")[1])["data"]
        finally:
            process.kill()
            process.wait(60)

    for name, _, status, kind, words in LIMITS:
        code, answer = told[name]
        assert (name, status, "error", kind) == (name, code, answer["status"], answer["errorType"])
        assert re.search(words, answer["error"])
    assert [f"few in eu by http://127.0.0.1:{port}"] == [alert["annotations"]["summary"] for alert in alerts]
    where = f'instance="{target.address}",job="fake"'
    assert [f'few{{{where},n="none",region="eu"}} 1', f'many{{{where},n="7",region="eu"}} 1'] == [
        line.rsplit(" ", 1)[0] for line in federated.splitlines() if line[0] != "#"]
    assert ("1m30s", "50", "20", "100", f"127.0.0.1:{port}", "30d", "2000000000B") == tuple(
        flags[name] for name in ("query.timeout", "query.max-samples", "query.max-series", "query.max-steps",
                                 "web.listen-address", "storage.tsdb.retention.time", "storage.tsdb.retention.size"))


def limited(port, params):
    code, body = ask(port, "/api/v1/query_range" if "step" in params else "/api/v1/query", **params)
    return code, json.loads(body)


def test_old_samples_in_any_order_can_be_asked_for_once_their_write_was_answered(tmp_path):
    labels = Labels({"__name__": "imported", "job": "old"})
    port = free_port()
    (tmp_path / "empty.yml").write_text("scrape_configs: []\n")
    process = start(tmp_path / "data", port, tmp_path / "empty.yml", "--accept-old")
    try:
        wait_until(lambda: ask(port, "/-/ready")[0] == 200, "the server", 60)
        for minute in (7, 3, 90 * 525_960, 5):  # of 1970, but for one of 2060
            body = remote_write.request([(labels, [(minute * 60_000, minute)])])
            request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/write", body, remote_write.HEADERS)
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert 204 == answer.status
            told = json.loads(ask(port, "/api/v1/query", query="imported", time=minute * 60)[1])["data"]["result"]
            assert [str(minute)] == [row["value"][1] for row in told]
        found = json.loads(ask(port, "/api/v1/query", query="imported[1h]", time="3600")[1])["data"]["result"]
    finally:
        process.kill()
        process.wait(60)

    assert [[180, "3"], [300, "5"], [420, "7"]] == found[0]["values"]


@pytest.mark.parametrize("words", [["--query-timeout", "soon"], ["--query-lookback", "0"], ["--query-max-steps", "-1"],
                                   ["--query-max-samples", "0"], ["--retention", "long"],
                                   ["--retention-size", "10"]])
def test_a_limit_that_is_none_is_refused(tmp_path, words, capsys):
    assert 2 == cli.main(["serve-metrics", "--data", str(tmp_path / "data"), *words])
    assert words[0] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
