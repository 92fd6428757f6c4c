"""From points outside to an alert: trigger, hold, recovery, relearning, direction, smallest deviations, gaps."""

import numpy as np
import pytest

from observe.detect.band import Band, Quorum
from observe.detect.engine import create
from tests.detect.streams import INTERVAL_MS, fold, run

RNG = np.random.default_rng(5)
QUIET = 10 + RNG.standard_normal(60)


def rolling(**settings):
    return Band(**{"detector": "rolling", "window": 30, "k": 4.0, **settings})


def stream(*parts):
    return np.concatenate([np.atleast_1d(part).astype(float) for part in parts])


def fired(judged):
    """First and last index of each time it was firing."""
    on = np.flatnonzero(np.diff(np.r_[0, judged.firing[:, 0].astype(int), 0]))
    return list(zip(on[::2].tolist(), (on[1::2] - 1).tolist(), strict=True))


def test_three_of_five_outside_trigger_and_five_inside_recover():
    judged = run(rolling(), stream(QUIET, [30, 10, 30, 10, 30], QUIET[:20]))

    # the third outside point is at 64; then five inside points in a row, the fifth at 69
    assert [(64, 68)] == fired(judged)


def test_two_of_five_do_not_trigger():
    assert [] == fired(run(rolling(), stream(QUIET, [30, 10, 10, 30, 10, 10], QUIET[:20])))


def test_points_inside_before_the_trigger_do_not_count_for_recovery():
    judged = run(rolling(recover=Quorum(3, 5)), stream(QUIET, [30, 10, 30, 10, 30, 10, 10], np.full(5, 30)))

    assert 64 == fired(judged)[0][0]
    assert judged.firing[66, 0]


def test_hold_keeps_the_band_it_began_with_while_the_fault_lasts():
    judged = run(rolling(), stream(QUIET, np.full(60, 30.0)))

    assert (62, 119) == fired(judged)[0]
    assert 1 == len(np.unique(judged.upper[63:, 0]))


def test_hold_lets_a_step_of_five_sigma_trigger_too():
    """Learned as they are, two such points would widen a band of 30 points over the third."""
    judged = run(rolling(k=3.0), stream(QUIET, np.full(30, 10 + 5.5)))

    assert judged.firing[64, 0]


def test_without_hold_the_band_swallows_a_step_within_a_few_points():
    judged = run(rolling(hold=False, k=3.0, trigger=Quorum(1, 1), recover=Quorum(1, 1)), stream(QUIET, np.full(60, 30)))

    assert [(60, 62)] == [span for span in fired(judged) if span[0] >= 60]


def test_after_relearn_after_the_new_level_is_learned_and_said():
    judged = run(rolling(relearn_after_ms=20 * INTERVAL_MS), stream(QUIET, 30 + RNG.standard_normal(60)))

    assert [(62, 81)] == fired(judged)
    assert [82] == np.flatnonzero(judged.relearned[:, 0]).tolist()
    assert 30 == pytest.approx(judged.baseline[83, 0], abs=1.5)


def test_a_new_level_that_is_noisier_is_learned_with_its_noise():
    noisy = 100 + 15 * RNG.standard_normal(200)

    judged = run(rolling(relearn_after_ms=40 * INTERVAL_MS), stream(QUIET, noisy))

    assert 1 == len(fired(judged))


@pytest.mark.parametrize(
    ("direction", "value", "fires"),
    [("above", 30, True), ("above", -10, False), ("below", 30, False), ("below", -10, True), ("both", -10, True)],
)
def test_direction_says_which_side_counts(direction, value, fires):
    judged = run(rolling(direction=direction), stream(QUIET, np.full(5, value)))

    assert fires == bool(judged.firing.any())
    assert fires == bool(judged.score[60, 0] > 1)


@pytest.mark.parametrize(
    ("least", "fires"),
    [({"min_abs": 25.0}, False), ({"min_rel": 2.5}, False), ({"min_abs": 15.0, "min_rel": 1.0}, True),
     ({"min_abs": 15.0, "min_rel": 3.0}, False)],
)
def test_both_smallest_deviations_must_be_exceeded(least, fires):
    judged = run(rolling(**least), stream(QUIET, np.full(5, 30)))

    assert fires == bool(judged.firing.any())


def test_nan_is_a_gap_neither_judged_nor_learned():
    values = stream(QUIET, [np.nan] * 40, QUIET[:5])

    judged = run(rolling(), values)

    assert np.isnan(judged.score[60:100]).all()
    assert 1 == len(np.unique(judged.upper[60:100, 0]))
    assert judged.ready[60:].all()
    assert not judged.firing.any()


def test_nan_while_firing_neither_ends_nor_prolongs():
    judged = run(rolling(), stream(QUIET, np.full(5, 30), [np.nan] * 10, np.full(3, 30), np.full(5, 10)))

    assert [(62, 81)] == fired(judged)


def test_infinity_is_outside_and_never_learned():
    judged = run(rolling(), stream(QUIET, [np.inf] * 5, QUIET[:20]))

    assert [(62, 68)] == fired(judged)
    assert np.isfinite(judged.upper[60:]).all()


def test_a_flat_series_that_changes_fires():
    judged = run(rolling(), stream(np.full(60, 5.0), np.full(10, 7.0)))

    assert 62 == fired(judged)[0][0]


def test_a_drop_to_exactly_zero_fires():
    judged = run(rolling(), stream(QUIET, np.zeros(5)))

    assert 62 == fired(judged)[0][0]


def test_a_late_or_repeated_point_is_neither_counted_nor_learned():
    engine = create(rolling(), INTERVAL_MS)
    fold(engine, QUIET)
    before = engine.snapshot()

    late = fold(engine, np.full(5, 99.0), start=50)

    assert not late.firing.any()
    assert before == engine.snapshot()


def test_a_series_that_was_away_too_long_starts_anew():
    engine = create(rolling(), INTERVAL_MS)
    fold(engine, QUIET)

    back = fold(engine, [10.0], start=60 + engine.detector.expire_ms // INTERVAL_MS + 1)

    assert not back.ready[0, 0]


def auto(**settings):
    return Band(**{"detector": "auto", **settings})


LONG_QUIET = 100 + np.random.default_rng(8).standard_normal(1500)


def test_an_alert_of_auto_needs_no_more_points_inside_than_there_were_outside():
    """A spike of one point is over with the next one; one of three points is not over with one between."""
    spike = run(auto(), stream(LONG_QUIET, 160, LONG_QUIET[:20]))
    longer = run(auto(), stream(LONG_QUIET, [160, 160, 160], LONG_QUIET[:20]))

    assert [(1500, 1500)] == fired(spike)
    assert [(1500, 1504)] == fired(longer)


def test_a_recovery_that_was_asked_for_is_kept_to():
    judged = run(auto(recover=Quorum(5, 5)), stream(LONG_QUIET, 160, LONG_QUIET[:20]))

    assert [(1500, 1504)] == fired(judged)


def test_an_alert_of_auto_goes_on_where_it_comes_back_soon():
    """As new evidence the second spike would not be enough: the first one damps it."""
    judged = run(auto(), stream(LONG_QUIET, [160, 100, 100, 100, 107], LONG_QUIET[:20]))
    late = run(auto(), stream(LONG_QUIET, 160, LONG_QUIET[:25], 107, LONG_QUIET[:20]))

    assert [(1500, 1500), (1504, 1505)] == fired(judged)
    assert judged.upper[1500, 0] == judged.upper[1504, 0]
    assert [(1500, 1500)] == fired(late)


@pytest.mark.parametrize(("level", "interval_ms", "least_minutes", "most_minutes"), [
    pytest.param(130, 60_000, 120, 150, id="clear, a point a minute"),
    pytest.param(130, 300_000, 120, 300, id="clear, a point in five minutes"),
    pytest.param(105.5, 60_000, 15, 60, id="faint, a point a minute"),
])
def test_an_alert_of_auto_ends_as_a_new_level_once_its_points_are_ordinary(
    level, interval_ms, least_minutes, most_minutes,
):
    """Before `relearn_after`, soonest where it was faint, and said so; the models have learned the level meanwhile."""
    news = level + np.random.default_rng(9).standard_normal(480)

    judged = run(auto(), stream(LONG_QUIET, news), interval_ms)

    (first, last), *more = fired(judged)
    minutes = (last + 1 - first) * interval_ms / 60_000
    assert 1500 == first
    assert least_minutes <= minutes <= most_minutes
    assert [last + 1] == np.flatnonzero(judged.relearned[:, 0]).tolist()
    assert [] == more


def test_without_relearning_an_alert_of_auto_stays_on():
    judged = run(auto(relearn_after_ms=0), stream(LONG_QUIET, 130 + np.random.default_rng(9).standard_normal(900)))

    assert [(1500, 2399)] == fired(judged)


def test_an_alert_that_comes_and_goes_is_not_on_for_ever():
    """Its age counts on when it comes back: after `relearn_after` it is a new level."""
    judged = run(auto(), stream(LONG_QUIET, np.tile([160, 160, 160, 100, 100, 100, 100], 150)))

    assert 1 == judged.relearned[:, 0].sum()
    assert not judged.firing[1500 + 500 :, 0].any()
