"""The robust detector: median and MAD of the window, exactly, and deaf to outliers in it."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.engine import create
from tests.detect.streams import INTERVAL_MS, run

RNG = np.random.default_rng(8)
RAW = {"detector": "robust", "k": 3.0, "hold": False}


@pytest.mark.parametrize("window", [2, 3, 8, 29, 30, 101])
@pytest.mark.parametrize("kind", ["noise", "integers", "walk"])
def test_the_band_is_median_and_mad_of_the_points_before(window, kind):
    noise = RNG.standard_normal(300)
    values = {"noise": noise, "integers": np.round(noise * 4), "walk": np.cumsum(noise)}[kind]

    judged = run(Band(window=window, **RAW), values)

    for t in range(window, 300):
        points = values[t - window : t]
        median = np.median(points)
        mad = np.median(np.abs(points - median))
        assert median == pytest.approx(judged.baseline[t, 0], abs=1e-12), t
        if mad > 0:
            assert 3 * 1.4826022185056018 * mad == pytest.approx(judged.half[t, 0], rel=1e-9, abs=1e-12), t


def test_where_most_of_the_window_is_one_value_the_range_gives_the_spread():
    values = np.where(np.arange(120) % 4 == 0, 7.0, 5.0)

    judged = run(Band(window=30, **RAW), values)

    assert 5.0 == judged.baseline[-1, 0]
    assert judged.half[-1, 0] > 1.5


def test_outliers_in_the_window_do_not_widen_the_band():
    quiet = RNG.standard_normal(300)
    spiky = np.where(np.arange(300) % 10 == 0, 1000.0, quiet)

    judged = run(Band(window=60, **RAW), spiky)

    assert judged.half[-1, 0] < 6


def test_a_long_window_is_thinned_to_a_bounded_number_of_points():
    engine = create(Band(window=100_000, **RAW), INTERVAL_MS)

    assert engine.bytes_per_series < 5_000
    values = RNG.standard_normal(3_000)
    judged = run(Band(window=2_000, **RAW), values)
    assert judged.ready[-1, 0]
    assert 3 == pytest.approx(judged.half[-1, 0], rel=0.2)
