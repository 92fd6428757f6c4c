"""Scores of detectors: what on-call would have seen, counted by hand."""

import math

import numpy as np
import pytest

from observe.detect.quality import load, measure, table
from observe.detect.scoring import (
    EventScore,
    Labelled,
    best_numenta_score,
    held_share,
    notifications,
    numenta_score,
    score_events,
)

STEP = 300
TIMES = STEP * np.arange(600, dtype=np.int64)


def flags(*spans):
    out = np.zeros(600, bool)
    for first, last in spans:
        out[first : last + 1] = True
    return out


def series(*events, score_from=50, windows=False):
    return Labelled("kpi/x", TIMES, np.zeros(600), flags(*events), score_from, windows)


def test_alerts_close_to_each_other_are_one_page_and_a_long_one_is_sent_again():
    # 600 s apart: one page. 48 steps of 5 minutes are four hours.
    assert [100] == notifications(flags((100, 100), (102, 102)), TIMES, STEP)
    assert [100, 200] == notifications(flags((100, 100), (200, 200)), TIMES, STEP)
    assert [100, 148, 196] == notifications(flags((100, 200)), TIMES, STEP)


@pytest.mark.parametrize(
    ("alert", "found", "false_alarms", "delay"),
    [((200, 200), 1, 0, 0), ((198, 198), 1, 0, 0), ((197, 197), 0, 1, None), ((203, 203), 1, 0, 900),
     ((215, 215), 1, 0, 4500), ((217, 217), 0, 1, None)],
)
def test_an_event_is_found_from_two_steps_early_to_five_steps_late(alert, found, false_alarms, delay):
    score = score_events(series((200, 210)), flags(alert))

    assert (found, 1 - found, false_alarms) == (score.found, score.missed, score.false_alarms)
    assert (delay,) == score.delays_s if found else () == score.delays_s


def test_warm_up_is_neither_rewarded_nor_punished():
    score = score_events(series((40, 60), (20, 22)), flags((10, 12), (55, 56)))

    assert (0, 0, 0) == (score.found, score.missed, score.false_alarms)


def test_scores_add_up_and_what_cannot_be_counted_is_undefined():
    total = EventScore(3, 1, 2, 10.0, (1.0,)) + EventScore(1, 1, 0, 10.0, (3.0,))

    assert (4, 2, 2, 20.0, 2.0) == (total.found, total.missed, total.false_alarms, total.days, total.median_delay_s)
    assert (2 / 3, 2 / 3, 0.1) == pytest.approx((total.precision, total.recall, total.false_alarms_per_day))
    assert math.isnan(EventScore().f1)


def test_the_numenta_score_is_0_for_silence_and_near_100_for_the_first_point_of_every_window():
    one = series((200, 260), (400, 460), windows=True)

    assert 0 == numenta_score([(one, flags())])
    assert 100 == pytest.approx(numenta_score([(one, flags((200, 200), (400, 400)))]), abs=0.01)
    assert numenta_score([(one, flags((259, 259), (459, 459)))]) < 60
    assert numenta_score([(one, flags((100, 160)))]) < 0
    assert 100 == pytest.approx(best_numenta_score([(one, flags((200, 200), (400, 400)) * 0.7)]), abs=0.01)


def test_a_held_alert_is_measured_against_the_band_it_began_with():
    one = Labelled("kpi/x", TIMES, np.where(flags((200, 219)), 9.0, 0.0), flags((200, 219)), 50)
    lower, upper = np.full(600, -1.0), np.full(600, 1.0)

    assert [1.0] == held_share(one, flags((200, 219)), lower, upper)
    assert [0.5] == held_share(one, flags((200, 209)), lower, upper)
    assert [] == held_share(one, flags(), lower, upper)


def test_quality_is_measured_from_a_folder_of_labelled_series(tmp_path):
    (tmp_path / "kpi").mkdir()
    rows = "".join(f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z,{9 if 300 <= n < 312 else n % 3},{int(300 <= n < 312)}\n"
                   for n in range(600))
    (tmp_path / "kpi" / "0.csv").write_text("timestamp,value,label\n" + rows)
    (tmp_path / "index.json").write_text('[{"file": "kpi/0.csv", "score_from": 60}]')

    def perfect(one):
        return one.labels.astype(float), one.labels, np.full(600, -3.0), np.full(600, 3.0)

    outcome = measure("perfect", perfect, load(tmp_path))

    assert (1.0, 0.0, [1.0]) == (outcome.f1, outcome.false_alarms, outcome.held)
    assert "| perfect | 1.000 | 0.00 | 1.000 / 0 s | undefined / undefined |" in table([outcome])
