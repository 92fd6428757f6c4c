"""What becomes of samples that are appended, and that they are readable at once."""

import numpy as np
import pytest

from observe.model import NORMAL_NAN_BITS, STALE_NAN, STALE_NAN_BITS, Frame, Labels
from observe.protocols import NO_SERIES, Appended
from tests.store.metrics.conftest import NOW


def test_a_frame_is_read_back_as_it_was(bench):
    told = bench.frame([[1, 2], [3, None]], at=[0, 15_000], names=["a", "b"])

    assert told == Appended(stored=3)
    assert bench.read("job=a") == {'a{job="a"}': [(0, 1.0), (15_000, 3.0)], 'b{job="a"}': [(0, 2.0)]}


def test_a_range_is_closed_at_both_ends(bench):
    bench.put("a", [(at, at) for at in range(0, 50, 10)])

    assert bench.read("__name__=a", start=10, end=30) == {"a": [(10, 10.0), (20, 20.0), (30, 30.0)]}


def test_series_without_a_sample_in_the_range_are_left_out(bench):
    bench.put("a", [(0, 1)])
    bench.put("b", [(100, 1)])

    assert list(bench.read("__name__=~a|b", start=50, end=200)) == ["b"]


def test_stale_markers_and_nans_keep_their_bits_through_head_chunks_and_log(make):
    bench = make(rows=2)
    nan = np.uint64(NORMAL_NAN_BITS).view(np.float64)
    bench.put("a", [(0, 1.0), (1, nan), (2, STALE_NAN), (3, 2.0), (4, STALE_NAN)])
    for store in (bench.store, bench.reopen()):
        found = store.select([], NOW, NOW + 10)

        assert found.values.view(np.uint64).tolist()[1:] == [
            NORMAL_NAN_BITS, STALE_NAN_BITS, np.float64(2.0).view(np.uint64), STALE_NAN_BITS]


@pytest.mark.parametrize(("story", "settings", "samples", "outcome", "kept"), [
    ("a second sample at the same time is a duplicate", {}, [(0, 1), (0, 2)], "duplicate", [(0, 1.0)]),
    ("a late one is kept in its place", {}, [(0, 1), (2000, 3), (1000, 2)], "out_of_order",
     [(0, 1.0), (1000, 2.0), (2000, 3.0)]),
    ("before the first of all too", {}, [(2000, 3), (1000, 2)], "out_of_order", [(1000, 2.0), (2000, 3.0)]),
    ("a late one at a time that is taken is a duplicate", {}, [(0, 1), (1, 2), (2, 3), (1, 9)], "duplicate",
     [(0, 1.0), (1, 2.0), (2, 3.0)]),
    ("behind the window it is too old", {"late_window_ms": 500}, [(0, 1), (1000, 2), (499, 9)], "too_old",
     [(0, 1.0), (1000, 2.0)]),
    ("late into an hour before", {"late_window_ms": 10**8}, [(0, 1), (7_200_000, 2), (60_000, 9)], "out_of_order",
     [(0, 1.0), (60_000, 9.0), (7_200_000, 2.0)]),
])
def test_samples_out_of_order(make, story, settings, samples, outcome, kept):
    bench = make(future_ms=10**8, **settings)

    told = bench.put("a", samples)

    assert told[-1] == Appended(**{outcome: 1}), story
    assert bench.read("__name__=a", end=10**8) == {"a": kept}
    bench.reopen()
    assert bench.read("__name__=a", end=10**8) == {"a": kept}


def test_late_samples_into_packed_chunks_are_merged_and_never_doubled(make):
    bench = make(rows=4, late_window_ms=10**7)
    bench.put("a", [(at * 1000, at) for at in range(0, 40, 2)])
    bench.put("a", [(at * 1000, at) for at in range(1, 40, 2)])
    bench.put("a", [(7000, 99.0), (8000, 99.0)])

    assert bench.read() == {"a": [(at * 1000, float(at)) for at in range(40)]}
    bench.store._head.flush_late()
    assert bench.read() == {"a": [(at * 1000, float(at)) for at in range(40)]}
    assert bench.read(start=6500, end=9000) == {"a": [(7000, 7.0), (8000, 8.0), (9000, 9.0)]}


def test_future_and_ancient_samples_are_refused(bench):
    assert bench.put("a", [(600_001, 1)]) == [Appended(future=1)]
    assert bench.put("a", [(-16 * 24 * 3_600_000, 1)]) == [Appended(too_old=1)]
    assert bench.put("a", [(600_000, 1)]) == [Appended(stored=1)]


def test_accept_old_takes_any_age_in_any_order(make):
    bench = make(accept_old=True)
    times = np.random.default_rng(3).permutation(2000) * 60_000

    bench.put("a", [(int(at) - NOW, float(at)) for at in times])

    found = bench.store.select([], 0, 2**62)
    assert found.timestamps.tolist() == sorted(times.tolist())
    assert found.values.tolist() == sorted(times.tolist())


def test_a_late_row_of_a_frame_finds_its_place(bench):
    bench.frame([[1, 1], [3, 3]], at=[0, 2000], names=["a", "b"])

    told = bench.frame([[2, None], [4, 4]], at=[1000, 3000], names=["a", "b"])

    assert told == Appended(stored=2, out_of_order=1)
    assert bench.read("__name__=a") == {'a{job="a"}': [(0, 1.0), (1000, 2.0), (2000, 3.0), (3000, 4.0)]}


def test_chunks_break_at_the_hour_and_read_as_one(make):
    bench = make(rows=8, future_ms=10**9)
    samples = [(at * 15_000, float(at % 7)) for at in range(1000)]

    bench.put("a", samples)

    assert bench.read(end=10**9) == {"a": samples}
    assert len(bench.store._head.parts) == 5


def test_series_beyond_the_limit_of_an_owner_are_refused_and_counted(make):
    bench = make(owner_limit=2)
    names = [Labels({"__name__": name}) for name in "abc"]

    ids = bench.store.series_ids(names, owner="job/1")

    assert (ids == NO_SERIES).tolist() == [False, False, True]
    told = bench.store.append(Frame(np.array([NOW]), ids, np.ones((1, 3))))
    assert told == Appended(stored=2, over_limit=1)
    assert (bench.store.series_ids(names, owner="job/2") == NO_SERIES).tolist() == [False] * 3
    assert bench.telemetry.registry.get_sample_value(
        "observe_store_samples_total", {"outcome": "over_limit"}) == 1.0


def test_owners_without_series_are_forgotten_and_each_keeps_its_own_limit(make):
    bench = make(owner_limit=2, cache_bytes=0)
    names = [Labels({"__name__": "kept", "n": str(n)}) for n in range(3)]

    for number in range(20_000):  # a target a deployment, whose series never came
        bench.store.series_ids([], owner=f"pod/{number}")
        if number % 5_000 == 0:
            ids = bench.store.series_ids(names, owner="steady")
            assert (ids == NO_SERIES).tolist() == [False, False, True]

    assert len(bench.store._owners) <= 1024
    assert len(bench.store._head.owned) <= 1024


def test_an_id_that_was_never_given_is_unknown(bench):
    told = bench.store.append(Frame(np.array([NOW]), np.array([77], np.uint32), np.ones((1, 1))))

    assert told == Appended(unknown=1)


def test_asking_twice_gives_the_same_ids(bench):
    names = [Labels({"__name__": "a"}), Labels({"__name__": "b"}), Labels({"__name__": "a"})]

    first = bench.store.series_ids(names)

    assert first[0] == first[2] != first[1]
    assert bench.store.series_ids(names).tolist() == first.tolist()
    assert bench.reopen().series_ids(names).tolist() == first.tolist()


def test_an_id_is_good_though_its_first_sample_takes_a_while(bench):
    ids = bench.store.series_ids([Labels({"__name__": "a"})])
    for _ in range(10):
        bench.clock.advance("2m")
        bench.store.maintain(bench.clock.now_ms(), 10.0)

    assert bench.store.append(Frame(np.array([NOW]), ids, np.ones((1, 1)))) == Appended(stored=1)
