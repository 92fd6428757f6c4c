"""The commands as people call them: what they print, and how they end."""

import json
import re

import pytest

from observe.cli import main
from observe.testing import WebhookSink
from tests.alert.test_ruletest import RULES, TESTS
from tests.notify.desk import Office, Phone, close_all, firing
from tests.notify.test_alertmanager_api import serving


def test_check_says_what_it_found(capsys):
    assert main(["check", "--only", "rules"]) == 0
    assert re.search(r"rules: fine \(\d+ files, \d+ groups, \d+ alerts \(\d+ with bands\)", capsys.readouterr().out)


def test_check_tells_all_problems_and_fails(tmp_path, capsys):
    (tmp_path / "a.yml").write_text("groups:\n- name: g\n  rules:\n  - {alert: A, expr: sum(, fro: 1}\n")
    assert main(["check", "--only", "rules", "--rules", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "rules: 2 problems" in said.out
    assert "a.yml:4: unknown key `fro`" in said.err


def test_check_warns_of_what_leaves_on_call_alone(tmp_path, capsys):
    (tmp_path / "a.yml").write_text("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0}\n")
    words = ["check", "--only", "rules", "--rules", str(tmp_path)]
    assert main(words) == 0
    assert "has no summary and no runbook_url" in capsys.readouterr().err
    assert main([*words, "--strict"]) == 1


def test_check_prints_json_alone(tmp_path, capsys):
    (tmp_path / "a.yml").write_text("nope: 1\n")
    assert main(["check", "--only", "rules", "--rules", str(tmp_path), "--json"]) == 1
    (part,) = json.loads(capsys.readouterr().out)
    assert (part["part"], part["errors"][0]["line"]) == ("rules", 1)


def test_test_rules_passes_fails_and_is_used_wrongly(tmp_path, capsys):
    (tmp_path / "rules.yml").write_text(RULES)
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(TESTS)
    bad.write_text(TESTS.replace("eval_time: 3m\n", "eval_time: 2m\n"))
    assert main(["test-rules", str(good)]) == 0
    assert "1 tests, 6 checks: passed" in capsys.readouterr().out
    assert main(["test-rules", str(good), str(bad)]) == 1
    assert "it does not fire" in capsys.readouterr().err
    assert main(["test-rules", str(bad), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)[0]["failures"]) == 1
    assert main(["test-rules", str(tmp_path / "absent.yml")]) == 2


def test_silences_are_added_listed_and_expired_on_a_running_server(tmp_path, capsys):
    from observe.clock import SystemClock

    office = Office(tmp_path, Phone(), clock=SystemClock())
    alert = firing(office.clock)
    office.accept(alert)
    with serving(office) as url:
        words = ["instance=a", "service=~gate.*", "--for", "2h", "--comment", "x"]
        assert main(["silence", "add", *words, "--url", url]) == 0
        made = capsys.readouterr().out.strip()
        assert office.notifier.silenced_by(alert.labels, office.clock.now_ms()) == [made]
        assert main(["silence", "list", "--url", url]) == 0
        assert 'instance="a" service=~"gate.*"' in capsys.readouterr().out
        assert main(["silence", "expire", made, "--url", url]) == 0
        capsys.readouterr()
        assert main(["silence", "list", "--json", "--url", url]) == 0
        assert json.loads(capsys.readouterr().out) == []
        assert main(["silence", "expire", "unknown", "--url", url]) == 1
        assert "silence unknown does not exist" in capsys.readouterr().err
        assert main(["notify", "test", "--url", url]) == 0
        assert "phone: delivered (200)" in capsys.readouterr().out
    close_all()


@pytest.mark.parametrize(("words", "code", "message"), [
    (["silence", "add", "--url", "http://127.0.0.1:9"], 2, "which alerts?"),
    (["silence", "add", "novalue", "--url", "http://127.0.0.1:9"], 2, "is not a matcher"),
    (["silence", "add", "a=b", "--for", "long"], 2, "is not a duration"),
    (["silence", "list", "--url", "http://127.0.0.1:9"], 1, "no answer from http://127.0.0.1:9"),
    (["silence", "list", "--url", "file:///etc/passwd"], 2, "is not the address of a server"),
    (["notify", "test", "--webhook", "http://127.0.0.1:9/x", "--receiver", "nobody"], 2, "no receiver 'nobody'"),
])
def test_wrong_use_and_absent_servers_are_told(capsys, words, code, message):
    assert main(words) == code
    assert message in capsys.readouterr().err


def test_a_test_page_goes_to_a_webhook_directly(capsys):
    with WebhookSink() as sink:
        assert main(["notify", "test", "--webhook", sink.url]) == 0
        (request,) = sink.wait_for(1)
    told = request.json()
    assert (told["test"], told["alerts"][0]["labels"]["test"]) == (True, "true")
    assert "webhook1: delivered" in capsys.readouterr().out


def test_a_test_page_that_does_not_arrive_fails(capsys):
    with WebhookSink(answers=[500]) as sink:
        assert main(["notify", "test", "--webhook", sink.url, "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["ok"], "500" in told["detail"]) == (False, True)
