"""Places of series in results that change a little, or altogether; and what happens to those that are gone."""

import numpy as np

from observe.alert.judge import BandJudge
from observe.alert.places import Places
from observe.detect.band import Band
from observe.detect.staged import create
from observe.model import Vector
from tests.detect.streams import name


def test_places_are_those_of_the_last_result_whatever_came_before():
    rng, places, before = np.random.default_rng(6), Places(), ()
    for turn in range(200):
        kept = [each for each in before if rng.random() > (1.0 if turn % 50 == 49 else 0.1)]
        fresh = [name(number) for number in rng.choice(400, 12, replace=False).tolist()]
        after = list(dict.fromkeys([*kept, *fresh]))
        if turn % 3 == 0:
            after = [after[place] for place in rng.permutation(len(after))]
        if turn % 7 == 0:
            after = [name(int(each["i"])) for each in after]  # equal names, other objects: as after a restart

        moved = places.move(tuple(after))

        stood = {each: place for place, each in enumerate(before)}
        assert [stood.get(each, -1) for each in after] == moved.source.tolist()
        assert set(after) - set(before) == set(moved.came)
        assert set(before) - set(after) == set(moved.left)
        assert [after.index(each) if each in after else None for each in map(name, range(400))] == [
            places.get(each) for each in map(name, range(400))]
        before = tuple(after)
    assert len(places._place_of) < 250  # numbers are given out again


def test_a_name_that_a_result_has_twice_has_one_place():
    places, one = Places(), name(1)
    places.move((one, name(2), one))
    assert 0 == places.get(one)

    moved = places.move((name(3), one))

    assert (1, [name(3)]) == (places.get(one), moved.came)
    assert places.move(()).left == [name(3), one]
    assert places.get(one) is None


def judged(judge, labels, now_ms):
    judge.observe(Vector(now_ms, labels, np.ones(len(labels)), np.full(len(labels), now_ms)), (), now_ms)


def test_of_very_many_series_that_are_gone_the_first_lose_their_baseline_early_and_are_counted(monkeypatch):
    monkeypatch.setattr("observe.alert.judge.GONE_KEPT", 30)
    monkeypatch.setattr("observe.alert.judge._FORGOTTEN_AT_ONCE", 15)
    engine = create(Band(detector="rolling"), 15_000)
    judge = BandJudge("r", engine, lambda _names, _now: {})
    for tick in range(10):
        judged(judge, tuple(name(10 * tick + n) for n in range(10)), 15_000 * (tick + 1))

    assert 10 + 30 == len(engine)
    assert 60 == judge.crowded_out
    assert {name(n) for n in range(60, 100)} == set(engine.slots.slot_of)


def test_series_gone_for_a_day_are_forgotten_a_bounded_number_at_a_time(monkeypatch):
    monkeypatch.setattr("observe.alert.judge._FORGOTTEN_AT_ONCE", 15)
    engine = create(Band(detector="rolling"), 15_000)
    judge = BandJudge("r", engine, lambda _names, _now: {})
    one, others = (name(99),), tuple(name(n) for n in range(40))
    judged(judge, (*others, *one), 0)
    judged(judge, one, 15_000)
    sizes = []
    for tick in range(4):
        judged(judge, one, 24 * 3_600_000 + 15_000 * (tick + 2))
        sizes.append(len(engine))

    assert [26, 11, 1, 1] == sizes
    assert 0 == judge.crowded_out
