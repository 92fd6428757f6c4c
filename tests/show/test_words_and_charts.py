"""Numbers as people say them, and drawings that hold for any data."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.model import Labels
from observe.show import words
from observe.show.bars import stacked_bars
from observe.show.chart import Chart, Flag, Line, draw, sparkline
from observe.show.plot import time_ticks, value_axis
from observe.show.units import unit_of


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (2.41, "s", "2.41 s"),
        (0.000004, "s", "4 µs"),
        (95.0, "s", "1.58 min"),
        (0.0, "s", "0 s"),
        (7200.0, "s", "2 h"),
        (0.3812, "%", "38.1 %"),
        (99.0, "percent", "99 %"),
        (1.3e9, "B", "1.21 GiB"),
        (12.0, "B", "12 B"),
        (14.0, "req/s", "14 req/s"),
        (25_300.0, "req/s", "25.3 k req/s"),
        (1234.0, "", "1,234"),
        (3.2e9, "", "3.2 G"),
        (-0.5, "s", "−500 ms"),
        (math.nan, "s", "no value"),
        (math.inf, "", "∞"),
        (None, "s", "no value"),
        (250.0, "ms", "250 ms"),
        (2500.0, "ms", "2.5 s"),
        (71.5, "°C", "71.5 °C"),
        (1e-9, "", "1e-09"),
    ],
)
def test_numbers_are_said_with_three_digits_and_their_unit(value, unit, said):
    assert said == words.quantity(value, unit).replace(words.NBSP, " ")


@pytest.mark.parametrize(
    ("expr", "unit"),
    [
        ("up", ""),
        ("node_memory_MemAvailable_bytes", "B"),
        ("rate(http_requests_total[5m])", "req/s"),
        ("sum(rate(x_bytes_total[1m]))", "B/s"),
        ("rate(jvm_gc_time_seconds_total[2m])", "%"),
        ("histogram_quantile(0.9, rate(x_duration_seconds_bucket[5m]))", "s"),
        ("avg_over_time(gpu_temperature_celsius[5m])", "°C"),
        ("a_requests_total / b_requests_total", "%"),
        ("rate(a_seconds_sum[1m]) / rate(a_seconds_count[1m])", "s"),
        ("rate(cache_hits_total[1m])", "/s"),
        ("sum by (x) (rate(a_bytes_total[1m])) * 8", "B/s"),
        ("count(up_seconds)", ""),
        ("not an expression(", ""),
        ("queue_fill_ratio", "%"),
        ("1 - a_ratio", "%"),
        ("x_seconds > 5", "s"),
        ('gateway_queue_depth{service="a/b"}', ""),
        ("rate(x_latency_seconds_count[1m])", "/s"),
        ("", ""),
    ],
)
def test_the_unit_is_read_from_the_names(expr, unit):
    assert unit == unit_of(expr)


def test_a_series_is_named_by_what_tells_it_from_its_siblings():
    names = [Labels({"__name__": "m", "service": "a", "pod": f"p{i}"}) for i in range(2)]

    assert ["pod=p0", "pod=p1"] == [words.series_title(name, names) for name in names]
    assert "up" == words.series_title(Labels({"__name__": "up"}))
    assert "value" == words.series_title(Labels())
    assert [("pod", "p0"), ("service", "a")] == words.telling(names[0], names)


def test_an_alert_is_about_a_service_and_its_endpoint_else_its_instance():
    assert "gateway /generate" == words.subject(
        Labels({"service": "gateway", "endpoint": "/generate", "instance": "h:1"})
    )
    assert "host h:1" == words.subject(Labels({"job": "host", "instance": "h:1"}))
    assert "" == words.subject(Labels({"x": "y"}))


FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(FLOATS, min_size=1, max_size=40),
    st.lists(FLOATS, min_size=1, max_size=40),
    st.sampled_from(["", "s", "B", "%"]),
)
def test_any_data_gives_a_drawing_that_is_well_formed(values, edges, unit):
    times = np.arange(len(values), dtype=np.int64) * 15_000
    upper = np.resize(np.array(edges), len(values))
    chart = Chart(
        times,
        [Line('<&">', np.array(values))],
        unit,
        lower=-np.abs(upper),
        upper=upper,
        flags=[Flag(15_000, "<script>")],
        marked=np.ones(len(values), bool),
        title='<&">',
    )

    drawn = draw(chart)

    root = ET.fromstring(f"<x>{drawn}</x>")
    assert "nan" not in str(drawn).partition("data-chart")[0]
    assert [] == root.findall(".//script")
    ET.fromstring(f"<x>{sparkline(np.array(values), upper=upper)}</x>")


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(0, 1e12), st.integers(2, 8))
def test_an_axis_holds_its_data_with_few_even_ticks(low, span, wanted):
    first, last, ticks = value_axis((low, low + span), wanted, "")

    slack = 1e-9 * max(abs(low), abs(low + span), 1)
    assert first <= low + slack
    assert last >= low + span - slack
    assert 2 <= len(ticks) <= wanted + 3


def test_time_ticks_are_round_and_inside():
    ticks, form = time_ticks(1_700_000_123_000, 1_700_003_723_000, 7)

    assert "hm" == form
    assert all(tick % 600_000 == 0 for tick in ticks)
    assert 6 == len(ticks)


def test_a_gap_breaks_the_line_and_a_lonely_sample_is_a_dot():
    values = np.array([1.0, 2.0, np.nan, 3.0, np.nan, 4.0, 5.0])

    drawn = draw(Chart(np.arange(7, dtype=np.int64) * 1000, [Line("x", values)]))

    assert 1 == drawn.count('class="dot dot-0"') // 2
    assert (
        6
        == drawn.count(
            "M", drawn.index('class="line line-0"'), drawn.index('"/>', drawn.index('class="line line-0"'))
        )
        * 2
    )


def test_nothing_to_draw_says_so():
    assert "No samples in this range." in draw(Chart(np.array([], np.int64), []))
    assert "No samples in this range." in draw(Chart(np.array([1], np.int64), [Line("x", np.array([np.nan]))]))
    assert "No lines in this range." in stacked_bars([0], 1000, [("info", [0])])
