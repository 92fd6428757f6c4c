"""The detectors that we compare ourselves with are fair: causal, and able to find what anyone would."""

import numpy as np
import pytest

from observe.detect.baselines import BASELINES, STL
from observe.detect.quality import at_learnt_threshold, measure
from observe.detect.scoring import Labelled

STEP = 3600
COUNT = 24 * 40
TIMES = STEP * np.arange(COUNT, dtype=np.int64)
SPIKE = 24 * 35 + 7


def days_with_a_spike(size):
    noise = np.random.default_rng(7).normal(size=COUNT)
    points = 100 + 20 * np.sin(2 * np.pi * np.arange(COUNT) / 24) + noise
    points[SPIKE] += size
    return points


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_judges_a_point_by_those_before_it(name):
    points = days_with_a_spike(60)
    whole, _ = BASELINES[name](TIMES, points, STEP)
    part, alerts = BASELINES[name](TIMES[: SPIKE + 1], points[: SPIKE + 1], STEP)

    assert whole[: SPIKE + 1].tolist() == part.tolist()
    assert alerts[SPIKE], "the spike is three times the day's amplitude"


def test_a_threshold_is_learnt_that_leaves_the_event_and_drops_the_noise():
    def said(one):
        score = np.zeros(COUNT)
        score[[300, 500]] = 1.5
        score[SPIKE] = 4.0
        nothing = np.full(COUNT, np.nan)
        return score, score > 1, nothing, nothing

    series = [Labelled("cmd/x", TIMES, days_with_a_spike(60), np.arange(COUNT) == SPIKE, 48)]
    before, after = measure("", said, series), measure("", at_learnt_threshold(said, series), series)

    assert (0.5, 1.0) == (before.f1, after.f1)
    assert (1, 0) == (after.sets["cmd"].found, after.sets["cmd"].false_alarms)
    assert STL in BASELINES
