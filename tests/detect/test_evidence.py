"""What `auto` holds for news: an excursion that builds up, and a fall so slow that each point alone is none."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.engine import create
from tests.detect.streams import START_MS, fold, name

MINUTE_MS = 60_000
DAY = 1440
SEEDS = pytest.mark.parametrize("seed", range(8))


def damping_of(engine):
    return engine.explain(name(0)).parts.calibration.for_recent_news


@SEEDS
def test_an_excursion_that_has_not_spoken_asks_no_more_of_its_next_point_and_damps_once_it_is_over(seed):
    engine = create(Band(), MINUTE_MS)
    quiet = 50 + np.random.default_rng(seed).standard_normal(4 * DAY)
    fold(engine, quiet, interval_ms=MINUTE_MS)

    damping, scores = [], []
    for at, value in enumerate([53.4, 53.5, 53.6, 50.0, 50.0]):
        judged = fold(engine, [value], start=len(quiet) + at, interval_ms=MINUTE_MS)
        assert not judged.firing[0, 0]
        damping.append(damping_of(engine))
        scores.append(judged.score[0, 0])

    building, over = damping[:3], damping[4]
    assert min(scores[:3]) > 0.5
    assert sorted(building, reverse=True) == building
    assert over > 1.1 * max(building)


@SEEDS
def test_a_slow_fall_out_of_all_that_was_seen_for_days_pages_within_two_hours(seed):
    """As a machine that cools down: half a degree each five minutes, from a wave of a day and slow noise."""
    rng = np.random.default_rng(seed)
    points = 6 * 288
    slow = np.convolve(rng.standard_normal(points + 20), np.full(20, 3 / 20), "valid")[:points]
    usual = 90 + 3 * np.sin(2 * np.pi * np.arange(points) / 288) + slow
    fall = 90 - 0.45 * np.arange(150) + 0.3 * rng.standard_normal(150)
    times = START_MS + 300_000 * np.arange(points + 150, dtype=np.int64)

    judged = create(Band(), 300_000).fold(times, (name(0),), np.r_[usual, fall][:, None])

    assert judged.firing[points : points + 24, 0].any()
