"""The robust detector and a step: neither a constant past nor a rough start hides it before it triggers."""

import numpy as np
import pytest

from observe.detect.band import Band, Quorum
from observe.detect.engine import create
from observe.model import Labels, Vector

SERIES = (Labels({"service": "gateway"}),)


def fired_after(past: list[float], value: float) -> int | None:
    """How many points of `value` it takes after `past`."""
    band = Band(detector="robust", window=30, k=4, direction="above", min_abs=0.1, min_rel=0.6, trigger=Quorum(3, 5))
    engine = create(band, 5000)
    for place, x in enumerate([*past, *[value] * 12]):
        at = 1_700_000_000_000 + place * 5000
        said = engine.step(Vector(at, SERIES, np.array([x]), np.array([at])))
        if said.firing[0]:
            return place - len(past) + 1
    return None


@pytest.mark.parametrize(("past", "points"), [
    ([0.1] * 40, 3),  # no spread at all
    ([0.0] * 40, 3),
    ([*[2.0] * 12, *[0.07, 0.071, 0.069] * 6], 3),  # a cold start fills 12 of the 30 points
    ([*[0.07, 0.08, 0.06] * 13], 3),
])
def test_three_points_of_a_step_are_enough(past, points):
    assert fired_after(past, 0.5) == points


def test_what_lies_inside_does_not_fire():
    assert fired_after([0.1] * 40, 0.15) is None
