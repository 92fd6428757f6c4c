"""The page parser: what a page means, what is wrong with one, and that the layout cache never changes the answer."""

import math
import random
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from observe.collect.exposition import PageParser
from observe.collect.exposition_layout import NO_STAMP
from observe.collect.exposition_learning import Family
from observe.errors import LimitExceeded, MalformedData
from observe.model import NORMAL_NAN_BITS, Labels
from tests.collect.sinks import KeptSamples


class Reader:
    """A parser with a sink that names its series."""

    def __init__(self, limit=1_000_000):
        self.sink = KeptSamples(limit)
        self.parser = PageParser(Labels, self.sink.series_ids)

    def page(self, text, **how):
        return self.parser.parse(text if isinstance(text, bytes) else text.encode(), 1_000, **how)

    def read(self, text, **how):
        """{series: value bits}."""
        page = self.page(text, **how)
        names = {number: str(labels) for labels, number in self.sink.ids.items()}
        return {
            names[series]: bits
            for series, bits in zip(page.ids.tolist(), page.values.view(np.uint64).tolist(), strict=True)
        }


def bits(value):
    return NORMAL_NAN_BITS if math.isnan(value) else struct.unpack("<Q", struct.pack("<d", value))[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up 1", {"up": 1.0}),
        ("up\t 1 ", {"up": 1.0}),
        ("  up 1", {"up": 1.0}),
        ("up{} 1", {"up": 1.0}),
        ("up{}1", {"up": 1.0}),
        ('up {job="a"} 1', {'up{job="a"}': 1.0}),
        ('up{ job = "a" , x="" , } 1', {'up{job="a"}': 1.0}),
        (r'up{path="C:\\d\"q\"\n"} 1', {'up{path="C:\\\\d\\"q\\"\\n"}': 1.0}),
        ('up{a="{b} c 7"} 1', {'up{a="{b} c 7"}': 1.0}),
        ('up{a="héß"} 1', {'up{a="héß"}': 1.0}),
        ('{"a name", b="c"} 1', {'{"a name", b="c"}': 1.0}),
        ('{"a.b", "c.d"="e"} 1', {'{"a.b", "c.d"="e"}': 1.0}),
        ("a:b_9 +1.5e-3", {"a:b_9": 0.0015}),
        ("a +Inf", {"a": math.inf}),
        ("a -inf", {"a": -math.inf}),
        ("a Infinity", {"a": math.inf}),
        ("a nan", {"a": math.nan}),
        ("a 0.1234567890123456789012", {"a": 0.12345678901234568}),
        ("a 5e-324", {"a": 5e-324}),
        ("a 1e400", {"a": math.inf}),
        ("a -0", {"a": -0.0}),
        ("# HELP a Some help\n# TYPE a gauge\n\na 1\n", {"a": 1.0}),
        ("a 1\n# the end", {"a": 1.0}),
        ("", {}),
        ("\n\n", {}),
    ],
)
def test_a_line_means(line, expected):
    reader = Reader()

    assert {name: bits(value) for name, value in expected.items()} == reader.read(line)
    assert {name: bits(value) for name, value in expected.items()} == reader.read(line), "and again from the cache"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("up", "the value is missing"),
        ("a 1\nup \nb 2", "line 2: the value is missing"),
        ("up one", "`one` is not a number"),
        ("up 1_000", "`1_000` is not a number"),
        ("up 0x1p3", "not a number"),
        ("up +nan", "not a number"),
        ("up 1\r\n", r"`1\r` is not a number"),
        ("9up 1", "a metric name is missing"),
        ('{a="b"} 1', "a metric name is missing"),
        ('up{a="b" 1', "not closed by `}`"),
        ('up{a="b} 1', "not closed by a quote"),
        ("up{a=b} 1", "label `a` has no quoted value"),
        ("up{a} 1", "label `a` has no quoted value"),
        ('up{a="b" c="d"} 1', "a comma is missing"),
        ('up{a="b",a="c"} 1', "a label is given twice"),
        ("up{,} 1", "not a label"),
        ("up 1 soon", "not a timestamp in milliseconds"),
        ("up 1 1.5", "not a timestamp in milliseconds"),
        ("up 1 2 3", "not a timestamp in milliseconds"),
        (b'up{a="\xff"} 1', "not UTF-8"),
    ],
)
def test_a_broken_line_is_named_with_its_number_and_its_reason(text, words):
    with pytest.raises(MalformedData) as caught:
        Reader().page(text)

    assert words in str(caught.value)
    assert "line " in str(caught.value)


def test_a_line_that_breaks_later_fails_that_page_only():
    reader = Reader()
    good = 'a 1\nb{x="y"} 2\nc 3\n'
    reader.read(good)

    for bad, words in [('a 1\nb{x="y"} zwei\nc 3\n', "line 2"), ('a 1\nb{x="y} 2\nc 3\n', "line 2")]:
        with pytest.raises(MalformedData, match=words):
            reader.page(bad)
    page = reader.page(good)

    assert (3, 0, 0) == (page.kept, len(page.added), len(page.gone))


def test_timestamps_are_kept_apart_from_the_scrape_time():
    reader = Reader()
    text = "a 1\nb 2 1700000000123\nc 3 -5\n"

    for _ in range(2):
        assert [NO_STAMP, 1_700_000_000_123, -5] == reader.page(text).stamps.tolist()
    assert reader.page(text, honor_stamps=False).stamps is None
    assert [NO_STAMP, 7] == reader.page("a 1\nb 2 7\n").stamps.tolist()


def test_a_series_with_its_own_timestamps_does_not_end_by_absence():
    reader = Reader()
    reader.page("a 1\nb 2 5\nc 3\n")

    page = reader.page("a 1\n")

    assert ["c"] == [str(labels) for labels, number in reader.sink.ids.items() if number in page.gone]


def test_series_that_come_and_go_are_told():
    reader = Reader()
    first = reader.page("a 1\nb 2\nc 3\n")
    second = reader.page("a 1\nc 3\nd 4\n")
    third = reader.page("a 1\nc 5\nd 4\n")

    assert [[0, 1, 2], [3], []] == [page.added.tolist() for page in (first, second, third)]
    assert [[], [1], []] == [page.gone.tolist() for page in (first, second, third)]
    assert [1.0, 5.0, 4.0] == third.values.tolist()
    assert third.ids is second.ids, "an unchanged layout keeps its array"
    assert [0, 2, 3] == reader.parser.forget().tolist()
    assert [] == reader.parser.tracked.tolist()


def test_a_series_twice_on_a_page_counts_once_and_the_first_wins():
    reader = Reader()

    for _ in range(2):
        page = reader.page("a 1\nb 2\na 3\n")
        assert ([1.0, 2.0], 1, 3) == (page.values.tolist(), page.duplicates, page.scraped)


def test_a_page_of_too_many_lines_is_refused_before_it_is_read():
    reader = Reader()

    with pytest.raises(LimitExceeded, match="more than 3 lines"):
        reader.page("a 1\nb 2\nc 3\nd nonsense\n", line_limit=3)
    assert {} == reader.sink.ids


def test_exemplars_of_series_that_ended_are_forgotten():
    reader = Reader()
    reader.page(OPENMETRICS, openmetrics=True)
    reader.page("b 1\n# EOF\n", openmetrics=True)

    assert {} == reader.parser._exemplars


def test_what_the_store_refuses_is_left_out_and_counted():
    reader = Reader(limit=2)

    for _ in range(2):
        page = reader.page("a 1\nb 2\nc 3\n")
        assert ([1.0, 2.0], 1, 2) == (page.values.tolist(), page.refused, page.kept)


def test_lines_that_the_caller_does_not_want_are_left_out():
    sink = KeptSamples()
    parser = PageParser(lambda pairs: None if pairs[0][1] == "b" else Labels(pairs), sink.series_ids,
                        np.array([77], np.uint32))

    for _ in range(2):
        page = parser.parse(b"a 1\nb 2\nc 3\n", 0)
        assert ([0, 1, 77], [1.0, 3.0], 2) == (page.ids.tolist(), page.values[:-1].tolist(), page.kept)


def test_families_are_read_from_the_comments():
    reader = Reader()
    reader.page("# HELP a_total What\\n it is.\n# TYPE a_total counter\n# UNIT a_total seconds\na_total 1\n# odd\n#\n")

    assert {"a_total": Family("counter", "What\n it is.", "seconds")} == reader.parser.families


OPENMETRICS = """# TYPE a counter
a_total{x="1"} 3.0 1520879607.789 # {trace_id="abc"} 0.67 1520879607.5
a_created 1520430000.123
# EOF
"""


def test_openmetrics_timestamps_are_seconds_and_exemplars_are_kept_once():
    reader = Reader()

    page = reader.page(OPENMETRICS, openmetrics=True)
    again = reader.page(OPENMETRICS, openmetrics=True)
    newer = reader.page(OPENMETRICS.replace('"abc"', '"def"'), openmetrics=True)

    assert [1_520_879_607_789, NO_STAMP] == page.stamps.tolist()
    (exemplar,) = page.exemplars
    assert ('a_total{x="1"}', {"trace_id": "abc"}, 0.67, 1_520_879_607_500) == (
        str(exemplar.series), dict(exemplar.labels), exemplar.value, exemplar.timestamp_ms,
    )
    assert () == again.exemplars
    assert ["def"] == [exemplar.labels["trace_id"] for exemplar in newer.exemplars]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1\n", "without `# EOF`"),
        ("a 1\n# EOF\nb 2\n", "line 3: there is text after"),
        ("a 1 soon\n# EOF\n", "not a timestamp in seconds"),
        ('a_total 1 # {x="y"}\n# EOF\n', "not an exemplar"),
    ],
)
def test_broken_openmetrics_is_named(text, words):
    with pytest.raises(MalformedData, match=words.replace("(", r"\(")):
        Reader().page(text, openmetrics=True)


def test_a_cut_page_of_openmetrics_is_refused_also_from_the_cache():
    reader = Reader()
    reader.page("a 1\nb 2\n# EOF\n", openmetrics=True)

    with pytest.raises(MalformedData, match="cut short"):
        reader.page("a 1\nb 2\n", openmetrics=True)


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
label_names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,5}", fullmatch=True)
label_values = st.text(
    st.characters(exclude_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e", exclude_categories=["Cs"]), max_size=8,
)
numbers = st.one_of(
    st.floats(), st.integers(-(10**18), 10**18).map(float), st.decimals(-1000, 1000, places=3).map(float),
)
forms = st.sampled_from(["{!r}", "{:.17g}", "{:.25e}", "{:g}"]).map(lambda form: form.format)
series = st.tuples(names, st.dictionaries(label_names, label_values, max_size=3))


def quoted(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def line(name, labels, value, form):
    inner = ",".join(f'{label}="{quoted(text)}"' for label, text in labels.items())
    return f"{name}{{{inner}}} {form(value)}\n"


def unique(rows):
    seen = {}
    for (name, labels), value, form in rows:
        seen.setdefault(Labels({"__name__": name, **labels}), ((name, labels), value, form))
    return list(seen.values())


def reference(text, parse):
    return {
        str(Labels({"__name__": sample.name, **sample.labels})): bits(sample.value)
        for family in parse(text) for sample in family.samples
    }


pages = st.lists(st.tuples(series, numbers, forms), max_size=12).map(unique)


@given(pages, pages, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_pages_mean_what_prometheus_client_reads_however_they_change(first, second, rng):
    """A page, then a page that shares some of its lines in another order with other values: both as the reference."""
    reader = Reader()
    mixed = unique([*rng.sample(first, len(first) // 2), *second])
    rng.shuffle(mixed)
    moved = [(series, float(rng.randrange(1000)), repr) for series, _, _ in first]

    for rows in (first, moved, mixed, first, mixed[: len(mixed) // 2]):
        text = "".join(line(*series, value, form) for series, value, form in rows)
        assert reference(text, text_families) == reader.read(text)


@given(pages)
@settings(max_examples=100, deadline=None)
def test_openmetrics_pages_mean_what_prometheus_client_reads(rows):
    by_name = {}
    for (name, labels), value, _ in rows:
        by_name.setdefault(name.replace(":", "_") + "_g", []).append((labels, value))
    text = "".join(
        f"# TYPE {name} gauge\n" + "".join(line(name, labels, value, repr) for labels, value in group)
        for name, group in by_name.items()
    ) + "# EOF\n"
    reader = Reader()

    for _ in range(2):
        assert reference(text, openmetrics_families) == reader.read(text, openmetrics=True)


@given(st.binary(max_size=60), st.integers(0, 60))
@settings(max_examples=250, deadline=None)
def test_no_bytes_do_more_than_fail_the_page(junk, at):
    good = b'# HELP a b\na{x="y"} 1\nb 2 3\nc{} NaN\n'
    reader = Reader()
    reader.page(good)

    for page in (good[:at] + junk + good[at:], good[:at], junk):
        try:
            cached = reader.page(page)
        except MalformedData:
            with pytest.raises(MalformedData):
                Reader().page(page)
        else:
            assert Reader().page(page).values.tobytes() == cached.values.tobytes()
    assert 3 == reader.page(good).kept


decimal = st.from_regex(r"[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(st.one_of(st.floats(allow_nan=False).map(repr), decimal))
@settings(max_examples=600, deadline=None)
@example("18446744073709551616")
@example("-36893488147419103232")
@example("1844674407370955161.6")
@example("0.00018446744073709551616e7")
@example("0000184467440737095516160000")
def test_numbers_are_those_of_strtod(text):
    reader = Reader()

    assert {"a": bits(float(text))} == reader.read(f"a {text}\n")
    assert {"a": bits(float(text))} == reader.read(f"a {text}\n"), "and by the kernel"


def test_random_doubles_of_every_size_are_exact():
    rng = random.Random(7)
    reader = Reader()
    values = [rng.uniform(-1, 1) * 10.0 ** rng.randint(-130, 130) for _ in range(20_000)]
    reader.page("".join(f"s{n} 0\n" for n in range(len(values))))

    page = reader.page("".join(f"s{n} {value!r}\n" for n, value in enumerate(values)))

    assert np.array(values).tobytes() == page.values.tobytes()
