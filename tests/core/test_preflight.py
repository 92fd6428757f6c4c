"""What is wrong with a configuration is told whole: the file, what it names, and the rules."""

import json

import pytest

from observe import preflight
from observe.cli import main
from observe.errors import ConfigError

BROKEN_RULES = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(rate(x[5m]\n"


def test_problems_of_every_kind_come_at_once(tmp_path):
    (tmp_path / "broken.yml").write_text(BROKEN_RULES)
    (tmp_path / "latin.yml").write_bytes(b"groups: [\xff]")
    (tmp_path / "observe.yml").write_text(
        "listn: 127.0.0.1:1\nexporters: [toaster, {gpu: {speed: '1'}}]\nrules: [nothing.yml, latin.yml, broken.yml]\n",
    )

    with pytest.raises(ConfigError) as raised:
        preflight.ready(tmp_path / "observe.yml")

    said = str(raised.value)
    for words in (
        "observe.yml:1: unknown key `listn`", "did you mean `listen`?",
        "there is no exporter 'toaster'", "known are: business",
        "exporter gpu has no option 'speed'", "no rule file matches", "latin.yml: cannot read the rule file",
        "broken.yml:5",
    ):
        assert words in said


def test_what_a_right_file_names_is_looked_at_too(tmp_path):
    (tmp_path / "tokens").write_text("viewer me short\n")
    (tmp_path / "prometheus.yml").write_text("scrape_configs:\n- job_name: a\n  scrape_intervall: 5s\n")
    (tmp_path / "observe.yml").write_text("auth: {token_file: tokens}\nprometheus_config: prometheus.yml\n")

    with pytest.raises(ConfigError) as raised:
        preflight.ready(tmp_path / "observe.yml")

    assert "the token of me has 5 characters" in str(raised.value)
    assert "scrape_intervall" in str(raised.value)


def test_what_is_not_supported_is_a_warning(tmp_path, capsys):
    (tmp_path / "prometheus.yml").write_text("remote_write: [{url: 'http://x'}]\nscrape_configs: []\n")
    (tmp_path / "observe.yml").write_text("prometheus_config: prometheus.yml\n")

    assert 0 == main(["check", "--config", str(tmp_path / "observe.yml"), "--only", "config"])
    printed = capsys.readouterr()
    assert "config: fine, 1 warning" in printed.out
    assert "prometheus.yml:1" in printed.err


@pytest.mark.parametrize(
    ("text", "config", "rules"),
    [
        ("listen: 0.0.0.0:1\n", "without authentication", None),
        ("exporters: [toaster]\n", "toaster", None),
        ("rulez: []\n", "unknown key", "does not say which"),
        ("rules: [nothing.yml, more.yml]\n", None, "more.yml"),
    ],
)
def test_check_refuses_what_up_would_refuse(tmp_path, capsys, text, config, rules):
    (tmp_path / "observe.yml").write_text(text)

    assert 1 == main(["check", "--config", str(tmp_path / "observe.yml"), "--json"])
    parts = {part["part"]: part for part in json.loads(capsys.readouterr().out)}
    assert config is None or config in str(parts["config"]["errors"])
    assert rules is None or rules in str(parts["rules"])


@pytest.mark.parametrize("words", [["--listen", "1"], ["--listen", "127.0.0.1:99999"], ["--webhook", "foo"]])
def test_a_wrong_word_on_the_command_line_is_wrong_use_and_names_no_file(capsys, words):
    assert 2 == main(["up", *words])
    said = capsys.readouterr().err
    assert words[1] in said
    assert "observe.yml" not in said


def test_receivers_that_an_attached_alertmanager_makes_idle_are_told(tmp_path):
    (tmp_path / "observe.yml").write_text(
        "attach: {alertmanager: {urls: ['http://127.0.0.1:1']}}\n"
        "notify: {group_wait: 1s, webhooks: [{url: 'http://127.0.0.1:2/'}], route: {}}\n")

    _, (problem,) = preflight.ready(tmp_path / "observe.yml")

    assert "`route`, `webhooks` under `notify:` (or --webhook) is not used" == problem.what
    assert "alertmanager.yml" in problem.fix


def test_a_prometheus_yml_is_read_although_observe_yml_is_wrong_elsewhere(tmp_path):
    (tmp_path / "prometheus.yml").write_text("scrape_cnfigs: []\n")
    (tmp_path / "observe.yml").write_text("listn: x\nprometheus_config: prometheus.yml\n")

    assert ["unknown key `listn`", "unknown key `scrape_cnfigs`"] == [
        one.what for one in preflight.examine(tmp_path / "observe.yml").problems]


def test_check_reads_the_rules_of_a_prometheus_yml_too(tmp_path, capsys):
    rules = tmp_path / "theirs.yml"
    (tmp_path / "prometheus.yml").write_text("rule_files: [theirs.yml]\n")
    (tmp_path / "observe.yml").write_text("rules: []\nprometheus_config: prometheus.yml\n")
    text = "groups: [{name: g, rules: [{alert: A, expr: EXPR, annotations: {a: '{{ range 1 }}{{ end }}'}}]}]"

    rules.write_text(text.replace("EXPR", "up"))
    assert 0 == main(["check", str(tmp_path / "observe.yml")])
    fine = capsys.readouterr()
    rules.write_text(text.replace("EXPR", "sum("))
    assert 1 == main(["check", str(tmp_path / "observe.yml")])
    wrong = capsys.readouterr()

    assert "1 file, 1 group, 1 alert" in fine.out
    assert "`range` is not supported in alert texts: the text stands without it" in fine.err
    assert "unclosed left parenthesis" in wrong.err
