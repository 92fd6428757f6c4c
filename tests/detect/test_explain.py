"""Why a band is where it is: the words hold for whoever reads them at night."""

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.budget import Spending
from observe.detect.detector import detectors
from observe.detect.engine import create
from observe.protocols import Said
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
    assert found.words[0].startswith("Not firing. At ")
    assert f"{found.parts.baseline:.4g} was expected" in found.words[0]
    assert found.words[1].startswith("It fires ")


@pytest.mark.parametrize("detector", detectors())
def test_a_young_series_says_how_long_to_go(detector):
    found, _ = explained(detector, DAYS[:5])

    assert not found.ready
    assert "Not ready: 5 of" in found.words[0]


@pytest.mark.parametrize("detector", detectors())
def test_a_firing_series_says_since_when(detector):
    found, run = explained(detector, np.r_[50 + DAYS * 0.01, np.full(5, 500.0)])

    assert run.firing[-1, 0]
    assert found.firing
    assert found.words[0].startswith("Firing for ")
    assert found.words[1].startswith("It ends when ")
    assert any("becomes the new normal at" in word for word in found.words)


def test_auto_tells_its_evidence_and_what_would_have_been_needed():
    found, run = explained("auto", DAYS)
    calibration = found.parts.calibration

    assert DAYS[-1] == found.parts.value
    assert 1 == pytest.approx(sum(calibration.forecasts.values()), abs=1e-5)
    assert f"It fires at the first point above {found.upper:.4g} or below {found.lower:.4g}." in found.words
    assert run.upper[-1, 0] == found.upper


def test_what_auto_says_of_a_spike_names_the_channels_that_saw_it():
    found, _ = explained("auto", np.r_[DAYS, 400.0])
    calibration = found.parts.calibration

    assert calibration.above
    assert calibration.evidence > calibration.needed
    assert any(word.startswith("What made it unusual: ") for word in found.words)


THRICE = ("the value was 0.6, outside its band: 0.2 was expected, up to 0.31 is usual; "
          "it was 3 times the expected.")
LATENCY = {"direction": "above", "k": 4, "min_abs": 0.1, "min_rel": "60%"}


def said(value, score, upper=0.31):
    return Said(value, 0.2, 0.08, upper, score)


@pytest.mark.parametrize(
    ("case", "values", "last", "sentences"),
    [
        ("one point outside, two more are wanted", [*([0.2, 0.21] * 20), 0.6], said(0.6, 3.4), (
            f"Not firing. At 04:54:00 UTC {THRICE}",
            "It fires when 3 of 5 consecutive points lie above 0.31; of the last 5, 1 did.",
        )),
        ("firing, and nothing is back yet", [*([0.2, 0.21] * 20), *[0.6] * 9], said(0.6, 3.4), (
            f"Firing for 1h. At 06:14:00 UTC {THRICE}",
            "It ends when 5 of the last 5 points are inside; so far none are.",
            "If it stays as it is, that becomes the new normal at 07:14:00 UTC, and the alert ends as `new level`.",
        )),
        ("almost over", [*([0.2, 0.21] * 20), *[0.6] * 5, 0.2, 0.2, 0.2, 0.2], said(0.2, 0.0), (
            "It ends when 5 of the last 5 points are inside; so far 4 are.",
        )),
        ("never moved", [0.0] * 40, Said(0.0, 0.0, -0.1, 0.1, 0.0), (
            "The value did not vary lately, but deviations under 0.1 do not count (`min_abs`).",
        )),
    ],
)
def test_the_words_for_whoever_was_woken(case, values, last, sentences):
    engine = create(Band.parse({"detector": "robust", **LATENCY})[0], INTERVAL_MS)
    fold(engine, values, interval_ms=INTERVAL_MS)

    words = engine.explain(name(0), last).words

    assert [] == [sentence for sentence in sentences if sentence not in words], (case, words)


def test_a_share_of_nothing_is_not_a_thousand_times_the_expected():
    engine = create(Band.parse({"detector": "robust", "direction": "above", "min_abs": 0.05})[0], INTERVAL_MS)
    fold(engine, [0.0] * 40, interval_ms=INTERVAL_MS)

    first = engine.explain(name(0), Said(0.33, 4e-5, -0.05, 0.05, 6.6)).words[0]

    assert first.endswith("the value was 0.33, outside its band: about 0 was expected, up to 0.05 is usual.")


def test_a_page_that_knows_the_unit_says_it():
    found, _ = explained("rolling", DAYS)

    assert f"{1000 * found.upper:.0f} ms" in found.told(lambda value: f"{1000 * value:.0f} ms")[0]


def test_a_width_chosen_for_a_budget_is_told():
    band, _ = Band.parse({"detector": "rolling", "budget": "1/week"})
    engine = create(band, INTERVAL_MS)
    fold(engine, DAYS[:40], interval_ms=INTERVAL_MS)

    assert any("for want of history" in word for word in engine.explain(name(0)).words)


def test_a_budget_without_history_is_told_of_a_band_that_is_not_ready_too():
    engine = create(Band.parse({"detector": "auto", "budget": "2/day"})[0], 60_000)
    fold(engine, np.full(3, 5.0))

    words = engine.explain(name(0)).words

    assert words[0].startswith("Not ready")
    assert words[-1].startswith("Its `budget:` is not applied yet, for want of history")


def test_a_seasonal_band_without_a_season_says_what_is_expected():
    engine = create(Band(detector="seasonal"), 3_600_000)
    fold(engine, np.tile([99.9, 100.1], 100), interval_ms=3_600_000)

    assert any(word.startswith("Expected is its level of the last days, ") for word in engine.explain(name(0)).words)


@pytest.mark.parametrize(("pages", "per_ms", "words"), [
    (0.999, 604_800_000, "about 1 page in 7 days"), (2.0, 86_400_000, "about 2 pages in a day"),
])
def test_what_a_budget_costs_is_said_in_good_words(pages, per_ms, words):
    assert str(Spending(1.0, pages, per_ms, 864_000_000)) == f"{words}, from 10.0 days of history"


def test_nothing_is_known_of_a_stranger():
    assert create(Band(), INTERVAL_MS).explain(name(5)) is None
