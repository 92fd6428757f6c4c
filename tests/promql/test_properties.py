"""What must hold for any data: parts add up, time shifts, one step equals many, kernels equal their definitions."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.model import STALE_NAN, Labels, is_absent
from observe.promql.engine import Engine
from observe.promql.functions import FUNCTIONS
from observe.promql.numbers import shortest
from observe.promql.render import texts
from observe.testing import MemorySource

STEP_MS = 15_000
numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
gaps = st.sampled_from([None, STALE_NAN, math.nan, 0.0])
series = st.lists(st.one_of(numbers, numbers, numbers, gaps), min_size=1, max_size=30)


def engine_of(rows, start_ms=0):
    source = MemorySource()
    for index, values in enumerate(rows):
        labels = Labels({"__name__": "x_total", "host": str(index), "zone": str(index % 2)})
        for at, value in enumerate(values):
            if value is not None:
                source.add(labels, start_ms + at * STEP_MS, value)
    return Engine(source)


def points(matrix):
    """labels -> {time: value}."""
    if not matrix.labels:
        return {}
    gone = is_absent(matrix.values)
    return {
        labels: {
            time: value for time, value, hole in zip(matrix.times_ms.tolist(), row, holes, strict=True) if not hole
        }
        for labels, row, holes in zip(matrix.labels, matrix.values.tolist(), gone.tolist(), strict=True)
    }


def same(one, other):
    return one.keys() == other.keys() and all(
        one[labels].keys() == other[labels].keys()
        and all(math.isclose(one[labels][t], other[labels][t], rel_tol=1e-9, abs_tol=1e-9)
                or (math.isnan(one[labels][t]) and math.isnan(other[labels][t])) for t in one[labels])
        for labels in one
    )


@given(st.lists(series, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_sum_is_the_sum_of_its_parts(rows):
    engine = engine_of(rows)

    whole = points(engine.range("sum(x_total)", 0, 600_000, 20_000))
    of_parts = points(engine.range("sum(sum by (zone) (x_total))", 0, 600_000, 20_000))

    assert same(whole, of_parts)


WINDOWED = sorted(
    name for name, function in FUNCTIONS.items()
    if function.args == ("matrix",) and not name.startswith("ts_of") and name not in {"rate", "increase"}
)


@given(st.lists(series, min_size=1, max_size=3), st.sampled_from([*WINDOWED, "rate", "increase"]))
@settings(max_examples=100, deadline=None)
def test_all_data_and_the_query_moved_in_time_give_the_same(rows, function):
    hour_ms, query = 3_600_000, f"{function}(x_total[2m])"

    early = points(engine_of(rows).range(query, 0, 600_000, 20_000))
    late = points(engine_of(rows, 450 * hour_ms).range(query, 450 * hour_ms, 450 * hour_ms + 600_000, 20_000))

    assert same(early, {labels: {t - 450 * hour_ms: v for t, v in each.items()} for labels, each in late.items()})


@given(
    st.lists(series, min_size=1, max_size=3),
    st.sampled_from([f"{name}(x_total[2m])" for name in WINDOWED]
                    + ["x_total", "rate(x_total[1m])", "topk(1, x_total)", 'count_values("v", x_total)',
                       "quantile(0.3, x_total)", "x_total > 0 or -x_total", "sum_over_time(x_total[2m:20s])",
                       "predict_linear(x_total[2m], 30)", "quantile_over_time(0.9, x_total[2m])",
                       "timestamp(x_total)"]),
)
@settings(max_examples=200, deadline=None)
def test_many_steps_at_once_equal_one_at_a_time(rows, query):
    engine = engine_of(rows)
    together = points(engine.range(query, 0, 500_000, 25_000))

    alone = {}
    for time_ms in range(0, 500_001, 25_000):
        vector = engine.instant(query, time_ms)
        for labels, value in zip(vector.labels, vector.values.tolist(), strict=True):
            alone.setdefault(labels, {})[time_ms] = value

    assert same(together, alone)


def _windows(values, time_ms, range_ms):
    return [value for at, value in enumerate(values)
            if value is not None and value.hex() != "nan" and time_ms - range_ms < at * STEP_MS <= time_ms]


DEFINITIONS = {
    "sum_over_time": math.fsum,
    "avg_over_time": lambda window: math.fsum(window) / len(window),
    "count_over_time": len,
    "min_over_time": min,
    "max_over_time": max,
    "stddev_over_time": np.std,
    "stdvar_over_time": np.var,
    "last_over_time": lambda window: window[-1],
    "changes": lambda window: sum(a != b for a, b in pairwise(window)),
    "resets": lambda window: sum(b < a for a, b in pairwise(window)),
}


@given(st.lists(st.one_of(numbers, st.none()), min_size=1, max_size=60), st.sampled_from(sorted(DEFINITIONS)))
@settings(max_examples=200, deadline=None)
def test_functions_over_time_equal_their_definitions(values, function):
    found = points(engine_of([values]).range(f"{function}(x_total[100s])", 0, 900_000, 20_000))

    got = next(iter(found.values()), {})
    windows = {time_ms: _windows(values, time_ms, 100_000) for time_ms in range(0, 900_001, 20_000)}
    want = {time_ms: DEFINITIONS[function](window) for time_ms, window in windows.items() if window}
    assert got.keys() == want.keys()
    for time_ms, value in got.items():
        assert value == pytest.approx(want[time_ms], rel=1e-9, abs=1e-6), time_ms


@given(st.lists(st.floats(), min_size=1, max_size=50))
@settings(max_examples=300, deadline=None)
def test_rendered_floats_read_back_exactly(values):
    for value, text in zip(values, texts(np.array(values)), strict=True):
        read = float(text)
        assert read == value or (math.isnan(read) and math.isnan(value))


@given(st.one_of(st.floats(1e-6, 1e20), st.integers(0, 2**60).map(float), st.floats(-1e20, -1e-6)))
@settings(max_examples=500, deadline=None)
def test_rendered_floats_are_the_shortest(value):
    """Where no exponent is written both forms agree with Python's own shortest digits."""
    assert texts(np.array([value])) == [shortest(value).encode()]
