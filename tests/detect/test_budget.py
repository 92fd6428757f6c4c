"""`budget: 1/week`: the width that history asks for, what it is expected to cost, and whether it does."""

import numpy as np
import pytest

from observe.alert.states import Observation, Seen, Timing, advance
from observe.detect.band import Band, Budget
from observe.detect.budget import Waits, calibrate, costs_of
from observe.detect.engine import create
from observe.detect.history import History
from observe.detect.page_kernels import count_pages
from observe.detect.quiet import STEP_MS, quiet
from observe.detect.spent import Rule, spend
from observe.detect.staged import create as create_staged
from observe.model import AlertState, Labels
from tests.detect.streams import START_MS, fold, name

INTERVAL_MS = 600_000
RNG = np.random.default_rng(33)
DAY_MS, WEEK_MS = 86_400_000, 604_800_000


def history(values):
    table = np.asarray(values, float)
    table = table[:, None] if table.ndim == 1 else table
    times = START_MS + INTERVAL_MS * np.arange(len(table), dtype=np.int64)
    return History(times, tuple(name(n) for n in range(table.shape[1])), table)


def test_a_calibrated_width_survives_a_restart_and_ends_at_a_whole_day():
    noise = np.random.default_rng(5).standard_t(4, (3000, 4)) + 50
    band, _ = Band.parse({"detector": "rolling", "budget": "2/week", "trigger": "1 of 1"})
    before, after, twin = (create(band, INTERVAL_MS) for _ in range(3))
    before.learn(history(noise))

    after.restore(before.snapshot())
    twin.learn(history(noise[:2940]))  # started ten hours earlier, on the same day

    more = history(np.random.default_rng(6).standard_t(4, (500, 4)) + 50)
    more = History(more.times_ms + 3000 * INTERVAL_MS, more.labels, more.values)
    told = [engine.fold(more.times_ms, more.labels, more.values).upper for engine in (before, after)]
    np.testing.assert_array_equal(*told)
    assert before.spending == after.spending == twin.spending
    assert 0 == (before.spending.until_ms + INTERVAL_MS) % DAY_MS // INTERVAL_MS


@pytest.mark.parametrize("detector", ["rolling", "auto"])
def test_a_budget_is_kept_within_a_factor_of_two_on_later_data(detector):
    noise = np.random.default_rng(5).standard_t(4, (6000, 40)) + 50
    band, _ = Band.parse({"detector": detector, "budget": "10/week", "trigger": "1 of 1"})
    engine = create(band, INTERVAL_MS)

    engine.learn(history(noise[:3000]))

    later = engine.fold(START_MS + INTERVAL_MS * np.arange(3000, 6000), tuple(name(n) for n in range(40)), noise[3000:])
    pages = (later.firing[1:] & ~later.firing[:-1]).sum()
    weeks = 3000 * INTERVAL_MS / WEEK_MS
    assert 0.5 <= pages / (10 * weeks) <= 2
    assert 10 == pytest.approx(engine.spending.pages, rel=0.5)
    assert "pages in 7 days" in str(engine.spending)


def test_without_history_a_budget_changes_nothing():
    band, _ = Band.parse({"budget": "1/week"})
    engine = create(band, INTERVAL_MS)

    engine.learn(history(RNG.standard_normal(20)))

    assert engine.spending is None


PAGES = [
    # (name, what the band says, for, keep_firing_for, ticks at which a page goes out)
    ("one point is a page at once", "..x...", 0, 0, [2]),
    ("`for` wants it to last", "..xx..xxx.", 2, 0, [8]),
    ("`for` counts from the first point on", "xxxx", 3, 0, [3]),
    ("twice is two pages", ".x..x.", 0, 0, [1, 4]),
    ("`keep_firing_for` makes one of them", ".x..x.", 0, 3, [1]),
    ("`keep_firing_for` runs out", ".x....x.", 0, 3, [1, 6]),
    ("a gap while only pending begins again", "xx.xxx", 2, 5, [5]),
]


@pytest.mark.parametrize(("said", "for_", "keep", "expected"), [case[1:] for case in PAGES],
                         ids=[case[0] for case in PAGES])
def test_a_page_is_an_alert_that_begins(said, for_, keep, expected):
    firing = np.array([[mark == "x"] for mark in said])
    pages = np.zeros(len(said), np.int64)

    count_pages(np.arange(len(said), dtype=np.int64), firing, for_, keep, np.full(1, -1), np.full(1, -1),
                np.zeros(1, np.bool_), pages)

    assert expected == np.flatnonzero(pages).tolist()


@pytest.mark.parametrize(("for_", "keep"), [(0, 0), (3, 0), (0, 4), (2, 5)])
def test_pages_are_counted_as_the_state_machine_of_alerts_makes_them(for_, keep):
    """The kernel says in columns what `observe.alert.states` says of one evaluation: this holds the two together."""
    firing = np.random.default_rng(7).random((4000, 5)).cumsum(axis=0) % 1.5 < 0.8
    pages = np.zeros(len(firing), np.int64)
    names, timing, state, expected = [name(n) for n in range(5)], Timing(for_, keep), {}, []

    count_pages(np.arange(len(firing), dtype=np.int64), firing, for_, keep, np.full(5, -1), np.full(5, -1),
                np.zeros(5, np.bool_), pages)
    for now, row in enumerate(firing.tolist()):
        seen = {one: Observation(Seen.MET if met else Seen.CLEAR) for one, met in zip(names, row, strict=True)}
        state, changes = advance(state, seen, timing, now)
        expected.append(sum(change.after is AlertState.FIRING for change in changes))

    assert sum(expected) > 20
    assert expected == pages.tolist()


def test_the_smaller_the_budget_the_wider_the_band_and_what_is_expected_is_what_was_asked():
    band = Band(detector="rolling")
    costs = costs_of(band, INTERVAL_MS, history(50 + RNG.standard_t(4, (1600, 20))))

    found = [costs.spending(Budget(pages, WEEK_MS)) for pages in (200, 20, 2)]

    assert found == sorted(found, key=lambda one: one.factor)
    assert [200, 20, 2] == pytest.approx([one.pages for one in found])


def test_a_dear_last_week_widens_the_band_more_than_all_of_the_history_would():
    chance = np.random.default_rng(8)
    calm = 50 + chance.standard_t(4, (4000, 10))
    rough = calm.copy()
    rough[-1000::12] += chance.exponential(8, rough[-1000::12].shape)
    band = Band.parse({"detector": "rolling", "budget": "20/week", "trigger": "1 of 1"})[0]

    before, after = (calibrate(band, INTERVAL_MS, history(table)) for table in (calm, rough))

    assert after.factor > before.factor
    assert 20 == pytest.approx(before.pages)
    assert after.pages < 0.95 * 20


def test_few_widths_are_folded():
    costs = costs_of(Band(detector="rolling"), INTERVAL_MS, history(50 + RNG.standard_t(4, (2000, 4))))

    costs.spending(Budget(20, WEEK_MS))

    assert len(costs.folded) <= 2 + np.ceil(np.log2(len(costs.ladder) + 1))


def test_where_nothing_was_seen_half_a_page_is_expected():
    """Four days that hold no page at any width say nothing of a month."""
    band = Band.parse({"detector": "rolling", "budget": "0.01/month"})[0]

    spending = calibrate(band, INTERVAL_MS, history(50 + RNG.standard_normal((4 * 144 + 1, 2))))

    judged_days = 0.75 * spending.history_ms / DAY_MS
    assert 0.5 * 30 / judged_days == pytest.approx(spending.pages)


def test_what_never_pages_gets_the_narrowest_width():
    spending = calibrate(Band.parse({"budget": "5/hour"})[0], INTERVAL_MS, history(np.full(1000, 7.0)))

    assert 0.45 == pytest.approx(spending.factor)
    assert spending.pages < 1


def test_a_rule_that_waits_costs_less_so_its_band_may_be_narrower():
    past = history(50 + RNG.standard_t(4, (3000, 10)))
    band = Band.parse({"detector": "rolling", "budget": "5/week", "trigger": "1 of 1"})[0]

    at_once, waits = (calibrate(band, INTERVAL_MS, past, Waits(for_ms)) for for_ms in (0, 6 * INTERVAL_MS))

    assert waits.factor < at_once.factor


def test_a_day_counts_as_soon_as_its_last_point_is_there():
    noise = 50 + RNG.standard_normal((4 * 144, 2))
    times = START_MS // DAY_MS * DAY_MS + INTERVAL_MS * np.arange(len(noise), dtype=np.int64)
    past = History(times, (name(0), name(1)), noise)
    band = Band.parse({"detector": "rolling", "budget": "5/week"})[0]

    until = [calibrate(band, INTERVAL_MS, past.part(0, 3 * 144 + more)).until_ms for more in (-1, 0, 1)]

    assert [int(times[day * 144 - 1]) for day in (2, 3, 3)] == until


@pytest.mark.parametrize("kind", ["normal noise", "latency", "hourly jobs"])
def test_a_quiet_system_costs_what_was_asked(kind):
    """Twenty a week for two weeks, so that a factor of two is not chance."""
    past = quiet(kind, seed=3, weeks=4, series=5)

    [spent] = spend(Rule(kind, STEP_MS, past, np.zeros(past.values.shape, np.bool_)), "rolling", asked=(20,))

    assert 40 == spent.due
    assert spent.kept


def test_young_series_of_a_rule_with_a_budget_are_watched_by_a_band_as_much_wider():
    band = Band.parse({"min_abs": 0.1, "budget": "0.1/week"})[0]
    engine, twin = create_staged(band, INTERVAL_MS), create_staged(band, INTERVAL_MS)
    engine.learn(history(50 + np.random.default_rng(5).standard_normal((2000, 2))))
    twin.restore(engine.snapshot())
    young = 50 + np.random.default_rng(4).uniform(-1, 1, 60)
    plain = create_staged(Band(min_abs=0.1), INTERVAL_MS)

    widths = []
    for one in (plain, engine, twin):
        run = fold(one, young[:, None], labels=(Labels({"new": "yes"}),), start=3000, interval_ms=INTERVAL_MS)
        widths.append(float((run.upper - run.baseline)[-1, 0]))

    assert widths[1] == widths[2] == pytest.approx(engine.spending.factor * widths[0])
    assert engine.spending.factor > 1
