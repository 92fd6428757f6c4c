"""What every detector keeps to, found by discovery: streams that break naive detectors, and results that don't depend
on how a stream was cut, saved, ordered or surrounded."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.detector import detectors
from observe.detect.engine import create
from observe.model import Vector
from tests.detect.streams import FIELDS, START_MS, fold, name

INTERVAL_MS = 600_000
DAY = 144
LENGTH = 8 * DAY
RNG = np.random.default_rng(21)
NOISE = RNG.standard_normal(LENGTH)
HOURS = np.arange(LENGTH) / 6
DAILY = 50 + 20 * np.sin(2 * np.pi * HOURS / 24) + NOISE


def changed(values, start, stop, to):
    out = np.array(values, float)
    out[start:stop] = to
    return out


STREAMS = {
    "constant": np.full(LENGTH, 3.0),
    "constant zero": np.zeros(LENGTH),
    "gap": changed(DAILY, 700, 760, np.nan),
    "NaN now and then": np.where(np.arange(LENGTH) % 7 == 3, np.nan, DAILY),
    "all NaN": np.full(LENGTH, np.nan),
    "infinite now and then": np.where(np.arange(LENGTH) % 97 == 50, np.inf, DAILY),
    "greatest double for no value": np.where(np.isin(np.arange(LENGTH) % 250, (3, 4)), np.finfo(float).max, DAILY),
    "its negative on a constant": np.where(np.arange(LENGTH) % 250 == 3, -np.finfo(float).max, 3.0),
    "counter with a reset": np.cumsum(np.abs(NOISE)) % 300,
    "season": DAILY,
    "step from noise": np.where(np.arange(LENGTH) > 900, 250.0, 50.0) + NOISE,
    "noise drops to zero": changed(50 + NOISE, 901, 960, 0.0),
    "step": np.where(np.arange(LENGTH) > 900, DAILY + 200, DAILY),
    "spike": changed(DAILY, 900, 901, 1e4),
    "ramp": NOISE + np.maximum(0, np.arange(LENGTH) - 700) * 0.5,
    "drop to zero": changed(DAILY, 900, 960, 0.0),
    "constant, then change": np.where(np.arange(LENGTH) > 900, 9.0, 3.0),
    "sparse": np.where(np.arange(LENGTH) % 61 == 0, 5.0, 0.0),
    "bursty": np.where(np.arange(LENGTH) % 200 < 10, 50 + NOISE, 0.0),
    "tiny": 1e-12 * DAILY,
    "huge": 1e12 * DAILY,
    "large offset": 1e9 + NOISE,
}
ALL = pytest.mark.parametrize("detector", detectors())


def band(detector, **settings):
    return Band.parse({"detector": detector, **settings})[0]


def judged(detector, values, **settings):
    return fold(create(band(detector, **settings), INTERVAL_MS), values, interval_ms=INTERVAL_MS)


def same(expected, actual):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(expected, field), getattr(actual, field), err_msg=field)


@ALL
@pytest.mark.parametrize("stream", STREAMS)
def test_judgements_are_well_formed_on_every_stream(detector, stream):
    values = STREAMS[stream]

    run = judged(detector, values)

    ready, score = run.ready[:, 0], run.score[:, 0]
    assert np.isnan(score[~ready]).all()
    points = ready & ~np.isnan(values)
    assert np.isfinite(score[points]).all()
    assert (score[points] >= 0).all()
    assert np.isnan(score[np.isnan(values)]).all()
    assert np.isfinite(run.baseline[ready]).all()
    assert (run.lower[ready] <= run.baseline[ready]).all()
    assert (run.upper[ready] >= run.baseline[ready]).all()
    assert not run.outside[~ready].any()
    # while auto fires, outside means out of the band it began with, and the score goes on weighing news
    fires = np.append(False, run.firing[:-1, 0])
    said = points & ~fires if detector == "auto" else points
    np.testing.assert_array_equal(score[said] > 1, run.outside[said, 0])


@ALL
@pytest.mark.parametrize("stream", ["constant", "constant zero", "all NaN", "gap", "large offset"])
def test_quiet_streams_do_not_fire(detector, stream):
    # the first days of a season are news to whoever knows no seasons
    settings = {"k": 6.0} if detector != "auto" else {}
    quiet = np.where(np.isnan(STREAMS[stream]), np.nan, 50 + NOISE) if stream == "gap" else STREAMS[stream]

    run = judged(detector, quiet, **settings)

    assert 0 == run.firing.sum()


@ALL
@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("level", [3.0, -0.1, 1e15])
def test_the_band_of_a_constant_is_the_constant(detector, level, holds):
    run = judged(detector, np.full(LENGTH, level), hold=holds)

    assert run.ready[-1, 0]
    for edge in (run.lower, run.baseline, run.upper):
        np.testing.assert_allclose(edge[run.ready], level, rtol=1e-8)


@ALL
@pytest.mark.parametrize("settings", [{}, {"hold": False}], ids=["hold", "no hold"])
def test_a_number_too_large_to_be_squared_is_learned_by_none(detector, settings):
    """"No value" is often written as the greatest double there is: one of them spoiled sums, and so bands, for ever."""
    values = 50 + NOISE
    spoiled = values.copy()
    spoiled[[5, 300, 301]] = np.finfo(float).max, -1e200, 1e200

    clean, run = (judged(detector, stream, k=6.0 if detector != "auto" else "normal", **settings)
                  for stream in (values, spoiled))

    assert run.outside[300:302].all() or detector == "auto"
    assert not run.firing[400:].any()
    np.testing.assert_allclose(run.half[-1], clean.half[-1], rtol=0.2)


@ALL
@pytest.mark.parametrize("stream", ["step from noise", "noise drops to zero", "constant, then change"])
def test_a_fault_fires_and_ends(detector, stream):
    run = judged(detector, STREAMS[stream], relearn_after="8h")

    began = 901 + int(np.argmax(run.firing[901:906, 0]))
    assert run.firing[began, 0]
    assert not run.firing[began : began + 8 * 6 + 2].all()


@ALL
@pytest.mark.parametrize("stream", STREAMS)
def test_nothing_is_stuck_for_ever(detector, stream):
    quiet_again = np.concatenate([STREAMS[stream], np.full(2 * DAY, STREAMS[stream][-1])])

    run = judged(detector, quiet_again, relearn_after="4h")

    on = np.flatnonzero(np.diff(np.r_[0, run.firing[:, 0].astype(int), 0]))
    at_most = 24 + np.isnan(quiet_again).sum()
    assert all(last - first <= at_most for first, last in zip(on[::2], on[1::2], strict=True))


@ALL
@pytest.mark.parametrize("stream", ["season", "step", "gap", "bursty"])
def test_in_one_go_point_by_point_and_through_a_restart_give_the_same_bands(detector, stream):
    values = STREAMS[stream]
    whole = judged(detector, values)
    times = START_MS + INTERVAL_MS * np.arange(LENGTH, dtype=np.int64)
    at_once = create(band(detector), INTERVAL_MS).fold(times, (name(0),), values[:, None])
    same(whole, at_once)

    for cut in (3, 500, 905):
        before, after = create(band(detector), INTERVAL_MS), create(band(detector), INTERVAL_MS)
        fold(before, values[:cut], interval_ms=INTERVAL_MS)
        after.restore(before.snapshot())
        rest = fold(after, values[cut:], start=cut, interval_ms=INTERVAL_MS)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(whole, field)[cut:], getattr(rest, field), err_msg=f"{field} {cut}")


@ALL
def test_order_and_neighbours_do_not_matter(detector):
    names = [key for key in STREAMS if key != "all NaN"]
    table = np.stack([STREAMS[key] for key in names], axis=1)
    together = judged(detector, table)
    mirrored = fold(create(band(detector), INTERVAL_MS), table[:, ::-1],
                    labels=tuple(name(n) for n in range(len(names)))[::-1], interval_ms=INTERVAL_MS)

    for n, key in enumerate(names):
        alone = judged(detector, STREAMS[key])
        np.testing.assert_array_equal(alone.upper[:, 0], together.upper[:, n], err_msg=key)
        np.testing.assert_array_equal(alone.firing[:, 0], mirrored.firing[:, len(names) - 1 - n], err_msg=key)


@ALL
def test_a_point_is_judged_by_what_came_before_it(detector):
    """Whatever comes later, what was said stays said."""
    one, other = DAILY.copy(), DAILY.copy()
    other[800:] += 1e6

    first, second = judged(detector, one), judged(detector, other)

    np.testing.assert_array_equal(first.upper[:801], second.upper[:801])
    np.testing.assert_array_equal(first.firing[:800], second.firing[:800])
    np.testing.assert_array_equal(first.upper[:800], second.upper[:800])


@ALL
def test_scale_of_the_values_does_not_matter(detector):
    run, scaled = judged(detector, DAILY), judged(detector, DAILY * 1024)

    np.testing.assert_allclose(run.upper * 1024, scaled.upper, rtol=1e-5)
    assert (run.firing == scaled.firing).mean() > 0.999


@ALL
def test_irregular_and_late_points_are_taken_in_their_order(detector):
    engine = create(band(detector), INTERVAL_MS)
    labels = (name(0),)
    jitter = RNG.integers(-200_000, 200_000, LENGTH)
    for t in range(400):
        now = START_MS + t * INTERVAL_MS + int(jitter[t])
        said = engine.step(Vector(now, labels, DAILY[t : t + 1], np.array([now])))
        late = engine.step(Vector(now - 3 * INTERVAL_MS, labels, np.array([1e9]), np.array([now])))
        assert not late.firing[0] or said.firing[0]
    assert not np.isnan(said.score[0])


@ALL
def test_min_rel_keeps_small_deviations_quiet(detector):
    assert 0 == judged(detector, STREAMS["step"], min_rel=100.0).firing.sum()
