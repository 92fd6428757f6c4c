"""Matchers have Prometheus' meaning: anchored RE2, and an absent label is the empty value."""

import pytest

from observe.errors import QueryError
from observe.model import Exemplar, Labels, MetricMetadata
from tests.store.metrics.conftest import NOW, parse


@pytest.fixture
def full(bench):
    for number, (job, code) in enumerate([("api", "200"), ("api", "500"), ("web", "200"), ("web", None)]):
        bench.put("hits", [(number, 1.0)], job=job, **({"code": code} if code else {}))
    bench.put("up", [(0, 1.0)], job="api", note="two\nlines")
    return bench


@pytest.mark.parametrize(("matchers", "expected"), [
    (["__name__=hits"], 4),
    (["__name__=hits", "job=api"], 2),
    (["__name__=hits", "job!=api"], 2),
    (["__name__=hits", "code="], 1),
    (["__name__=hits", "code!="], 3),
    (["__name__=hits", "code=~2.."], 2),
    (["__name__=hits", "code=~20"], 0),
    (["__name__=hits", "code=~200|500"], 3),
    (["__name__=hits", "code=~200|"], 3),
    (["__name__=hits", "code!~200"], 2),
    (["__name__=hits", "code!~2.*"], 2),
    (["__name__=hits", "code=~.*"], 4),
    (["__name__=hits", "code=~.+"], 3),
    (["__name__=hits", "nothing="], 4),
    (["__name__=hits", "nothing=x"], 0),
    (["__name__=hits", "nothing!=x"], 4),
    (["__name__=hits", "nothing=~x|"], 4),
    (["job=~a.*", "code!=500"], 2),
    (["note=~two.lines"], 1),
    ([], 5),
])
def test_matchers(full, matchers, expected):
    assert len(full.read(*matchers)) == expected
    assert len(full.store.series([parse(matcher) for matcher in matchers], NOW, NOW + 10)) == expected


def test_an_expression_that_is_not_re2_is_refused_with_its_reason(full):
    with pytest.raises(QueryError, match="not valid"):
        full.read("job=~(?=x)")


def test_new_series_join_a_selector_asked_before(full):
    assert len(full.read("code=~[0-9]+")) == 3
    full.put("hits", [(0, 1.0)], code="404")

    assert len(full.read("code=~[0-9]+")) == 4


def test_names_and_values(full):
    assert full.store.label_names([], NOW, NOW) == ["__name__", "code", "job", "note"]
    assert full.store.label_names([parse("job=web")], NOW, NOW + 10) == ["__name__", "code", "job"]
    assert full.store.label_values("job", [], NOW, NOW) == ["api", "web"]
    assert full.store.label_values("code", [parse("job=api")], NOW, NOW + 10) == ["200", "500"]


def test_series_are_told_only_where_they_have_samples(full):
    found = full.store.series([parse("__name__=hits")], NOW + 1, NOW + 2)

    assert [str(labels) for labels in found] == ['hits{code="200", job="web"}', 'hits{code="500", job="api"}']


def test_exemplars_are_kept_once_and_found_by_their_series(bench):
    series = Labels({"__name__": "latency_bucket", "le": "1"})
    one = Exemplar(series, Labels({"trace_id": "0af7651916cd43dd8448eb211c80319c"}), 0.5, NOW)
    bench.store.append_exemplars([one, one])
    bench.store.append_exemplars([one])
    for store in (bench.store, bench.reopen()):
        assert store.exemplars([[parse("le=1")]], NOW - 1, NOW + 1) == [one]
        assert store.exemplars([[parse("le=2")]], NOW - 1, NOW + 1) == []
        assert store.exemplars([[parse("le=1")]], NOW + 1, NOW + 2) == []


def test_exemplars_beyond_the_bound_push_out_the_oldest(make):
    bench = make(exemplar_limit=3)
    bench.store.append_exemplars([Exemplar(Labels({"a": "b"}), Labels(), float(n), NOW + n) for n in range(5)])

    assert [one.value for one in bench.store.exemplars([[]], 0, 2**62)] == [2.0, 3.0, 4.0]


def test_metadata_is_kept_by_metric_name(bench):
    told = {"hits_total": MetricMetadata("counter", "Hits.", ""), "up": MetricMetadata("gauge", "Up.", "")}
    bench.store.append_metadata(told)
    bench.store.append_metadata({"up": MetricMetadata("gauge", "Is it up?", "")})

    for store in (bench.store, bench.reopen()):
        assert store.metadata() == {**told, "up": MetricMetadata("gauge", "Is it up?", "")}


def test_stats_tell_what_most_series_are_of(full):
    stats = full.store.stats()

    assert (stats["series"], stats["label_pairs"], stats["max_time_ms"]) == (5, 7, NOW + 3)
    assert stats["cardinality"]["series_by_metric"] == [("hits", 4), ("up", 1)]
    assert stats["cardinality"]["series_by_pair"][0] == ("__name__=hits", 4)
    assert stats["cardinality"]["values_by_name"][0] == ("__name__", 2)
