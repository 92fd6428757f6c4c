"""Rule files: what is understood, and how what is wrong is told."""

import pytest

from observe.alert.rule_files import find_files, load_as_they_are, load_files
from observe.alert.rule_syntax import parse_rules
from observe.alert.rules import lint
from observe.errors import Problem, RuleError
from observe.promql.engine import Engine
from observe.testing import MemorySource

GOOD = """\
groups:
  - name: inference
    interval: 5s
    query_offset: 10s
    limit: 20
    labels: {team: serving}
    rules:
      - record: job:requests:rate1m
        expr: sum by (job) (rate(requests_total[1m]))
        labels: {kind: rate}
      - alert: LatencyOutsideBand
        expr: |
          histogram_quantile(0.95,
            sum by (service, le) (rate(latency_bucket[2m])))
        band: {detector: rolling, window: 30, k: 3, direction: above, trigger: 3 of 5}
        for: 1m
        keep_firing_for: 5m
        labels: {severity: critical}
        annotations:
          summary: "{{ $labels.service }} is slow: {{ $value | humanizeDuration }}, usually up to {{ $upper }}"
          runbook_url: https://example.com/latency
"""


def check(expr: str) -> None:
    Engine(MemorySource()).check(expr)


def test_a_whole_file_is_understood():
    groups, problems = parse_rules(GOOD, "good.yml", check)
    assert problems == ()
    (group,) = groups
    assert (group.name, group.interval_ms, group.query_offset_ms, group.limit) == ("inference", 5000, 10_000, 20)
    record, alert = group.rules
    assert (record.kind, record.name, record.labels) == (
        "recording", "job:requests:rate1m", {"team": "serving", "kind": "rate"})
    assert (alert.id, alert.for_ms, alert.keep_firing_for_ms) == ("inference/LatencyOutsideBand", 60_000, 300_000)
    assert alert.expr == "histogram_quantile(0.95,\n  sum by (service, le) (rate(latency_bucket[2m])))"
    assert (alert.band.direction, str(alert.band.trigger)) == ("above", "3 of 5")


RULE = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n"
RECORD = RULE.replace("alert: A", "record: a")

BAD = [
    ("unknown top key", "group:\n- name: g\n", "unknown key `group`", 1, 1, "did you mean `groups`?"),
    ("unknown group key", "groups:\n- name: g\n  intervall: 5s\n", "unknown key `intervall`", 3, 3, "`interval`"),
    ("unknown rule key", RULE + "    fro: 5m\n", "unknown key `fro`", 6, 5, "did you mean"),
    ("bad duration", RULE + "    for: 5 minutes\n", "`for` is not a duration", 6, 10, ""),
    ("bad expression", RULE.replace("up == 0", "sum(up"), "", 5, 14, ""),
    ("unknown function", RULE.replace("up == 0", "smoothen(up)"), "smoothen", 5, 11, ""),
    ("neither alert nor record", RULE.replace("alert: A", "for: 1m"), "either `alert:` or `record:`", 4, 5, ""),
    ("no expr", RULE.replace("    expr: up == 0\n", ""), "a rule needs an `expr`", 4, 5, ""),
    ("twice the same key", RULE + "    expr: up == 1\n", "`expr` is there twice", 6, 5, ""),
    ("twice a key of a band", RULE + "    band: {k: low, k: high}\n", "`k` is there twice under `band:`", 6, 20, ""),
    ("twice the same rule", RULE + "  - alert: A\n    expr: up == 1\n", "is there twice in group", 6, 5, ""),
    ("label name", RULE + "    labels: {a-b: c}\n", "`a-b` cannot be the name", 6, 14, ""),
    ("alertname", RULE + "    labels: {alertname: c}\n", "`alertname` is set by the rule", 6, 14, ""),
    ("template", RULE + "    annotations:\n      summary: it is {{ $valeu }}\n", "unknown `$valeu`", 7, 25, ""),
    ("template in quotes", RULE + '    annotations: {summary: "is {{ $x }}"}\n', "unknown `$x`", 6, 35, ""),
    ("template in a block", RULE + "    annotations:\n      summary: |\n        first\n        {{ $x }}\n",
     "unknown `$x`", 9, 12, ""),
    ("band key", RULE + "    band:\n      windw: 5\n", "unknown key `windw`", 7, 7, ""),
    ("band value", RULE + "    band:\n      trigger: 5 of 3\n", "`trigger: 5 of 3`", 7, 7, ""),
    ("band on a record", RECORD + "    band: {}\n", "`band:` belongs to an alert", 6, 5, ""),
    ("for on a record", RECORD + "    for: 5m\n", "`for:` belongs to an alert", 6, 5, ""),
    ("metric name", RULE.replace("alert: A", "record: a b"), "is not a metric name", 4, 13, ""),
    ("limit", "groups:\n- name: g\n  limit: many\n", "must be a whole number", 3, 10, ""),
    ("not YAML", "groups: [\n", "this is not YAML", 2, 1, ""),
    ("a list on top", "- a\n", "must be a mapping", 1, 1, ""),
    ("no group name", "groups:\n- rules: []\n", "a group needs a `name`", 2, 3, ""),
]


@pytest.mark.parametrize(("text", "what", "line", "column", "fix"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_what_is_wrong_is_told_with_its_place(text, what, line, column, fix):
    _, problems = parse_rules(text, "bad.yml", check)
    found = [problem for problem in problems if what in problem.what]
    assert found, problems
    assert (found[0].where, found[0].line, found[0].column) == ("bad.yml", line, column)
    assert fix in found[0].fix
    assert found[0].source in text


def test_the_message_shows_the_line_with_carets():
    _, problems = parse_rules(RULE + "    for: never\n", "bad.yml", check)
    assert str(problems[0]) == (
        "bad.yml:6: `for` is not a duration\n"
        "  6 |     for: never\n"
        "               ^^^^^\n"
        "  why: 'never' is not a duration: write it as 30s, 5m, 1h30m or 2d"
    )


def test_all_problems_of_all_files_are_told_at_once(tmp_path):
    (tmp_path / "a.yml").write_text(RULE + "    for: never\n    oops: 1\n")
    (tmp_path / "b.yml").write_text("nope: 1\n")
    (tmp_path / "c.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(RuleError) as caught:
        load_files(find_files([tmp_path]), check)
    assert [problem.what for problem in caught.value.problems] == [
        "unknown key `oops` in a rule", "`for` is not a duration", "unknown key `nope` in a rule file",
        "cannot read the rule file",
    ]


def test_a_pattern_without_a_file_is_an_error(tmp_path):
    with pytest.raises(RuleError, match="no rule file matches"):
        find_files([tmp_path / "*.yml"])


def test_two_band_rules_of_one_name_would_write_the_same_series(tmp_path):
    text = RULE + "    band: {}\n"
    (tmp_path / "a.yml").write_text(text)
    (tmp_path / "b.yml").write_text(text)
    with pytest.raises(RuleError, match="the band rule `g/A` is there twice"):
        load_files(find_files([tmp_path]), check)


def test_missing_summary_runbook_and_severity_are_warnings():
    groups, problems = parse_rules(RULE, "a.yml", check)
    assert problems == ()
    assert [problem.what for problem in lint(groups)] == [
        "alert `A` has no summary and no runbook_url", "alert `A` has no severity"]


def test_state_belongs_to_the_same_rule_until_what_it_judges_changes():
    def key(text: str) -> str:
        ((group,), _) = parse_rules(text, "a.yml")
        return group.rules[0].key(group.interval_ms)

    assert key(RULE) == key(RULE + "    for: 5m\n    annotations: {summary: new words}\n")
    assert key(RULE) != key(RULE.replace("== 0", "== 1"))
    assert key(RULE) != key(RULE + "    band: {}\n")


def test_problem_lines_are_those_of_the_file():
    assert isinstance(parse_rules("x: 1\n", "a.yml")[1][0], Problem)


BEYOND = """\
groups:
- name: g
  rules:
  - alert: A
    expr: up == 0
    labels: {severity: page, link: '{{ pathPrefix }}/x'}
    annotations:
      summary: '{{ with query "up" }}{{ . | first | value | humanize }}{{ end }} of {{ $value }} down'
      piped: '{{ printf "up{job=%q}" $labels.job | query | first | value }} are'
      table: '{{ range $i, $e := query "up" }}{{ $e }},{{ end }}'
      fine: '{{ $labels.job }} is down'
"""


def test_a_text_that_only_prometheus_renders_is_a_problem_of_ours_and_a_note_of_its_own_files(tmp_path):
    file = tmp_path / "r.yml"
    file.write_text(BEYOND)
    with pytest.raises(RuleError) as caught:
        load_files([file])
    (group,), notes = load_as_they_are([file], None, 60_000)

    places = [(6, "unknown function `pathPrefix`"), (8, "unknown function `query`"),
              (9, "`query` is not a function"), (10, "unexpected ','")]
    assert places == [(one.line, one.what.removeprefix("template: ")) for one in caught.value.problems]
    assert [(line, f"{what}: the text stands without it") for line, what in places] == [
        (one.line, one.what.removeprefix("template: ")) for one in notes]
    assert {"severity": "page", "link": "…/x"} == group.rules[0].labels
    assert {
        "summary": "… of … down", "piped": "… are", "table": "…,…", "fine": "{{ $labels.job }} is down",
    } == group.rules[0].annotations


@pytest.mark.parametrize("text", ["{{ nofunc }}", "{{ if }}", "{{ $undefined }}", "{{ .Nope }}", "{{ $value"])
def test_a_text_that_nobody_can_render_is_a_problem_of_every_file(tmp_path, text):
    file = tmp_path / "r.yml"
    file.write_text(f"groups: [{{name: g, rules: [{{alert: A, expr: up, annotations: {{a: '{text}'}}}}]}}]")

    with pytest.raises(RuleError):
        load_as_they_are([file], None, 60_000)


def test_recordings_of_one_name_may_differ_in_their_expression_alone():
    """Kubernetes' own rules record one name from the answers of each class of codes."""
    text = """\
groups:
- name: g
  rules:
  - {record: "code:asked:sum", expr: 'sum by (code) (asked{code=~"2.."})'}
  - {record: "code:asked:sum", expr: 'sum by (code) (asked{code=~"5.."})'}
"""
    (group,), problems = parse_rules(text, "r.yml")
    (_,), twice = parse_rules(text.replace("5..", "2.."), "r.yml")

    assert (2, ()) == (len(group.rules), problems)
    assert ["is there twice in group" in one.what for one in twice] == [True]
