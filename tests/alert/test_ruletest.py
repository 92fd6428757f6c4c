"""Rule tests in promtool's format: ours, and the real promtool on the same files."""

import subprocess
from pathlib import Path

import pytest

from observe.alert.ruletest import run_file
from observe.detect.engine import create
from observe.errors import RuleError
from tests.real.process import require

RULES = """\
groups:
- name: g
  rules:
  - {record: "job:up:sum", expr: sum by (job) (up)}
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: critical, shown: "{{ $value }}"}
    annotations: {summary: "{{ $labels.job }} on {{ $externalLabels.region }} {{ printf \\"%.1f\\" $value }}"}
"""
TESTS = """\
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  external_labels: {region: eu}
  input_series:
  - {series: 'up{job="a"}', values: "1 0x5 1x3"}
  - {series: 'up{job="b"}', values: "1 1 _ _x3 stale 0"}
  alert_rule_test:
  - {eval_time: 1m, alertname: Down}
  - {eval_time: 2m59s, alertname: Down}
  - eval_time: 3m
    alertname: Down
    exp_alerts:
    - exp_labels: {severity: critical, job: a, shown: "0"}
      exp_annotations: {summary: "a on eu 0.0"}
  - {eval_time: 8m, alertname: Down}
  promql_expr_test:
  - expr: job:up:sum
    eval_time: 1m
    exp_samples:
    - {labels: 'job:up:sum{job="a"}', value: 0}
    - {labels: 'job:up:sum{job="b"}', value: 1}
  - expr: sum by (alertstate, job) (ALERTS)
    eval_time: 1m
    exp_samples: [{labels: '{alertstate="pending",job="a"}', value: 1}]
"""


def write(folder: Path, rules: str = RULES, tests: str = TESTS) -> Path:
    (folder / "rules.yml").write_text(rules)
    (folder / "tests.yml").write_text(tests)
    return folder / "tests.yml"


def test_a_file_that_is_right_passes(tmp_path):
    report = run_file(write(tmp_path), create)
    assert (report.failures, report.tests, report.checks) == ((), 1, 6)


@pytest.mark.parametrize("start", ["1700000000", "2023-11-14T22:13:20Z"])
def test_time_may_begin_when_the_test_says(tmp_path, start):
    tests = TESTS.replace("- interval: 1m\n", f"- interval: 1m\n  start_timestamp: {start}\n")
    tests += """\
  - {expr: 'timestamp(up{job="a"})', eval_time: 2m, exp_samples: [{labels: '{job="a"}', value: 1700000120}]}
"""
    assert run_file(write(tmp_path, tests=tests), create).failures == ()


def test_values_may_be_compared_fuzzily(tmp_path):
    tests = TESTS.replace("'job:up:sum{job=\"b\"}', value: 1}", "'job:up:sum{job=\"b\"}', value: 1.0000001}")
    assert tests != TESTS
    assert len(run_file(write(tmp_path, tests=tests), create).failures) == 1
    assert run_file(write(tmp_path, tests="fuzzy_compare: true\n" + tests), create).failures == ()


@pytest.mark.real
def test_the_real_promtool_agrees_on_the_same_file(tmp_path):
    promtool = require("promtool")
    path = write(tmp_path)
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False, timeout=300)
    assert "SUCCESS" in done.stdout, done.stdout + done.stderr


WRONG = [
    ("an alert that should not fire", "{eval_time: 1m,", "{eval_time: 4m,", '{alertname="Down", job="a"'),
    ("an alert that should fire", "eval_time: 3m\n", "eval_time: 2m\n", "it does not fire"),
    ("another annotation", "a on eu 0.0", "a on us 0.0", "has other annotations"),
    ("another label", "job: a, shown", "job: c, shown", "it does not fire"),
    ("another value", 'job:up:sum{job="b"}\', value: 1', 'job:up:sum{job="b"}\', value: 2', "expected: job:up:sum"),
    ("no such alert", "{eval_time: 8m, alertname: Down}", "{eval_time: 8m, alertname: Dwn}", "no such alert"),
]


@pytest.mark.parametrize(("old", "new", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_told(tmp_path, old, new, message):
    assert old in TESTS
    report = run_file(write(tmp_path, tests=TESTS.replace(old, new, 1)), create)
    assert any(message in failure for failure in report.failures), report.failures


MALFORMED = [
    ("unknown key", "alertname: Down}", "alrtname: Down}", "unknown key `alrtname`"),
    ("series", 'up{job="a"}', "up{job=", "this does not name a series"),
    ("values", "1 0x5 1x3", "1 0x5 one", "these are no values"),
    ("duration", "eval_time: 3m\n", "eval_time: soon\n", "this is not a duration"),
    ("rule file", "[rules.yml]", "[other.yml]", "no rule file matches"),
]


@pytest.mark.parametrize(("old", "new", "message"), [case[1:] for case in MALFORMED], ids=[c[0] for c in MALFORMED])
def test_a_malformed_test_file_is_refused_with_its_place(tmp_path, old, new, message):
    with pytest.raises(RuleError, match=message):
        run_file(write(tmp_path, tests=TESTS.replace(old, new, 1)), create)


def test_a_rule_that_fails_while_tested_is_told(tmp_path):
    rules = RULES.replace("expr: up == 0", "expr: up * on () up")
    report = run_file(write(tmp_path, rules), create)
    assert any("rule Down failed at 0s" in failure for failure in report.failures)
