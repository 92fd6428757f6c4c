"""The numbers of a page in words."""

import pytest

from observe.alert.evidence import annotations, numbers
from observe.testing import ManualClock
from tests.notify.desk import firing

CLOCK = ManualClock()


@pytest.mark.parametrize(("value", "baseline", "lower", "upper", "expected"), [
    (2.41, 0.5, 0.38, 0.61, "0.38 – 0.61"),
    (2.41, 0.1, -0.1, 0.3, "up to 0.3"),
    (-20.0, 5.0, -3.0, 13.0, "-3 – 13"),
    (9.0, -1.0, -5.0, 3.0, "-5 – 3"),
    (9.0, 4.0, None, None, "4"),
])
def test_expected(value, baseline, lower, upper, expected):
    alert = firing(CLOCK, value=value, baseline=baseline, lower=lower, upper=upper)
    assert numbers(alert)["expected"] == expected


def test_what_is_unknown_is_left_out():
    assert numbers(firing(CLOCK, value=1.0, baseline=None, lower=None, upper=None, score=None)) == {"value": "1"}


def test_evidence_overwrites_nothing_that_the_rule_says():
    assert annotations(firing(CLOCK), {"summary": "no", "trace_ids": "a"})["summary"] == "a is down"
