"""The floor under `auto`: what any on-call would call gross pages, whatever the series did before; points each 15 s."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.engine import create
from tests.detect.streams import START_MS, fold, name

STEP_MS = 15_000
MINUTE = 4
HOUR, DAY = 60 * MINUTE, 1440 * MINUTE
FAULT = 3 * DAY + 500
SEEDS = pytest.mark.parametrize("seed", range(3))


def judged(values, **settings):
    engine = create(Band.parse(settings)[0], STEP_MS)
    times = START_MS + STEP_MS * np.arange(len(values), dtype=np.int64)
    return engine.fold(times, (name(0),), np.asarray(values, float)[:, None])


def pages(run):
    on = run.firing[:, 0]
    return np.flatnonzero(on & ~np.r_[False, on[:-1]])


def errors(rng, share, points):
    """Of 400 requests in each interval."""
    return rng.binomial(400, share, points) / 400


def share_of_errors(rng):
    return errors(rng, 0.005, FAULT + 2 * HOUR)


def thirty_three_percent_after_an_incident_the_day_before(rng):
    values = share_of_errors(rng)
    values[2 * DAY : 2 * DAY + 10 * MINUTE] = errors(rng, 0.33, 10 * MINUTE)
    values[FAULT:] = errors(rng, 0.33, 2 * HOUR)
    return values


def thirty_three_percent_two_hours_after_an_incident(rng):
    values = share_of_errors(rng)
    values[FAULT - 3 * HOUR : FAULT - 2 * HOUR] = errors(rng, 0.33, HOUR)
    values[FAULT:] = errors(rng, 0.33, 2 * HOUR)
    return values


def ten_percent_three_hours_after_thirty_three(rng):
    values = share_of_errors(rng)
    values[FAULT - 4 * HOUR : FAULT - 3 * HOUR] = errors(rng, 0.33, HOUR)
    values[FAULT:] = errors(rng, 0.1, 2 * HOUR)
    return values


def ten_percent_of_errors(rng):
    values = share_of_errors(rng)
    values[FAULT:] = errors(rng, 0.1, 2 * HOUR)
    return values


def errors_that_rise_to_ten_percent_within_an_hour(rng):
    values = share_of_errors(rng)
    values[FAULT:] = errors(rng, np.minimum(np.linspace(0.005, 0.2, 2 * HOUR), 0.1), 2 * HOUR)
    return values


def four_times_within_two_hours(rng):
    values = 50 + rng.standard_normal(FAULT + 4 * HOUR)
    values[FAULT:] *= np.minimum(np.linspace(1, 7, 4 * HOUR), 4)
    return values


def four_times_within_two_hours_on_a_day_shape(rng):
    values = four_times_within_two_hours(rng)
    return values * (1 + 0.3 * np.sin(2 * np.pi * np.arange(len(values)) / DAY))


def twenty_four_times_on_a_flat_series(rng):
    return np.r_[np.full(FAULT, 0.05), np.full(HOUR, 1.2 + 0.01 * rng.standard_normal())]


def traffic_that_drains_within_an_hour(rng):
    values = 50 + rng.standard_normal(FAULT + 3 * HOUR)
    values[FAULT:] *= np.maximum(np.linspace(1, -2, 3 * HOUR), 0)
    return values


def traffic_that_drains_so_slowly_that_the_profile_begins_to_learn_it(rng):
    values = 50 + rng.standard_normal(FAULT + 9 * HOUR)
    values[FAULT:] *= np.maximum(np.linspace(1, -1, 9 * HOUR), 0)
    return values * (1 + 0.3 * np.sin(2 * np.pi * np.arange(len(values)) / DAY))


FAULTS = [
    (thirty_three_percent_after_an_incident_the_day_before, 5),
    (thirty_three_percent_two_hours_after_an_incident, 5),
    (ten_percent_three_hours_after_thirty_three, 5),
    (ten_percent_of_errors, 5),
    (errors_that_rise_to_ten_percent_within_an_hour, 30),
    (four_times_within_two_hours, 60),
    (four_times_within_two_hours_on_a_day_shape, 60),
    (twenty_four_times_on_a_flat_series, 2),
    (traffic_that_drains_within_an_hour, 60),
    (traffic_that_drains_so_slowly_that_the_profile_begins_to_learn_it, 4.5 * 60),
]


@SEEDS
@pytest.mark.parametrize(("fault", "minutes"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_gross_fault_pages_in_time_and_stays_on_while_it_lasts(fault, minutes, seed):
    run = judged(fault(np.random.default_rng(seed)))

    assert run.firing[FAULT : FAULT + round(minutes * MINUTE), 0].any()
    assert run.firing[FAULT + round(minutes * MINUTE) :, 0].mean() > 0.97
    began = next(page for page in pages(run) if page >= FAULT)
    assert run.score[began, 0] > 1
    assert run.lower[began, 0] <= run.baseline[began, 0] <= run.upper[began, 0]
    assert run.outside[began, 0]


@SEEDS
def test_a_least_deviation_counts_from_the_long_run_level_not_from_the_last_points(seed):
    rise = four_times_within_two_hours(np.random.default_rng(seed))

    assert judged(rise, direction="above", min_rel="60%").firing[-HOUR:].all()
    assert not judged(rise, direction="above", min_rel="400%").firing.any()
    assert not judged(rise, direction="below").firing[-HOUR:].any()


@SEEDS
def test_a_new_level_that_stays_pages_once_and_the_way_back_from_it_is_no_gross_fault(seed):
    values = 50 + np.random.default_rng(seed).standard_normal(6 * DAY)
    values[FAULT : FAULT + DAY] *= 4

    run = judged(values)

    news = pages(run)[pages(run) >= FAULT]
    assert 1 == (news < FAULT + DAY).sum()
    assert 1 == run.relearned[FAULT : FAULT + DAY, 0].sum()
    assert 1 >= (news >= FAULT + DAY).sum()


@SEEDS
@pytest.mark.parametrize("draw", [
    lambda rng: rng.standard_t(2, 7 * DAY), lambda rng: rng.pareto(1.5, 7 * DAY),
    lambda rng: rng.standard_cauchy(7 * DAY), lambda rng: np.exp(1.5 * rng.standard_normal(7 * DAY)),
], ids=["Student's t of 2", "Pareto 1.5", "Cauchy", "lognormal"])
def test_a_heavy_tailed_series_without_a_fault_pages_less_than_twice_a_day(draw, seed):
    assert len(pages(judged(50 + draw(np.random.default_rng(seed))))) < 14


def test_a_single_glitch_is_not_gross_and_does_not_hide_what_is():
    rng = np.random.default_rng(5)
    values = ten_percent_of_errors(rng)
    values[[2 * DAY + 77, 2 * DAY + 3000]] = 1.0

    run = judged(values)

    assert run.firing[FAULT + 5 * MINUTE :, 0].mean() > 0.97
    assert run.firing[2 * DAY : FAULT, 0].sum() < HOUR


def test_the_explanation_says_that_it_is_gross():
    engine = create(Band(), STEP_MS)
    values = four_times_within_two_hours(np.random.default_rng(1))
    times = START_MS + STEP_MS * np.arange(len(values), dtype=np.int64)

    engine.fold(times[:FAULT], (name(0),), values[:FAULT, None])
    quiet = engine.explain(name(0))
    fold(engine, values[FAULT:], start=FAULT, interval_ms=STEP_MS)

    words = "It is far outside all that this series has been for days: that alone is enough, whatever its evidence."
    assert words not in quiet.words
    assert words in engine.explain(name(0)).words
