"""Texts of alerts: what is rendered, and what is refused with its position."""

import pytest

from observe.alert.template import BAND_NAMES, Scope, Template
from observe.errors import InvalidInput

SCOPE = Scope({"job": "api", "instance": "db-1.example.com:9100"}, 1234.5, {"region": "eu"}, "http://observe.example",
              {"lower": 1.0, "upper": 2.5, "baseline": 1.5, "score": 4.0})

RENDERED = [
    ("plain text", "plain text"),
    ("{{ $labels.job }} at {{ $value }}", "api at 1234.5"),
    ("{{.Labels.job}}/{{ .Value }}", "api/1234.5"),
    ("{{ $labels.absent }}|", "|"),
    ("{{ $value | humanize }}", "1.234k"),
    ("{{ humanize $value }}", "1.234k"),
    ("{{ 1536.0 | humanize1024 }}B", "1.5kiB"),
    ("{{ 0.254 | humanizePercentage }}", "25.4%"),
    ("{{ 90 | humanizeDuration }}", "1m 30s"),
    ("{{ 0.0021 | humanizeDuration }}", "2.1ms"),
    ('{{ printf "%.2f of %s" $value $labels.job }}', "1234.50 of api"),
    ('{{ printf "%5.1f|%-6s|%d%%" 3.14159 "ab" 7.0 }}', "  3.1|ab    |7%"),
    ('{{ $value | printf "%.0f" }}', "1234"),
    ("{{ if gt $value 1000.0 }}high{{ else }}low{{ end }}", "high"),
    ('{{ if eq $labels.job "web" }}w{{ else if eq $labels.job "api" }}a{{ else }}?{{ end }}', "a"),
    ("{{ if not (lt $value 10.0) }}yes{{ end }}", "yes"),
    ('{{ if and (gt $value 1.0) (eq $labels.job "api") }}both{{ end }}', "both"),
    ("a {{- $labels.job -}} b", "aapib"),
    ("x {{ with $labels.job -}} of {{ . }} {{- end }} y", "x of api y"),
    ("x{{ with $labels.cluster }} of {{ . }}{{ else }} alone, {{ $value }}{{ end }}", "x alone, 1234.5"),
    ("{{ with $value }}{{ . | humanize }}{{ with $labels.job }} {{ . }}{{ end }} {{ . }}{{ end }}",
     "1.234k api 1234.5"),
    ("{{ $labels.instance | stripPort }}", "db-1.example.com"),
    ("{{ $labels.instance | stripDomain }}", "db-1:9100"),
    ('{{ reReplaceAll "(.*):.*" "$1" $labels.instance }}', "db-1.example.com"),
    ('{{ index $labels "job" | toUpper }}', "API"),
    ("{{ $externalLabels.region }} {{ externalURL }}", "eu http://observe.example"),
    ("{{/* said to nobody */}}x", "x"),
    ("{{ $lower }}–{{ $upper }} ({{ $score }})", "1–2.5 (4)"),
    ('{{ `raw "text"` }}', 'raw "text"'),
    ("{{ 1e21 }} {{ 0.00001 }} {{ 1e6 }}", "1e+21 1e-05 1000000"),
]


@pytest.mark.parametrize(("text", "expected"), RENDERED, ids=[text for text, _ in RENDERED])
def test_rendered(text, expected):
    assert Template(text, BAND_NAMES).render(SCOPE) == expected


REFUSED = [
    ("never closed", "ok {{ $value", "`{{` is never closed", 4),
    ("unknown variable", "{{ $labls.job }}", "unknown `$labls.job`", 4),
    ("unknown function", "{{ $value | humanise }}", "`humanise` is not a function", 13),
    ("a query", '{{ query "up" }}', "unknown function `query`", 4),
    ("a loop", "{{ range $x }}{{ end }}", "`range` is not supported", 4),
    ("if without end", "{{ if true }}x", "`if` without its `end`", 15),
    ("with without end", "{{ with $value }}x", "without its `end`", 19),
    ("end without if", "{{ end }}", "`end` without an `if`", 4),
    ("too many values", "{{ humanize 1 2 }}", "`humanize` takes 1 value(s), not 2", 4),
    ("nothing inside", "{{ }}", "nothing stands between", 3),
    ("a stray sign", "{{ $value + 1 }}", "unexpected '+'", 11),
    ("a parenthesis left open", '{{ humanize (printf "%f" $value }}', "this parenthesis is never closed", 13),
    ("band words without a band", "{{ $upper }}", "there only in a rule with `band:`", 4),
]


@pytest.mark.parametrize(("text", "message", "column"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused_with_its_position(text, message, column):
    with pytest.raises(InvalidInput) as caught:
        Template(text)
    problem = caught.value.problems[0]
    assert message in problem.what
    assert problem.column == column


def test_a_value_that_does_not_fit_is_an_error_and_not_a_crash():
    with pytest.raises(InvalidInput, match="'api' is not a number"):
        Template("{{ humanize $labels.job }}").render(SCOPE)


def test_pattern_that_would_never_end_elsewhere_ends_here():
    """Regular expressions of users are RE2: no exponential time."""
    text = '{{ reReplaceAll "(a+)+$" "x" "' + "a" * 5000 + '!" }}'
    assert Template(text).render(SCOPE) == "a" * 5000 + "!"


def test_a_pattern_that_is_none_is_an_error_and_not_a_crash():
    with pytest.raises(InvalidInput, match="no argument for repetition operator"):
        Template('{{ reReplaceAll "*" "x" $labels.job }}').render(SCOPE)


def test_nesting_without_end_is_an_error_and_not_a_crash():
    with pytest.raises(InvalidInput, match="nested too deeply"):
        Template("{{ " + "(" * 50_000 + "$value" + ")" * 50_000 + " }}")


@pytest.mark.parametrize("verb", ["%2000000000s", "%.2000000000f"])
def test_a_text_cannot_take_the_memory_of_whoever_pages(verb):
    with pytest.raises(InvalidInput, match="1000 places at most"):
        Template('{{ printf "' + verb + '" $value }}').render(SCOPE)
