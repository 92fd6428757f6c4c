"""The rules that ship: each is complete, tested both ways, and runs in a plain Prometheus where it has no band."""

import re
import subprocess
from pathlib import Path

import pytest

from observe.alert.rule_files import BUILTIN, find_files, load_files
from observe.alert.rules import lint
from observe.alert.ruletest import run_file
from observe.alert.ruletest_file import read
from observe.detect.staged import create
from observe.promql.engine import Engine
from observe.testing import MemorySource
from tests.real.process import require

FILES = find_files(["builtin"])
TESTS = sorted((BUILTIN / "tests").glob("*.yml"))
ALERTS = [rule for group in load_files(FILES) for rule in group.rules if rule.kind == "alerting"]
DOCS = Path(__file__).parents[2] / "docs"


def test_they_load_without_a_problem_or_a_warning():
    groups = load_files(FILES, Engine(MemorySource()).check)
    assert lint(groups) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_their_rule_tests_pass(path):
    assert run_file(path, create).failures == ()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_each_has_a_test_that_fires_and_one_that_stays_quiet(rule):
    cases = [case for path in TESTS for test in read(path).tests for case in test.alerts if case.alertname == rule.name]
    assert any(case.expected for case in cases), "fires"
    if rule.name != "Watchdog":
        assert any(not case.expected for case in cases), "stays quiet"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.name)
def test_each_says_what_it_means_and_links_a_runbook_that_exists(rule):
    assert {"summary", "description", "runbook_url"} <= rule.annotations.keys()
    name = re.fullmatch(r"\{\{ externalURL \}\}/runbooks/([a-z-]+)", rule.annotations["runbook_url"])
    assert name is not None
    assert (DOCS / "runbooks" / f"{name[1]}.md").is_file()


@pytest.mark.parametrize("rule", [rule for rule in ALERTS if rule.band], ids=lambda rule: rule.name)
def test_each_band_holds_has_a_direction_and_a_least_deviation(rule):
    band = rule.band
    assert band.hold
    assert band.direction != "both"
    assert band.min_abs > 0 or band.min_rel > 0
    assert band.trigger.m >= 3
    assert band.relearn_after_ms >= 8 * 3_600_000, "a fault of a working day stays on"
    assert rule.keep_firing_for_ms >= 120_000, "what comes and goes is one page"


@pytest.mark.real
def test_the_real_promtool_takes_the_files_and_their_tests_where_there_is_no_band(tmp_path):
    promtool = require("promtool")
    plain = [path for path in FILES if "band:" not in path.read_text()]
    assert plain
    words = [promtool, "check", "rules", *plain]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
