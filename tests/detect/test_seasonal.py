"""The seasonal detector: what people's clocks say is what it learns, daylight saving included."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.civil import CivilTime
from observe.detect.engine import create
from tests.detect.streams import name

STEP_MS = 600_000
DAY = 144


def ms(*when, zone="UTC"):
    return round(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def times(start_ms, days):
    return start_ms + STEP_MS * np.arange(days * DAY, dtype=np.int64)


def hour_there(stamps, zone):
    there = [datetime.fromtimestamp(t / 1000, UTC).astimezone(ZoneInfo(zone)) for t in stamps]
    return np.array([moment.hour + moment.minute / 60 for moment in there])


def morning(hours, seed):
    """A peak of some hours about nine o'clock."""
    return 10 + 90 * np.exp(-(((hours - 9) / 2) ** 2)) + np.random.default_rng(seed).standard_normal(len(hours))


def fold(band, stamps, values):
    return create(band, STEP_MS).fold(stamps, (name(0),), values[:, None])


def test_a_morning_peak_is_expected_and_its_absence_is_outside():
    stamps = times(ms(2026, 1, 5), 14)
    peak = morning(stamps / 3_600_000 % 24, seed=1)
    without = peak.copy()
    without[-DAY + 48 : -DAY + 66] = 10.0

    usual, missing = (fold(Band(detector="seasonal", k=4), stamps, values) for values in (peak, without))

    assert 0 == usual.firing[5 * DAY :].sum()
    assert missing.firing[-DAY + 49 : -DAY + 61, 0].all()


@pytest.mark.parametrize("seed", range(2, 8))
def test_a_weekend_is_learned_apart_from_the_days_of_work(seed):
    stamps = times(ms(2026, 1, 5), 42)
    weekend = (stamps // 86_400_000 + 3) % 7 >= 5
    values = np.where(weekend, 10.0, 100.0) + np.random.default_rng(seed).standard_normal(len(stamps))

    judged = fold(Band(detector="seasonal"), stamps, values)

    noons = np.arange(42) * DAY + 72
    np.testing.assert_allclose(judged.baseline[noons[14:], 0], np.where(weekend[noons[14:]], 10, 100), atol=5)
    paged = judged.firing[14 * DAY :, 0].reshape(-1, DAY).any(axis=1)
    assert not np.delete(paged, [0, 7]).any(), "only the Mondays of the third and the fourth week are not known yet"


@pytest.mark.parametrize("size", [2, 4, 10])
def test_an_incident_does_not_hide_the_same_one_a_week_later(size):
    """The hour of the week it fell into must not take its points for scatter."""
    stamps = times(ms(2026, 1, 5), 24)
    hour = DAY // 24
    values = 100 + 20 * np.sin(2 * np.pi * np.arange(len(stamps)) / DAY)
    values += 3 * np.random.default_rng(size).standard_normal(len(stamps))
    for day in (15, 22):
        values[day * DAY + 10 * hour : day * DAY + 11 * hour] *= size

    judged = fold(Band(detector="seasonal"), stamps, values)

    first, again = (day * DAY + 10 * hour for day in (15, 22))
    half = (judged.upper - judged.lower)[:, 0] / 2
    assert half[again] < 2 * half[first]
    for begin in (first, again):
        assert judged.firing[begin + 3 : begin + hour, 0].all()


@pytest.mark.parametrize(
    ("start", "zone"),
    [((2026, 3, 15), "Europe/Berlin"), ((2026, 10, 12), "Europe/Berlin"), ((2026, 3, 27), "Australia/Lord_Howe")],
)
def test_a_peak_at_nine_stays_at_nine_when_the_clocks_change(start, zone):
    stamps = times(ms(*start, zone=zone), 21)
    values = morning(hour_there(stamps, zone), seed=3)

    there = fold(Band(detector="seasonal", k=4, timezone=zone), stamps, values)
    in_utc = fold(Band(detector="seasonal", k=4), stamps, values)

    assert 0 == there.firing[10 * DAY :].sum()
    off_there, off_utc = (np.abs(values - judged.baseline[:, 0])[-4 * DAY :].mean() for judged in (there, in_utc))
    assert off_there < 0.9 * off_utc or zone == "Australia/Lord_Howe"


def test_it_is_ready_after_two_days():
    stamps = times(ms(2026, 1, 5), 3)

    judged = fold(Band(detector="seasonal"), stamps, np.random.default_rng(4).standard_normal(len(stamps)))

    assert 2 * DAY == int(np.argmax(judged.ready[:, 0]))


def test_state_stays_under_3_kib_a_series():
    assert create(Band(detector="seasonal"), STEP_MS).bytes_per_series <= 3 * 1024


def test_civil_time_follows_the_zone():
    summer, winter = ms(2026, 7, 1), ms(2026, 1, 1)
    civil = CivilTime("Europe/Berlin")

    assert (7_200_000, 3_600_000) == (civil.local_ms(summer) - summer, civil.local_ms(winter) - winter)
    both = np.array([summer, winter])
    np.testing.assert_array_equal([7_200_000, 3_600_000], civil.local_times_ms(both) - both)
