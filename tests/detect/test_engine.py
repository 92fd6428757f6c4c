"""The engine's frame: series come and go, blocks, threads, snapshots, results that stay as they were."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.columns import BLOCK_SERIES
from observe.detect.engine import create
from observe.errors import StorageError
from observe.model import Vector
from tests.detect.streams import INTERVAL_MS, START_MS, fold, name

BAND = Band(detector="rolling", window=5)
RNG = np.random.default_rng(7)


def test_series_that_come_and_go_keep_their_own_state():
    engine = create(BAND, INTERVAL_MS)
    fold(engine, RNG.standard_normal((10, 3)))

    judged = fold(engine, [[1.0, 2.0]], labels=(name(9), name(1)), start=10)

    assert [False, True] == judged.ready[0].tolist()
    assert 4 == len(engine)


def test_a_forgotten_series_leaves_nothing_to_the_next_in_its_slot():
    engine = create(BAND, INTERVAL_MS)
    fold(engine, RNG.standard_normal((10, 1)))
    slot = engine.slots.slot_of[name(0)]
    engine.forget([name(0)])

    judged = fold(engine, [[1.0]], labels=(name(7),), start=10)

    assert slot == engine.slots.slot_of[name(7)]
    assert 2 == engine.slots.generation[slot]
    assert not judged.ready[0, 0]


def test_a_forgotten_series_that_comes_back_in_the_same_tuple_starts_anew():
    engine, labels = create(BAND, INTERVAL_MS), (name(0), name(1))
    fold(engine, RNG.standard_normal((10, 2)), labels=labels)
    engine.forget([name(1)])

    judged = fold(engine, [[0.0, 0.0]], labels=labels, start=10)

    assert [True, False] == judged.ready[0].tolist()


def test_many_blocks_over_threads_equal_each_series_alone():
    series = 2 * BLOCK_SERIES + 77
    labels = tuple(name(n) for n in range(series))
    values = RNG.standard_normal((8, series))
    engine = create(BAND, INTERVAL_MS)

    together = fold(engine, values, labels=labels)

    for n in (0, 1, BLOCK_SERIES - 1, BLOCK_SERIES, series - 1):
        alone = fold(create(BAND, INTERVAL_MS), values[:, n])
        np.testing.assert_array_equal(alone.upper[:, 0], together.upper[:, n])


def test_results_stay_as_they_were_while_someone_holds_them():
    engine, labels = create(BAND, INTERVAL_MS), (name(0),)
    kept = [
        engine.step(Vector(START_MS + t * INTERVAL_MS, labels, np.array([float(t * t)]), np.array([0])))
        for t in range(20)
    ]

    again = fold(create(BAND, INTERVAL_MS), np.arange(20.0) ** 2)

    np.testing.assert_array_equal(again.upper[:, 0], [judged.upper[0] for judged in kept])


def test_series_that_stayed_away_free_their_state():
    engine = create(BAND, INTERVAL_MS)
    fold(engine, RNG.standard_normal((3, 2)))
    away = engine.detector.expire_ms // INTERVAL_MS + 1

    fold(engine, RNG.standard_normal((300, 1)), start=3 + away)

    assert 1 == len(engine)


@pytest.mark.parametrize("cut", [1, 37, 99])
def test_a_snapshot_restored_mid_stream_goes_on_with_the_same_bands(cut):
    values = RNG.standard_normal((120, 4))
    whole = fold(create(BAND, INTERVAL_MS), values)
    first = create(BAND, INTERVAL_MS)
    fold(first, values[:cut])
    second = create(BAND, INTERVAL_MS)

    second.restore(first.snapshot())
    rest = fold(second, values[cut:], start=cut)

    np.testing.assert_array_equal(whole.upper[cut:], rest.upper)
    np.testing.assert_array_equal(whole.firing[cut:], rest.firing)


def test_chunks_cut_at_different_ticks_agree_after_a_replay_from_the_oldest():
    values = RNG.standard_normal((30, BLOCK_SERIES + 5))
    labels = tuple(name(n) for n in range(BLOCK_SERIES + 5))
    engine = create(BAND, INTERVAL_MS)
    fold(engine, values[:10], labels=labels)
    pieces = engine.snapshot_chunks()
    saved = [next(pieces), next(pieces)]
    fold(engine, values[10:20], labels=labels, start=10)
    saved.extend(pieces)

    twin = create(BAND, INTERVAL_MS)
    twin.restore(b"".join(saved))
    fold(twin, values[10:20], labels=labels, start=10)

    ahead, behind = fold(engine, values[20:], labels=labels, start=20), fold(twin, values[20:], labels=labels, start=20)
    np.testing.assert_array_equal(ahead.upper, behind.upper)


DAMAGE = {
    "empty": lambda state: b"",
    "torn": lambda state: state[:-7],
    "torn in the header": lambda state: state[:5],
    "one bit flipped": lambda state: state[:-20] + bytes([state[-20] ^ 1]) + state[-19:],
    "bytes too many": lambda state: state + b"x" * 40,
    "not ours": lambda state: b"PK" + state[2:],
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_snapshot_is_refused_and_the_engine_keeps_what_it_had(case):
    engine = create(BAND, INTERVAL_MS)
    fold(engine, RNG.standard_normal((10, 3)))
    state = engine.snapshot()

    with pytest.raises(StorageError, match="learned again from the store"):
        engine.restore(DAMAGE[case](state))

    assert state == engine.snapshot()


def test_a_snapshot_of_another_shape_is_refused():
    engine = create(BAND, INTERVAL_MS)
    fold(engine, RNG.standard_normal((10, 3)))

    with pytest.raises(StorageError, match="another kind"):
        create(Band(detector="rolling", window=6), INTERVAL_MS).restore(engine.snapshot())


def test_rolling_state_stays_under_400_bytes_a_series():
    assert create(Band(detector="rolling", window=30), INTERVAL_MS).bytes_per_series <= 400


def test_many_series_that_went_away_are_freed_a_bounded_number_a_tick(monkeypatch):
    monkeypatch.setattr("observe.detect.engine._SWEPT_AT_ONCE", 10)
    engine = create(Band(detector="rolling"), INTERVAL_MS)
    gone = tuple(name(n) for n in range(25))
    fold(engine, np.zeros((2, 25)), labels=gone)
    engine.forget(gone[:3])
    later = engine.detector.expire_ms // INTERVAL_MS + 10
    sizes = []
    for tick in range(260):
        fold(engine, [[0.0]], labels=(name(99),), start=later + tick)
        sizes.append(len(engine))

    # at each of three ticks ten places are looked at; two of the first ones were free already
    assert [23, 15, 5, 1] == list(dict.fromkeys(sizes))
