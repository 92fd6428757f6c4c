"""The past of an expression as it is read to learn from: bounded, in small pieces, without repeats."""


import numpy as np
import pytest

from observe.alert.past import Reading, read_past
from observe.errors import QueryError
from tests.alert.installation import DAY, MINUTE_MS, NOON_MS, RULES, Installation, learn


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    yield made
    made.store.close()


def test_a_bare_selectors_repeated_samples_are_learned_once(installation):
    text = RULES.replace("sum by (service) (load)", 'load{service="web"}').replace("interval: 1m", "interval: 15s")
    evaluator = installation.evaluator(text)

    learn(installation, evaluator)

    found = evaluator.explain("Odd", {})[0]
    assert found.parts.points == pytest.approx(3.5 * DAY, abs=10)
    evaluator.close(installation.clock.now_ms())


@pytest.mark.parametrize(
    ("bound", "expected_days"), [({}, 3.5), ({"most_points": 2 * 2 * DAY}, 1.5), ({"most_ticks": 3 * DAY}, 2.5)],
)
def test_what_is_read_is_bounded_and_cut_at_a_midnight(installation, bound, expected_days):
    first = (NOON_MS - 3 * 86_400_000) // 86_400_000 * 86_400_000

    found = read_past(installation.query, "load", first, NOON_MS - MINUTE_MS, MINUTE_MS,
                      Reading(points_at_once=3000, **bound))

    assert expected_days == pytest.approx(found.span_ms / 86_400_000, abs=0.01)
    assert 0 == found.times_ms[0] % 86_400_000
    assert np.isfinite(found.values).all()


def test_a_server_that_limits_one_question_is_asked_smaller_ones(installation):
    asked = []

    class Limited:
        def instant(self, *args):
            return installation.query.instant(*args)

        def range(self, expr, start_ms, end_ms, step_ms):
            ticks = (end_ms - start_ms) // step_ms + 1
            asked.append(ticks)
            if ticks > 600:
                raise QueryError("query processing would load too many samples into memory", kind="execution")
            return installation.query.range(expr, start_ms, end_ms, step_ms)

    found = read_past(Limited(), "load * 1", NOON_MS - DAY * MINUTE_MS, NOON_MS - MINUTE_MS, MINUTE_MS, Reading())

    assert DAY == len(found.times_ms)
    assert np.isfinite(found.values).all()
    assert [120, 1320, 500] == asked[:3]


def test_a_series_that_ended_days_ago_is_not_learned(tmp_path):
    installation = Installation(tmp_path)
    installation.services = ("gone",)
    installation.append(NOON_MS - 3 * DAY * MINUTE_MS, DAY)

    found = read_past(installation.query, "load", NOON_MS - 3 * DAY * MINUTE_MS, NOON_MS - MINUTE_MS, MINUTE_MS,
                      Reading())

    assert ["mail", "web"] == [one["service"] for one in found.labels]
    installation.store.close()
