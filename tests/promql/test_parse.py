"""Reading and printing: the tree, the gaps of the grammar's reader, places of errors."""

import pytest
from hypothesis import HealthCheck, given, settings

from observe.errors import QueryError
from observe.model import Labels, Matcher
from observe.promql.ast import At, Number, Selector, String, Subquery, children
from observe.promql.parse import MAX_NESTING, parse
from observe.promql.printer import format_query, line
from tests.promql.strategies import expressions


@given(expressions())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_printed_reads_back_as_the_same_tree(tree):
    assert parse(line(tree)) == _usual(tree)


@given(expressions())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_tidy_form_means_the_same(tree):
    assert parse(format_query(line(tree))) == parse(line(tree))


def _usual(tree):
    """`tree` as it is read: what cannot be told apart in text is made the same."""
    return parse(line(tree)) if _ambiguous(tree) else tree


def _ambiguous(node):
    # `by ()` reads as no grouping at all, `ignoring ()` and no matching are the same
    matching = getattr(node, "matching", None)
    return (matching is not None and not matching.labels) or any(_ambiguous(child) for child in children(node))


@pytest.mark.parametrize(("text", "time_ms"), [
    ("x @ -5", -5_000),
    ("x @ +5.5", 5_500),
    ("x @ 1m", 60_000),
    ("x @ -1h30m", -5_400_000),
    ("x @ 0.0005", 1),
    ("x @ 1e9", 1_000_000_000_000),
    ("x @ 0x10", 16_000),
])
def test_a_time_after_at_is_read_exactly(text, time_ms):
    """The grammar's reader takes a negative time for zero."""
    assert parse(text) == Selector("x", (Matcher("__name__", "=", "x"),), at=At(time_ms=time_ms))


def test_times_find_their_selectors():
    tree = parse("max_over_time((a @ -1 + b @ 2)[5m:1m] @ 3)")
    [subquery] = children(tree)
    assert isinstance(subquery, Subquery)

    sides = children(subquery.expr.expr)

    assert (sides[0].at, sides[1].at, subquery.at) == (At(-1000), At(2000), At(3000))


@pytest.mark.parametrize(("text", "value"), [
    ("5m", 300.0), ("1h30m", 5400.0), ("0x1F", 31.0), (".5", 0.5), ("1e3", 1000.0), ("-Inf", float("-inf")),
])
def test_numbers_and_durations(text, value):
    assert parse(text) == Number(value)


@pytest.mark.parametrize(("text", "value"), [
    (r'"a\nb"', "a\nb"), (r"'it\'s'", "it's"), (r"`a\b`", r"a\b"), (r'"\u00e9\x41\101"', "éAA"), (r'"\xc3\xa9"', "é"),
])
def test_strings_are_unquoted_as_go_does(text, value):
    assert parse(text) == String(value)


@pytest.mark.parametrize(("text", "column", "said"), [
    ("sum(x", 4, "unclosed left parenthesis"),
    ("foo +", 6, "unexpected end of input"),
    ("foo bar", 5, "unexpected bar"),
    ("foo ) bar", 5, "unexpected )"),
    ("a $ b", 3, "unexpected character: '$'"),
    ('x{a="b}', 5, "unterminated quoted string"),
    ("rate(x)", 1, "expected type range vector in call to function 'rate', got instant vector"),
    ("1 + nosuch(x)", 5, "unknown function with name 'nosuch'"),
    ('x{a=~"("}', 6, "illegal regex"),
    ('x{a="b" or c="d"}', 1, "`or` between matchers is not PromQL"),
    ("x + on(a) 1", 5, "vector matching only allowed between vectors"),
    ("x @ 1e30", 5, "timestamp out of bounds for @ modifier"),
    ("x[0s]", 3, "duration must be greater than 0"),
    ("x[300000000y]", 3, "duration out of range"),
    ("x offset -1e400", 11, "duration out of range"),
    ("x[NaN]", 3, "duration out of range"),
    ("", None, "no expression found in input"),
    ("# only a comment", None, "no expression found in input"),
    ("x and on(a) group_left y", 3, "no grouping allowed for 'and' operation"),
    ("{}", 1, "at least one non-empty matcher"),
])
def test_an_error_says_what_and_where(text, column, said):
    with pytest.raises(QueryError) as raised:
        parse(text)

    [problem] = raised.value.problems
    assert said in problem.what
    assert problem.column == column
    assert raised.value.kind == "bad_data"


@pytest.mark.parametrize("text", [
    "(" * 100_000 + "x" + ")" * 100_000, "-" * 50_000 + "x", "+".join(["x"] * 10_000), "^".join(["2"] * 10_000),
    "abs(" * 5_000 + "x" + ")" * 5_000, " or ".join(["x"] * 10_000),
])
def test_an_expression_that_would_overflow_the_stack_is_refused(text):
    """The reader is native code: it would take the whole process with it."""
    with pytest.raises(QueryError, match=r"nested too deeply|characters"):
        parse(text)


def test_an_expression_as_deep_as_allowed_is_read():
    tree = parse("+".join(["x"] * (MAX_NESTING // 2)))

    assert line(tree).count("+") == MAX_NESTING // 2 - 1


def test_a_long_query_is_broken_where_people_would():
    text = ("histogram_quantile(0.95, sum by (service, le) (rate(http_request_duration_seconds_bucket"
            "{env='production'}[5m]))) > on (service) group_left () max by (service) (slo_target_seconds)")

    assert format_query(text) == """\
  histogram_quantile(
    0.95,
    sum by (service, le) (rate(http_request_duration_seconds_bucket{env="production"}[5m]))
  )
> on (service) group_left ()
  max by (service) (slo_target_seconds)"""


@pytest.mark.parametrize("labels", [
    {"__name__": "up", "job": "a"}, {"__name__": "job:up:sum"}, {"__name__": "disk.used", "mount point": '"/"'},
    {"__name__": "temperatur in °C"}, {"my.label": "x\ny"},
], ids=str)
def test_the_name_of_a_series_can_be_asked_for_as_it_is_written(labels):
    assert labels == {one.name: one.value for one in parse(str(Labels(labels))).matchers}
