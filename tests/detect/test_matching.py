"""Which series of one result were in the result before: told by identity, right for any order of them."""

import numpy as np
import pytest

from observe.detect import matching
from observe.detect.matching import Row
from tests.detect.streams import name

NAMES = tuple(name(n) for n in range(5_000))
RNG = np.random.default_rng(2)


def without(names, gone):
    gone = set(gone)
    return tuple(each for place, each in enumerate(names) if place not in gone)


CASES = {
    "the same": (NAMES, NAMES),
    "nothing before": ((), NAMES[:9]),
    "nothing now": (NAMES, ()),
    "one of a hundred left": (NAMES, without(NAMES, range(0, 5_000, 100))),
    "one of a hundred came": (without(NAMES, range(0, 5_000, 100)), NAMES),
    "one of a hundred was replaced at its place": (
        NAMES, tuple(name(10_000 + n) if n % 100 == 0 else each for n, each in enumerate(NAMES))),
    "a thousand neighbours left": (NAMES, without(NAMES, range(2_000, 3_000))),
    "a thousand neighbours came": (without(NAMES, range(2_000, 3_000)), NAMES),
    "another order": (NAMES, tuple(NAMES[place] for place in RNG.permutation(5_000))),
    "the other way round": (NAMES, NAMES[::-1]),
    "nobody of before": (NAMES[:2_500], NAMES[2_500:]),
}


@pytest.mark.parametrize("read", ["as laid out", "by asking each"])
@pytest.mark.parametrize("case", CASES)
def test_every_object_is_found_where_it_stood_before(case, read, monkeypatch):
    monkeypatch.setattr(matching, "_LAID_OUT", read == "as laid out")
    monkeypatch.setattr(matching, "_FEW", 0)
    before, after = CASES[case]
    places = {id(each): place for place, each in enumerate(before)}

    source, taken = Row(before).places_of(Row(after))

    assert [places.get(id(each), -1) for each in after] == source.tolist()
    assert sorted(source[source >= 0].tolist()) == np.flatnonzero(taken).tolist()


def test_few_that_are_out_of_step_are_left_to_be_asked_for_by_name():
    before = NAMES[:1_000]
    after = (*before[500:510], *before[:500], *before[510:])

    source, _ = Row(before).places_of(Row(after))

    found = source >= 0
    assert 10 <= (~found).sum() <= matching._FEW or found.all()
    assert np.arange(1_000)[[before.index(each) for each in after]][found].tolist() == source[found].tolist()


def test_equal_names_that_are_other_objects_are_not_found_and_twins_only_once():
    before = (name(1), name(2))

    source, _ = Row(before).places_of(Row((before[1], name(1), before[1])))

    assert [1, -1, -1] == source.tolist()


def test_this_python_lays_tuples_out_as_expected():
    """Else a million series cost 40 ms more a tick: right, but slower than said."""
    assert matching._LAID_OUT
