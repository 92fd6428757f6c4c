"""The rolling detector: exactly mean ± k·std of the points before, whatever the numbers look like."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from observe.detect.band import Band, Quorum
from tests.detect.streams import run

EXACT = Band(detector="rolling", window=30, k=3, hold=False, trigger=Quorum(1, 1), recover=Quorum(1, 1))


def exact_half_width(window, k=3):
    points = [Fraction(value) for value in window]
    mean = sum(points) / len(points)
    return k * math.sqrt(sum((point - mean) ** 2 for point in points) / (len(points) - 1))


def noise(seed, count=400):
    return np.random.default_rng(seed).standard_normal(count)


ADVERSARIAL = {
    "plain noise": noise(1),
    "large offset, tiny variance": 1e9 + 1e-3 * noise(2),
    "an outlier enters and leaves": np.where(np.arange(400) == 100, 1e15, noise(3)),
    "outliers of every size": noise(4) + np.where(np.arange(400) % 7 == 0, 10.0 ** (np.arange(400) % 23 - 5), 0),
    "level moves by 1e12": noise(5) + np.where(np.arange(400) > 200, 1e12, 0),
    "constant after noise": np.where(np.arange(400) > 200, 0.1, noise(6)),
    "tiny numbers": 1e-150 * noise(7),
    "huge numbers": 1e150 * noise(8),
    "a steep ramp": np.arange(400) * 1e6 + 1e-3 * noise(9),
    "decreasing outliers in a row": np.where(np.arange(400) < 40, 10.0 ** (40 - np.arange(400)), noise(10)),
}


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_half_width_is_within_1e9_of_exact_arithmetic(case):
    values = ADVERSARIAL[case]

    judged = run(EXACT, values)

    for t in range(30, len(values)):
        expected = exact_half_width(values[t - 30 : t])
        # upper and lower are rounded at the size of the baseline: that much a difference of them cannot tell
        rounding = 4 * np.finfo(float).eps * abs(judged.baseline[t, 0])
        assert abs(judged.half[t, 0] - expected) <= 1e-9 * expected + rounding, (case, t)


def test_it_equals_the_pandas_rule_of_the_points_before():
    values = 100 + 5 * noise(11)
    series = pd.Series(values)
    mean, half = series.rolling(30).mean().shift(1), 3 * series.rolling(30).std().shift(1)

    judged = run(EXACT, values)

    np.testing.assert_allclose(judged.upper[:, 0], mean + half, rtol=1e-12)
    np.testing.assert_allclose(judged.lower[:, 0], mean - half, rtol=1e-12)
    outside = ((series > mean + half) | (series < mean - half)).to_numpy()
    np.testing.assert_array_equal(judged.firing[:, 0], outside)


def test_a_long_stream_keeps_its_precision():
    values = 1e6 + noise(12, 20_000)

    judged = run(EXACT, values)

    expected = exact_half_width(values[-31:-1])
    assert abs(judged.half[-1, 0] - expected) <= 1e-9 * expected


def test_it_is_not_ready_until_the_window_is_full_and_its_score_is_then_no_number():
    judged = run(EXACT, noise(13, 40))

    assert [False] * 30 + [True] * 10 == judged.ready[:, 0].tolist()
    assert np.isnan(judged.score[:30]).all()
    assert np.isfinite(judged.score[30:]).all()


def test_a_constant_is_inside_its_band_of_no_width():
    judged = run(EXACT, np.full(100, 0.1))

    assert 0 == judged.outside.sum()
    assert 0 == judged.half[31:].max()


def test_score_one_is_the_edge_of_the_band():
    values = noise(14, 200)

    judged = run(EXACT, values)

    expected = np.abs(values - judged.baseline[:, 0]) / judged.half[:, 0]
    np.testing.assert_allclose(judged.score[30:, 0], expected[30:], rtol=1e-12)
    np.testing.assert_array_equal(judged.score[:, 0] > 1, judged.outside[:, 0])


def test_a_window_given_as_a_duration_counts_the_evaluations_in_it():
    band = Band(detector="rolling", window=0, window_ms=600_000, hold=False)

    judged = run(band, noise(15, 30))

    assert 10 == int(np.argmax(judged.ready[:, 0]))
