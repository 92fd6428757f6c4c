"""Random expressions that are valid, and random data, for properties and for the comparison with Prometheus."""

from hypothesis import strategies as st

from observe.model import METRIC_NAME, Matcher
from observe.promql.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    Matching,
    Number,
    Paren,
    Range,
    Selector,
    String,
    Subquery,
    Unary,
)

NAMES = ("requests_total", "temperature", "latency_bucket")
LABELS = ("job", "instance", "le", "zone")
DURATIONS_MS = (15_000, 60_000, 300_000, 3_600_000, 90_061_001)

matchers = st.one_of(
    st.builds(Matcher, st.sampled_from(LABELS), st.sampled_from(("=", "!=")), st.text('ab"\\\n\té', max_size=3)),
    st.builds(Matcher, st.sampled_from(LABELS), st.sampled_from(("=~", "!~")),
              st.sampled_from(("a.*", "", "a|b", ".+"))),
)
ats = st.one_of(
    st.none(), st.builds(At, time_ms=st.integers(-10**12, 10**13)),
    st.builds(At, anchor=st.sampled_from(("start", "end"))),
)
offsets = st.one_of(st.just(0), st.sampled_from(DURATIONS_MS), st.sampled_from(DURATIONS_MS).map(lambda ms: -ms))


@st.composite
def selectors(draw):
    name = draw(st.sampled_from(NAMES))
    rest = tuple(draw(st.lists(matchers, max_size=2)))
    return Selector(name, (Matcher(METRIC_NAME, "=", name), *rest), draw(offsets), draw(ats))


numbers = st.floats().map(abs).map(Number)
strings = st.text(st.characters(exclude_categories=("Cs",)), max_size=6).map(String)
label_lists = st.lists(st.sampled_from((*LABELS, "by", "a.b")), max_size=2, unique=True).map(tuple)


def ranges():
    return st.builds(Range, selectors(), st.sampled_from(DURATIONS_MS))


def _vectors(inner):
    scalars = st.one_of(numbers, st.just(Call("time", (), "scalar")), st.just(Paren(Number(1.0))))
    atoms = st.one_of(inner.map(Paren), selectors())
    steps = st.one_of(st.none(), st.sampled_from(DURATIONS_MS))
    windows = st.one_of(ranges(), st.builds(Subquery, atoms, st.sampled_from(DURATIONS_MS), steps, offsets, ats))
    matchings = st.one_of(st.none(), st.builds(Matching, st.booleans(), label_lists))
    grouped = st.builds(Matching, st.booleans(), label_lists, st.sampled_from(("left", "right")),
                        st.sampled_from(((), ("owner",), ("owner", "team"))))
    return st.one_of(
        st.builds(Call, st.sampled_from(("abs", "ceil", "sgn")), st.tuples(inner)),
        st.builds(Call, st.sampled_from(("rate", "max_over_time", "changes")), st.tuples(windows)),
        st.builds(Call, st.just("quantile_over_time"), st.tuples(scalars, windows)),
        st.builds(Call, st.just("label_replace"), st.tuples(inner, *[st.just(String("job"))] * 3, strings.map(
            lambda text: String("(.*)")))),
        st.builds(Aggregate, st.sampled_from(("sum", "avg", "max")), inner, st.none(), label_lists, st.booleans()),
        st.builds(Aggregate, st.sampled_from(("topk", "quantile")), inner, scalars, label_lists, st.booleans()),
        st.builds(Unary, atoms),
        st.builds(Binary, st.sampled_from(("+", "*", "^", "atan2")), atoms, atoms, st.just(False),
                  st.one_of(matchings, grouped)),
        st.builds(Binary, st.sampled_from(("<", "==")), atoms, atoms, st.booleans(), matchings),
        st.builds(Binary, st.sampled_from(("and", "or", "unless")), atoms, atoms, st.just(False), matchings),
        st.builds(Binary, st.sampled_from(("-", "/", "%")), atoms, numbers),
    )


def expressions():
    return st.one_of(numbers, strings, st.recursive(selectors(), _vectors, max_leaves=6), ranges())
