"""The search field's language: what texts mean, and how errors point."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.errors import QueryError
from observe.model import LogRecord
from observe.store.index import SegmentIndex
from observe.store.index_kinds import LOGS
from observe.store.language import And, Compare, Everything, Not, Or, Phrase, Prefix, Term, WordPrefix, parse
from observe.store.match import matches
from observe.store.words import sortable, words


def word(text):
    return Phrase((text,))


@pytest.mark.parametrize(("text", "tree"), [
    ("", Everything()),
    ("   ", Everything()),
    ("*", Everything()),
    ("a b", And((word("a"), word("b")))),
    ("a AND b", And((word("a"), word("b")))),
    ("a or b", And((word("a"), word("or"), word("b")))),
    ("a OR b c", Or((word("a"), And((word("b"), word("c")))))),
    ("(a OR b) c", And((Or((word("a"), word("b"))), word("c")))),
    ("-a", Not(word("a"))),
    ("NOT a b", And((Not(word("a")), word("b")))),
    ("- (a b)", Not(And((word("a"), word("b"))))),
    ("foo-bar", Phrase(("foo", "bar"))),
    ('"A b"', Phrase(("a", "b"))),
    ('"say \\"x\\""', Phrase(("say", "x"))),
    ("tim*", WordPrefix("tim")),
    ("ORDER NOTE ANDY", And((word("order"), word("note"), word("andy")))),
    ("status:5*", Prefix("status", "5")),
    ('status:"5*"', Term("status", "5*")),
    ("Level:x", Term("fields.Level", "x")),
    ("level:WARN", Term("level", "warn")),
    ("level:(a OR -b)", Or((Term("level", "a"), Not(Term("level", "b"))))),
    ("latency:>1.5s", Compare("latency_ms", ">", 1500.0)),
    ("latency_ms:<=20", Compare("latency_ms", "<=", 20.0)),
    ("x.y:>=-3", Compare("fields.x.y", ">=", -3.0)),
    ("error:x", Phrase(("x",), "error_msg")),
    ("12:30", Phrase(("12", "30"))),
    ("a:b:c", Term("fields.a", "b:c")),
])
def test_a_text_means(text, tree):
    assert parse(text) == tree


@pytest.mark.parametrize(("text", "what", "column"), [
    ("a (b", "never closed", 3),
    ("a b)", "closing parenthesis", 4),
    ('x "abc', "never closed", 3),
    ("()", "nothing between", 1),
    ("OR a", "nothing here", 1),
    ("a OR", "nothing here", 5),
    ("AND a", "AND needs", 5),
    ("a AND", "AND needs", 6),
    ("a -", "nothing behind", 3),
    ("status:", "no value", 1),
    ("a status: b", "no value", 3),
    ("latency:>fast", "number is wanted", 9),
    ("latency:abc", "number is wanted", 9),
    ("tokens:>5ms", "number is wanted", 8),
    ("service:>5", "not a number", 9),
    ("a !!! b", "no letter or digit", 3),
    ("(" * 40 + "a" + ")" * 40, "more than 32", None),
    ("-" * 40 + "a", "more than 32", None),
    ("a " * 200, "more than 128", None),
    ("a" * 5000, "at most 4096", None),
])
def test_an_error_points_at_the_character(text, what, column):
    with pytest.raises(QueryError, match=what) as caught:
        parse(text)
    problem = caught.value.problems[0]
    if column is not None:
        assert problem.column == column
        assert str(problem).splitlines()[2].index("^") == 5 + column


_TOKENS = st.sampled_from([
    "a", "b*", "OR", "AND", "NOT", "-", "(", ")", '"', "\\", ":", "status:", "level:", "latency:", "tokens:", ">", "<=",
    "5", "1e9", "*", " ", "\n", "错", "\x00", "\ud800", "trace_id:", "message:", "[", "^", "x.y:", "'", "&", "/", "5*",
    ".*",
])
_INDEX = None


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(st.lists(_TOKENS, max_size=25).map("".join), st.text(max_size=60)))
def test_hostile_text_raises_nothing_but_a_query_error(text, tmp_path_factory):
    global _INDEX  # noqa: PLW0603 - one index for all examples
    if _INDEX is None:
        folder = tmp_path_factory.mktemp("index") / "index"
        _INDEX = SegmentIndex(folder, LOGS)
        _INDEX.add(LogRecord(1, "s", "info", "a b"), 1)
        _INDEX.commit()
    try:
        tree = parse(text)
        _INDEX.top(LOGS.queries.search_tree(tree), "seq", 10)
    except QueryError:
        return
    matches(tree, LogRecord(1, "s", "info", "a b"))


_MESSAGES = st.text(alphabet="aAbB1 _-.:错/é", max_size=12)
_LINES = st.builds(
    LogRecord, st.just(5), st.sampled_from(["web", "db"]), st.sampled_from(["info", "error", ""]), _MESSAGES,
    status=st.sampled_from([None, "200", "500", "ERROR", "-3"]), latency_ms=st.sampled_from([None, 0.0, 5.0, 1e6]),
    error_msg=st.one_of(st.none(), _MESSAGES),
    fields=st.dictionaries(st.sampled_from(["x", "y.z", "status"]), st.one_of(
        st.integers(-10, 10), st.sampled_from(["5", "", "a b", "-1.5", True, None, 2.5]),
        st.lists(st.integers(0, 9), max_size=2)), max_size=2),
)
_LEAF = st.sampled_from([
    "a", "b*", '"a b"', "错", "1*", "level:error", "service:w*", "status:5*", "status:>=200", "status:*", "latency:>=5",
    "latency:<5", "latency:*", "x:5", "x:>0", "x:<=-1", "x:*", 'x:""', "y.z:>=2.5", "error:a", "message:b", "error:*",
    "fields.status:5", "message:*", "level:*", 'level:""', "x:tr*",
])
_QUERIES = st.recursive(_LEAF, lambda inner: st.one_of(
    st.tuples(inner, inner).map(lambda two: f"({two[0]} OR {two[1]})"),
    st.tuples(inner, inner).map(lambda two: f"({two[0]} {two[1]})"), inner.map(lambda one: f"-{one}")), max_leaves=5)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(_LINES, min_size=1, max_size=8), queries=st.lists(_QUERIES, min_size=1, max_size=6))
def test_the_index_and_plain_matching_agree(lines, queries, tmp_path_factory):
    index = SegmentIndex(tmp_path_factory.mktemp("index") / "index", LOGS)
    for seq, one in enumerate(lines):
        index.add(one, seq)
    index.commit()
    for text in queries:
        tree = parse(text)
        found = [seq for _, seq in index.top(LOGS.queries.search_tree(tree), "seq", 100, descending=False)]
        assert (text, found) == (text, [seq for seq, one in enumerate(lines) if matches(tree, one)])
    index.rest()


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_sortable_numbers_sort(one, other):
    assert (sortable(one) < sortable(other)) == (one < other)


def test_words_cut_long_runs_and_split_cjk():
    assert words("é" * 300) == ["é" * 100]
    assert words("a错b误") == ["a", "错", "b", "误"]
