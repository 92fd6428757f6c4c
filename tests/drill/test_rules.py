"""The cheap part of the drill of shipped rules: made-up series of three days, one life of each kind."""

import numpy as np
import pytest

from observe.detect.staged import create
from observe.model import Vector
from tests.drill.expressions import EXPRESSIONS
from tests.drill.faults import SIZES, STEP
from tests.drill.lives import DAY, HOUR, MINUTE, START_S
from tests.drill.paging import STEP_MS, Bands, pages_of
from tests.drill.rules import VARIANTS, measure, shipped_rules

RULES = shipped_rules()
CLEAR, GROSS = 1, 2


def test_each_shipped_band_has_its_series_and_its_faults():
    assert set(RULES) == set(EXPRESSIONS) == set(SIZES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_it_is_quiet_for_three_days_and_finds_a_gross_step_whenever_it_comes(rule):
    times = {"1 h": HOUR, "6 h": 6 * HOUR, "3 days": 3 * DAY}

    told, trials = measure(rule, {"shipped": VARIANTS["shipped"]}, 1, times, (STEP,), (GROSS,))

    assert sum(len(quiet.pages) for quiet in told) <= 2
    assert trials
    assert [] == [trial for trial in trials if not trial.found]
    assert np.median([trial.delay for trial in trials]) <= rule.for_ms / 60_000 + 4
    assert np.median([trial.on for trial in trials]) > 0.95
    assert max(trial.pages for trial in trials) == 1


@pytest.mark.parametrize("variant", ["seasonal", "auto"])
def test_folded_bands_fire_as_the_bands_of_production_do_tick_by_tick(variant):
    rule = VARIANTS[variant](RULES["ErrorShareOutsideBand"])
    made, size = EXPRESSIONS[rule.name], SIZES[rule.name][CLEAR]
    ages = {"seasonal": 2 * DAY, "auto": DAY}[variant]
    fault = size.effect(np.r_[np.zeros(HOUR), np.ones(HOUR), np.zeros(HOUR)])
    values = np.r_[made.values(0, ages - 5 * HOUR // 2, seeds=1), made.values(0, 3 * HOUR, fault, 1)]
    values = np.r_[values, made.values(0, HOUR, seeds=1)]
    bands, engine = Bands(rule.band, values.shape[1]), create(rule.band, STEP_MS)
    half = ages - 2 * HOUR + 7

    folded = np.r_[bands.fold(0, values[:half]), bands.fork().fold(half, values[half:])]

    for t, row in enumerate(values):
        now = 1000 * START_S + t * STEP_MS
        there = np.flatnonzero(~np.isnan(row))
        labels = tuple(bands.labels[place] for place in there)
        judged = engine.step(Vector(now, labels, row[there], np.full(len(there), now)))
        assert folded[t, there].tolist() == judged.firing.tolist(), t
    assert folded[: ages - HOUR].any()


def test_a_page_needs_for_outlasts_short_gaps_and_ends_when_its_series_is_gone():
    rule = RULES["QueueBacklogOutsideBand"]
    on = np.zeros(40 * MINUTE, bool)
    on[10 * MINUTE : 14 * MINUTE] = True  # shorter than `for`
    on[20 * MINUTE : 27 * MINUTE] = True
    on[28 * MINUTE :] = True
    values = np.where(np.arange(len(on)) < 35 * MINUTE, 1.0, np.nan)

    (page,) = pages_of(on, values, rule)

    assert (25 * MINUTE, "series gone") == (page.fired, page.why)
    assert 38 * MINUTE >= page.resolved > 35 * MINUTE
