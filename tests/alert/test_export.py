"""Rules for a plain Prometheus: accepted by the real promtool; what cannot be said is told."""

import subprocess

import pytest
import yaml

from observe.alert.export import parse_version, to_prometheus
from observe.alert.rule_files import find_files, load_files
from observe.cli import main
from observe.errors import RuleError
from tests.alert.world import rules
from tests.real.process import require

BAND = """\
groups:
- name: g
  interval: 5s
  rules:
  - {record: "a:b", expr: sum(up)}
  - alert: Odd
    expr: sum by (job) (load)  # why
    band: {direction: above}
    for: 1m
    labels: {severity: warning}
    annotations: {summary: "{{ $value }}", runbook_url: "{{ externalURL }}/runbooks/x"}
"""


def test_a_band_becomes_a_condition_on_its_series():
    told = yaml.safe_load(to_prometheus(rules(BAND), external_url="http://o.example/"))
    (group,) = told["groups"]
    assert group["rules"] == [
        {"record": "a:b", "expr": "sum(up)"},
        {
            "alert": "Odd",
            "expr": '(\nsum by (job) (load)\n) and ignoring (rule, replica) (observe_band_firing{rule="g/Odd"} == 1)',
            "for": "1m",
            "labels": {"severity": "warning"},
            "annotations": {"summary": "{{ $value }}", "runbook_url": "http://o.example/runbooks/x"},
        },
    ]


CANNOT = [
    ("band words", BAND.replace("{{ $value }}", "over {{ $upper }}"), "2.42", "`annotations.summary` says `$upper`"),
    ("no_data: alert", BAND.replace("above", "above, no_data: alert"), "2.42", "`no_data: alert` cannot be expressed"),
    ("a label rule", BAND.replace("by (job)", "by (rule)"), "2.42", "its result has a label `rule`"),
    ("a label replica", BAND.replace("by (job)", "by (replica)"), "2.42", "its result has a label `replica`"),
    ("a label made", BAND.replace("sum by (job) (load)", 'count_values("rule", load)'), "2.42", "a label `rule`"),
    ("a label put on", BAND.replace("sum by (job) (load)", """'label_replace(x, "rule", "", "", "")'"""), "2.42",
     "its result has a label `rule`"),
    ("keep_firing_for", BAND.replace("for: 1m", "keep_firing_for: 1m"), "2.41", "Prometheus has it since 2.42"),
    ("query_offset", BAND.replace("interval: 5s", "query_offset: 5s"), "2.52", "Prometheus has it since 2.53"),
]


@pytest.mark.parametrize(("text", "version", "message"), [c[1:] for c in CANNOT], ids=[c[0] for c in CANNOT])
def test_what_cannot_be_expressed_names_the_rule(text, version, message):
    groups = rules(text)
    with pytest.raises(RuleError, match="g") as caught:
        to_prometheus(groups, parse_version(version))
    assert message in str(caught.value)


ODD = {
    "a number": "1 + 1",
    "a label that is aggregated away": 'sum without (replica) (load{replica="a"})',
    "a label that is matched away": "load / ignoring (rule) sum by (job) (load)",
    "a word that is no label": "sum by (job) (rule)",
    "quotes": 'load{path="a\\"b"} or load{job=~"\\\\d"}',
}


@pytest.mark.real
@pytest.mark.parametrize("case", ODD)
def test_the_real_promtool_takes_odd_expressions(tmp_path, case):
    promtool = require("promtool")
    (group,) = yaml.safe_load(BAND)["groups"]
    group["rules"][1] |= {"alert": 'Odd "é" \\', "expr": ODD[case]}
    path = tmp_path / "rules.yml"
    path.write_text(to_prometheus(rules(yaml.safe_dump({"groups": [group]}))))

    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False, timeout=120)

    assert "SUCCESS: 2 rules found" in done.stdout, done.stderr


@pytest.mark.real
def test_the_real_promtool_takes_the_shipped_rules(tmp_path, capsys):
    promtool = require("promtool")
    path = tmp_path / "rules.yml"
    assert main(["rules", "export", "--format", "prometheus", "--output", str(path)]) == 0
    assert "of them on observe_band_firing" in capsys.readouterr().out
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False, timeout=120)
    assert "SUCCESS" in done.stdout, done.stderr


@pytest.mark.real
def test_a_plain_prometheus_runs_an_exported_band_rule(tmp_path):
    """promtool evaluates it: firing while the band series says so, with the value and labels of the expression."""
    promtool = require("promtool")
    (tmp_path / "rules.yml").write_text(to_prometheus(rules(BAND.replace("    for: 1m\n", "")), external_url="http://o"))
    (tmp_path / "tests.yml").write_text("""\
rule_files: [rules.yml]
evaluation_interval: 5s
tests:
- interval: 5s
  input_series:
  - {series: 'load{job="a",instance="1"}', values: "3x10"}
  - {series: 'load{job="b",instance="1"}', values: "3x10"}
  - {series: 'observe_band_firing{rule="g/Odd",job="a"}', values: "0x4 1x5"}
  - {series: 'observe_band_firing{rule="g/Odd",job="b"}', values: "0x10"}
  - {series: 'observe_band_firing{rule="g/Odd",job="a",replica="2"}', values: "0x4 1x5"}
  alert_rule_test:
  - {eval_time: 20s, alertname: Odd}
  - eval_time: 30s
    alertname: Odd
    exp_alerts:
    - exp_labels: {job: a, severity: warning}
      exp_annotations: {summary: "3", runbook_url: "http://o/runbooks/x"}
""")
    words = [promtool, "test", "rules", tmp_path / "tests.yml"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_versions_are_read():
    assert [parse_version(text) for text in ("2.42", "v3.1.0", "2.53.1-rc.0")] == [(2, 42), (3, 1), (2, 53)]
    assert main(["rules", "export", "--target-version", "new"]) == 2


def test_every_shipped_rule_can_be_exported():
    assert "groups:" in to_prometheus(load_files(find_files(["builtin"])))


def test_a_link_such_as_dev_stdout_is_written_through(tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "rules.yml")

    assert 0 == main(["rules", "export", "--format", "prometheus", "--output", str(tmp_path / "link")])

    assert (tmp_path / "link").is_symlink()
    assert yaml.safe_load((tmp_path / "rules.yml").read_text())["groups"]
    told = capsys.readouterr()
    assert "" == told.out
    assert "observe_band_firing" in told.err
