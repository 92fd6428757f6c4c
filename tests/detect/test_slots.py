"""Labels to slots: a table of our own that behaves like a dictionary, and slots that are given out again."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.columns import BLOCK_SERIES, Block, Column
from observe.detect.detector import detectors
from observe.detect.engine import create
from observe.detect.index import Index, hashes_of
from observe.detect.slots import SlotTable
from tests.detect.streams import FIELDS, fold, name

COLUMNS = (Column("sum", "f8"), Column("last", "f4", 2, np.nan, by_series=True), Column("ring", "f8", 3, counted=True))


def of_hash(number, key):
    """A name whose hash is chosen."""
    labels = name(number)
    object.__setattr__(labels, "_hash", key)
    return labels


@pytest.mark.parametrize("hashes", [lambda n: hash(name(n)), lambda n: n % 7 + 3, lambda n: n << 40], ids=[
    "as they are", "seven for all", "that differ in high bits only"])
def test_an_index_is_a_dictionary(hashes):
    rng, names = np.random.default_rng(4), [of_hash(n, hashes(n)) for n in range(600)]
    owners, known = [None] * 600, {}
    index = Index(owners)
    for _ in range(60):
        slots = [slot for slot in rng.choice(600, 25, replace=False).tolist() if owners[slot] is None]
        came = [names[slot] for slot in slots]
        known.update(zip(came, slots, strict=True))
        for slot in slots:
            owners[slot] = names[slot]
        index.put(hashes_of(came), slots)
        gone = [names[slot] for slot in rng.choice(600, 25).tolist()]
        assert sorted({known[each] for each in gone if each in known}) == index.pop(gone).tolist()
        for slot in {known.pop(each) for each in gone if each in known}:
            owners[slot] = None

        assert [known.get(each, -1) for each in names] == index.find(names).tolist()
        assert [known.get(each) for each in names] == [index.get(each) for each in names]
        assert (len(known), set(known)) == (len(index), set(index))


def test_an_index_of_many_that_come_and_go_stays_small():
    owners = [None] * 100
    index = Index(owners)
    for number in range(200):
        names = [name(100 * number + n) for n in range(100)]
        owners[:] = names
        index.put(hashes_of(names), range(100))
        index.pop(names)

    assert len(index._table[0]) <= 1024
    with pytest.raises(KeyError):
        index[name(0)]


def test_a_slot_given_out_again_is_as_new_and_of_the_next_generation():
    table = SlotTable(COLUMNS)
    first = tuple(name(n) for n in range(40))
    table.plan(first)
    for array in table.blocks[0].arrays.values():
        array[:] = 7

    table.forget(first[10:20])
    table.plan((*first[:10], *first[20:], name(99), name(98)))

    again = table.slot_of.find([name(99), name(98)])
    arrays = table.blocks[0].arrays
    assert set(again.tolist()) <= set(range(10, 20))
    assert [2, 2] == table.generation[again].tolist()
    assert [0, 0] == arrays["sum"][0, again].tolist()
    assert np.isnan(arrays["last"][again]).all()
    assert (arrays["ring"][:, again] == 7).all()  # read only as far as counted
    assert (arrays["sum"][0, table.slot_of.find(first[:10])] == 7).all()


def test_a_name_twice_in_a_result_has_one_slot():
    table = SlotTable(COLUMNS)

    parts = table.plan((name(1), name(2), name(1)))

    assert [0, 1, 0] == parts[0].offsets.tolist()
    assert 2 == len(table)


def test_a_block_is_filled_before_the_next_is_begun_and_later_ones_begin_at_full_size():
    table = SlotTable(COLUMNS)
    table.plan(tuple(name(n) for n in range(BLOCK_SERIES - 1)))
    table.plan(tuple(name(n) for n in range(BLOCK_SERIES + 3)))

    assert [(BLOCK_SERIES, BLOCK_SERIES), (3, BLOCK_SERIES)] == [(each.used, each.capacity) for each in table.blocks]
    assert np.isnan(table.blocks[1].arrays["last"][:3]).all()
    assert 16 == Block(COLUMNS).capacity


def churned(names, left, fresh, order, rng):
    """The names of the next tick."""
    if order == "at the place of those that left":
        heirs = dict(zip(left, fresh, strict=True))
        return [heirs.get(each, each) for each in names]
    after = [*(each for each in names if each not in left), *fresh]
    return [after[place] for place in rng.permutation(len(after))] if order == "shuffled" else after


@pytest.mark.parametrize("detector", detectors())
@pytest.mark.parametrize("order", ["at the place of those that left", "at the end", "shuffled"])
def test_series_that_come_and_go_are_judged_as_each_alone(detector, order):
    rng, hour = np.random.default_rng(3), 3_600_000
    band = Band(detector=detector, window=8)
    engine, names, born = create(band, hour), [name(n) for n in range(60)], 60
    begun, values, said = {}, {}, {}
    for tick in range(150):
        points = 50 + rng.standard_normal(len(names))
        judged = fold(engine, points[None], labels=tuple(names), start=tick, interval_ms=hour)
        for place, each in enumerate(names):
            begun.setdefault(each, tick)
            values.setdefault(each, []).append(points[place])
            said.setdefault(each, []).append([getattr(judged, field)[0, place] for field in FIELDS])
        left = [names[place] for place in rng.choice(len(names), 2, replace=False)]
        engine.forget(left[: tick % 3])  # the others stay where they are: nobody said that they are gone for ever
        names = churned(names, left, [name(born), name(born + 1)], order, rng)
        born += 2

    assert len(engine) < len(begun)
    assert max(engine.slots.generation) > 2
    longest = sorted(said, key=lambda each: -len(said[each]))[:25]
    assert any(row[FIELDS.index("ready")] for row in said[longest[0]])
    for each in (*longest, *names[:10]):
        alone = fold(create(band, hour), values[each], labels=(each,), start=begun[each], interval_ms=hour)
        for column, field in enumerate(FIELDS):
            np.testing.assert_array_equal(getattr(alone, field)[:, 0], [row[column] for row in said[each]])
