"""Why a band is where it is: the words hold for whoever reads them at night."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.detector import detectors
from observe.detect.engine import create
from tests.detect.streams import fold, name

INTERVAL_MS = 600_000
RNG = np.random.default_rng(12)
DAYS = 50 + 20 * np.sin(2 * np.pi * np.arange(8 * 144) / 144) + RNG.standard_normal(8 * 144)


def explained(detector, values, **settings):
    engine = create(Band.parse({"detector": detector, **settings})[0], INTERVAL_MS)
    run = fold(engine, values, interval_ms=INTERVAL_MS)
    return engine.explain(name(0)), run


@pytest.mark.parametrize("detector", detectors())
def test_a_quiet_series_is_explained_with_its_band(detector):
    found, run = explained(detector, DAYS)

    assert found.ready
    assert not found.firing
    assert run.lower[-1, 0] == pytest.approx(found.lower, rel=0.2, abs=5)
    assert "It is not firing." in found.words
    assert any(word.startswith("Expected is") for word in found.words)
    assert any(word.startswith("The band is") for word in found.words)


@pytest.mark.parametrize("detector", detectors())
def test_a_young_series_says_how_long_to_go(detector):
    found, _ = explained(detector, DAYS[:5])

    assert not found.ready
    assert "It is not ready: 5 of" in found.words[0]


@pytest.mark.parametrize("detector", detectors())
def test_a_firing_series_says_since_when(detector):
    found, run = explained(detector, np.r_[50 + DAYS * 0.01, np.full(5, 500.0)])

    assert run.firing[-1, 0]
    assert found.firing
    assert "It has been firing for" in found.words[0]


def test_auto_tells_its_evidence_and_what_would_have_been_needed():
    found, run = explained("auto", DAYS)
    calibration = found.parts.calibration

    assert DAYS[-1] == found.parts.value
    assert 1 == pytest.approx(sum(calibration.forecasts.values()), abs=1e-5)
    assert any(word.startswith("It would have fired above") for word in found.words)
    assert run.upper[-1, 0] == found.upper


def test_what_auto_says_of_a_spike_names_the_channels_that_saw_it():
    found, _ = explained("auto", np.r_[DAYS, 400.0])
    calibration = found.parts.calibration

    assert calibration.above
    assert calibration.evidence > calibration.needed
    assert any(word.startswith("It comes from") for word in found.words)


def test_nothing_is_known_of_a_stranger():
    assert create(Band(), INTERVAL_MS).explain(name(5)) is None
