"""The engine as rules and boards use it: vectors with sample times, matrices, errors, limits."""

import threading

import numpy as np
import pytest

from observe.errors import LimitExceeded, QueryError
from observe.model import ABSENT_NAN_BITS, Labels
from observe.promql.engine import Engine
from observe.promql.evaluate import QueryLimits
from observe.promql.names import NameCache
from observe.promql.result import Scalar, Text
from observe.testing import ManualClock, MemorySource

STEP_MS = 15_000


@pytest.fixture
def source():
    source = MemorySource()
    source.load('requests_total{job="api", instance="a"}', "0+10x100", step_ms=STEP_MS)
    source.load('requests_total{job="api", instance="b"}', "0+20x100", step_ms=STEP_MS)
    source.load('requests_total{job="web", instance="c"}', "0+30x40", step_ms=STEP_MS)
    return source


@pytest.fixture
def engine(source):
    return Engine(source, QueryLimits(), ManualClock(0))


def by_labels(vector):
    return {str(labels): value for labels, value in zip(vector.labels, vector.values.tolist(), strict=True)}


def test_a_bare_selector_carries_the_time_of_its_sample(engine):
    """A rule must know a repeated sample from a new one."""
    vector = engine.instant('requests_total{instance="c"}', 41 * STEP_MS)

    assert vector.sampled_at_ms.tolist() == [40 * STEP_MS]
    assert vector.time_ms == 41 * STEP_MS


def test_a_computed_vector_carries_the_time_of_the_evaluation(engine):
    vector = engine.instant("requests_total + 0", 1_000_000)

    assert set(vector.sampled_at_ms.tolist()) == {1_000_000}


def test_rates_are_summed_by_label(engine):
    assert by_labels(engine.instant("sum by (job) (rate(requests_total[5m]))", 600_000)) == {
        '{job="api"}': pytest.approx(2.0), '{job="web"}': pytest.approx(2.0),
    }


def test_a_range_query_marks_absent_points_by_their_bits(engine):
    matrix = engine.range('requests_total{instance="c"}', 0, 1_200_000, 300_000)

    assert matrix.times_ms.tolist() == [0, 300_000, 600_000, 900_000, 1_200_000]
    assert matrix.values[0, :3].tolist() == [0.0, 600.0, 1200.0]
    assert set(matrix.values[0, 3:].view(np.uint64).tolist()) == {ABSENT_NAN_BITS}


def test_a_range_query_orders_series_by_their_labels(engine):
    matrix = engine.range("requests_total", 0, 0, 1)

    assert [labels["instance"] for labels in matrix.labels] == ["a", "b", "c"]


def test_a_scalar_is_a_vector_without_labels_to_a_rule(engine):
    vector = engine.instant("1 + 2", 5_000)

    assert (vector.labels, vector.values.tolist()) == ((Labels(),), [3.0])


@pytest.mark.parametrize(("expr", "value"), [
    ("1 + 2", Scalar(7, 3.0)),
    ('"words"', Text(7, "words")),
    ("time()", Scalar(7, 0.007)),
])
def test_an_instant_query_keeps_the_type(engine, expr, value):
    assert engine.query(expr, 7) == value


def test_an_instant_query_of_a_range_gives_the_raw_samples(engine):
    samples = engine.query('requests_total{instance="a"}[30s]', 60_000)

    assert samples.timestamps.tolist() == [45_000, 60_000]
    assert samples.values.tolist() == [30.0, 40.0]


@pytest.mark.parametrize(("expr", "kind", "said"), [
    ("requests_total +", "bad_data", "unexpected end of input"),
    ("rate(requests_total)", "bad_data", "expected type range vector in call to function 'rate'"),
    ("nosuch(x)", "bad_data", "nosuch"),
    ('"text"', "bad_data", "not a vector or scalar"),
    ("requests_total[5m]", "bad_data", "not a vector or scalar"),
    ("requests_total * on(job) requests_total", "execution", "found duplicate series for the match group"),
    ('label_replace(requests_total, "instance", "", "", "")', "execution", "same labelset"),
])
def test_errors_have_prometheus_kind(engine, expr, kind, said):
    with pytest.raises(QueryError, match="(?s)" + said) as raised:
        engine.instant(expr, 60_000)

    assert raised.value.kind == kind


def test_an_error_points_at_its_place(engine):
    with pytest.raises(QueryError) as raised:
        engine.check("sum by (job) (rate(requests_total[5m]))\n  / nosuch(requests_total)")

    problem = raised.value.problems[0]
    assert (problem.line, problem.column, problem.width) == (2, 5, len("nosuch"))
    assert problem.source == "  / nosuch(requests_total)"


@pytest.mark.parametrize(("start", "end", "step", "said"), [
    (0, 10, 0, "zero or negative query resolution"),
    (10, 0, 1, "end timestamp must not be before start"),
    (0, 11_001_000, 1_000, "exceeded maximum resolution of 11,000 points"),
])
def test_a_range_query_has_a_sensible_range(engine, start, end, step, said):
    with pytest.raises(QueryError, match=said):
        engine.range("1", start, end, step)


def test_a_query_that_reads_too_many_samples_is_refused(source):
    engine = Engine(source, QueryLimits(max_samples=50), ManualClock(0))

    with pytest.raises(LimitExceeded) as raised:
        engine.instant("sum_over_time(requests_total[1h])", 3_600_000)

    assert raised.value.limit == "query.max_samples"


def test_a_selector_that_gives_too_many_series_is_refused(source):
    engine = Engine(source, QueryLimits(max_series=2), ManualClock(0))

    with pytest.raises(LimitExceeded, match="gives 3 series, the limit is 2"):
        engine.instant("requests_total", 60_000)


def test_a_query_nobody_waits_for_stops(engine):
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(QueryError) as raised:
        engine.evaluate_instant("requests_total", 60_000, cancel=cancel)

    assert raised.value.kind == "canceled"


def test_names_that_were_derived_are_forgotten_beyond_the_limit():
    cache = NameCache(limit=10)
    many = tuple(Labels({"__name__": "x", "n": str(n)}) for n in range(50))

    first = cache.nameless(many)

    assert first == cache.nameless(many) == tuple(labels.without("__name__") for labels in many)
    assert cache.derived("nameless", str).known == {}


def test_a_query_that_takes_too_long_stops(source):
    class SlowClock(ManualClock):
        def monotonic(self):
            return self.advance_ms(70_000) / 1000

    engine = Engine(source, QueryLimits(timeout_s=120), SlowClock(0))

    with pytest.raises(QueryError) as raised:
        engine.instant("sum(rate(requests_total[5m]))", 60_000)

    assert raised.value.kind == "timeout"


def test_series_that_cannot_be_matched_are_named_as_they_would_be_written():
    source = MemorySource()
    for value in ('a\\"b', "c"):
        source.load(str(Labels({"__name__": "odd", "x": value})), "1x5", step_ms=60_000)

    with pytest.raises(QueryError, match="duplicate series") as raised:
        Engine(source).query("odd * on () odd", 60_000)

    assert '{__name__="odd", x="a\\\\\\"b"}' in str(raised.value)
