"""Young series of an `auto` rule are watched by a band of few points, until `auto` knows enough."""

from dataclasses import replace

import numpy as np
import pytest

from observe.detect.band import Band, Quorum
from observe.detect.engine import Engine
from observe.detect.engine import create as create_plain
from observe.detect.staged import StagedEngine, create, first_stage
from observe.errors import StorageError
from tests.detect import streams
from tests.detect.streams import FIELDS, name

INTERVAL_MS = 600_000
MINUTE_MS = 60_000
DAY = 144
"""Points. `auto` judges after 104, and is of age when its floor is in force."""
BAND = Band.parse({"direction": "above", "min_rel": "50%", "relearn_after": "2d"})[0]
QUIET = 50 + np.random.default_rng(3).standard_normal(400)


def fold(engine, values, interval_ms=INTERVAL_MS, **settings):
    return streams.fold(engine, values, interval_ms=interval_ms, **settings)


def staged():
    return create(BAND, INTERVAL_MS)


def test_a_young_series_is_judged_after_thirty_points_and_by_auto_from_its_second_day_on():
    engine, auto = staged(), create_plain(BAND, INTERVAL_MS)

    run, alone = fold(engine, QUIET), fold(auto, QUIET)

    assert 104 == int(np.argmax(alone.ready[:, 0]))
    assert 30 == int(np.argmax(run.ready[:, 0]))
    assert run.ready[30:].all()
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(alone, field)[DAY:], getattr(run, field)[DAY:])
    assert 0 == len(engine._young)
    assert [] == engine._young.slots.blocks  # and holds no memory any more


def test_a_fault_of_a_young_series_fires_and_stays_on_for_as_long_as_it_lasts():
    faulty = QUIET.copy()
    faulty[60:160] *= 3  # `auto` comes of age in the middle of it

    run = fold(staged(), faulty)

    assert not run.firing[:60].any()
    assert run.firing[62:160].all()
    assert not run.firing[166:].any()


@pytest.mark.parametrize("seed", range(5))
def test_a_gross_fault_in_the_first_hours_is_found_though_autos_floor_is_not_in_force_yet(seed):
    rng = np.random.default_rng(seed)
    hour = 240
    errors = np.r_[rng.binomial(400, 0.005, 2 * hour), rng.binomial(400, 0.33, hour)] / 400
    engine = create(Band.parse({"direction": "above", "min_abs": 0.05})[0], 15_000)

    run = fold(engine, errors, 15_000)

    assert not run.firing[: 2 * hour].any()
    assert run.firing[2 * hour + 3 :].all()


@pytest.mark.parametrize("detector", ["auto", "seasonal"])
def test_a_rise_of_half_an_hour_in_the_first_hours_is_found_for_the_window_of_a_first_stage_grows(detector):
    rng = np.random.default_rng(4)
    hour = 240
    latency = 0.4 * np.exp(0.05 * rng.standard_normal(5 * hour))
    latency[4 * hour :] *= np.minimum(np.linspace(1, 5, hour), 3)
    band = Band.parse({"detector": detector, "direction": "above", "min_rel": "60%"})[0]

    run = fold(create(band, 15_000), latency, 15_000)
    follower = fold(create_plain(replace(first_stage(band), window_grows=False), 15_000), latency, 15_000)

    assert not run.firing[: 4 * hour].any()
    assert run.firing[4 * hour + hour // 2 :].all()
    assert follower.firing[4 * hour + hour // 2 :].mean() < 0.5


def test_its_explanation_says_that_it_is_young():
    engine = staged()
    faulty = QUIET[:150].copy()
    faulty[60:] *= 3

    fold(engine, faulty[:12])
    assert engine.explain(name(0)).words[0].startswith("Not ready: 12 of 30 points are learned, about 3h to go")
    fold(engine, faulty[12:50], start=12)
    assert any("until its own detector has learned" in word for word in engine.explain(name(0)).words)
    fold(engine, faulty[50:], start=50)
    assert any("began while the series was young" in word for word in engine.explain(name(0)).words)


def test_a_snapshot_keeps_both_stages_also_in_the_middle_of_an_alert():
    faulty = QUIET.copy()
    faulty[60:160] *= 3
    before, after = staged(), staged()
    fold(before, faulty[:120])

    after.restore(before.snapshot())

    rest = [fold(engine, faulty[120:], start=120) for engine in (before, after)]
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(rest[0], field), getattr(rest[1], field))
    assert rest[0].firing[:40].all()
    with pytest.raises(StorageError, match="first stage"):
        after.restore(create_plain(BAND, INTERVAL_MS).snapshot())
    with pytest.raises(StorageError):
        after.restore(before.snapshot()[:-9])


def test_neighbours_of_another_age_change_nothing():
    old, young = QUIET, QUIET[::-1].copy()
    young[250:] *= 3
    together = np.c_[old, np.r_[np.full(200, np.nan), young[200:]]]

    both = staged()
    fold(both, old[:200])
    run = fold(both, together[200:], labels=(name(0), name(1)), start=200)
    alone = fold(staged(), young[200:], labels=(name(1),), start=200)

    for field in FIELDS:
        np.testing.assert_array_equal(getattr(alone, field)[:, 0], getattr(run, field)[:, 1])
    assert run.firing[60, 1]


def test_a_young_series_that_is_away_for_a_while_goes_on_and_one_of_age_is_let_go():
    engine, both = staged(), (name(0), name(1))
    fold(engine, np.c_[QUIET[:50], QUIET[50:100]], labels=both)
    fold(engine, QUIET[100:250], labels=both[:1], start=50)
    assert {name(1)} == set(engine._young.slots.slot_of)

    run = fold(engine, [[50.0, 50.0]], labels=both, start=200)

    assert [True, True] == run.ready[0].tolist()


def test_a_series_that_is_forgotten_is_forgotten_by_both():
    engine = staged()
    fold(engine, [*QUIET[:60], *[200.0] * 5])

    engine.forget([name(0)])

    assert (0, 0) == (len(engine._grown), len(engine._young))
    assert [False] == fold(engine, [200.0], start=65).firing[0].tolist()


def test_a_seasonal_rule_is_watched_for_its_first_two_days_and_then_sees_a_slow_rise():
    """Why shipped rules are seasonal: a band of thirty points follows a latency that rises over two hours."""
    band = Band.parse({"detector": "seasonal", "k": 4, "direction": "above", "min_abs": 0.25, "min_rel": "60%"})[0]
    days = 4 * 1440
    noise = 0.01 * np.random.default_rng(4).standard_normal(days)
    quiet = 0.2 * (1 + 0.3 * np.sin(2 * np.pi * np.arange(days) / 1440)) + noise
    rise = np.r_[quiet, quiet[:120] * np.linspace(1, 5, 120), quiet[:30] * 5]
    early = quiet.copy()
    early[600:640] += 1

    run, young = fold(create(band, MINUTE_MS), rise, MINUTE_MS), fold(create(band, MINUTE_MS), early, MINUTE_MS)
    follower = fold(create(replace(first_stage(band), window_grows=False), MINUTE_MS), rise, MINUTE_MS)

    assert run.ready[30:].all()
    assert not run.firing[:days].any()
    assert run.firing[-30:].all()
    assert not follower.firing.any()
    assert young.firing[602:640].all()


@pytest.mark.parametrize(
    ("settings", "k", "trigger"),
    [({}, 5.0, Quorum(3, 5)), ({"k": 4, "trigger": "4 of 5"}, 4.0, Quorum(4, 5)), ({"k": 4}, 4.0, Quorum(3, 5))],
)
def test_the_first_stage_of_a_seasonal_rule_has_the_defaults_of_robust_not_of_seasonal(settings, k, trigger):
    young = first_stage(Band.parse({"detector": "seasonal", "min_rel": "60%", **settings})[0])

    assert (k, trigger, Quorum(5, 5)) == (young.k, young.trigger, young.recover)


def test_a_band_that_names_no_least_deviation_waits_for_auto():
    assert isinstance(create(Band(), INTERVAL_MS), Engine)
    assert isinstance(create(Band(detector="rolling", min_rel=0.5), INTERVAL_MS), Engine)
    assert isinstance(create(Band(detector="seasonal", min_abs=0.5), INTERVAL_MS), StagedEngine)
    assert isinstance(staged(), StagedEngine)
