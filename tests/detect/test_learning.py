"""Starting from what is known already: old data, siblings."""

import duckdb
import numpy as np
import pytest

from observe.detect.band import Band
from observe.detect.detector import detectors
from observe.detect.engine import create
from observe.detect.fit import fit_season
from observe.detect.fit_process import fit_elsewhere
from observe.detect.history import History, joined, read_csv, read_file
from observe.errors import InvalidInput, ObserveError
from observe.model import Labels
from tests.detect.streams import START_MS, fold, name

STEP_MS = 600_000
DAY = 144
RNG = np.random.default_rng(33)


def history(values, labels=None):
    table = np.asarray(values, float)
    table = table[:, None] if table.ndim == 1 else table
    times = START_MS + STEP_MS * np.arange(len(table), dtype=np.int64)
    return History(times, labels or tuple(name(n) for n in range(table.shape[1])), table)


def week_shape(days, seed=1):
    at = START_MS + STEP_MS * np.arange(days * DAY, dtype=np.int64)
    hours = at / 3_600_000
    weekend = ((hours // 24 + 3) % 7) >= 5
    shape = 100 + 30 * np.sin(2 * np.pi * hours / 24) - 40 * weekend
    return shape + np.random.default_rng(seed).standard_normal(len(at))


@pytest.mark.parametrize("detector", detectors())
def test_a_new_install_with_old_data_is_ready_at_once(detector):
    engine = create(Band(detector=detector), STEP_MS)

    engine.learn(history(week_shape(21)))

    judged = fold(engine, week_shape(22)[21 * DAY :], start=21 * DAY, interval_ms=STEP_MS)
    assert judged.ready.all()


def test_a_fit_over_history_seeds_the_season_with_level_day_and_week():
    values = week_shape(22)
    engine = create(Band(detector="seasonal"), STEP_MS)

    engine.learn(history(values[: 21 * DAY]))

    judged = fold(engine, values[21 * DAY :], start=21 * DAY, interval_ms=STEP_MS)
    assert np.abs(judged.baseline[:, 0] - values[21 * DAY :]).mean() < 5
    assert not judged.firing.any()


def test_a_fit_knows_the_hours_of_the_week_and_refuses_too_little():
    values = week_shape(21)
    times = history(values).times_ms

    season = fit_season(times, values)

    assert 3 == pytest.approx(season.weeks, abs=0.02)
    by_hand = np.array([values[(times // 3_600_000 + 72) % 168 == hour].mean() for hour in range(168)])
    assert np.corrcoef(by_hand, season.week)[0, 1] > 0.98
    assert fit_season(times[:100], values[:100]) is None
    assert fit_season(times, np.full(len(times), np.nan)) is None


@pytest.mark.parametrize("values", [np.full(21 * DAY, 5.0), np.where(np.arange(21 * DAY) % 97 == 0, 9.0, 0.0)])
def test_a_flat_or_sparse_history_is_fitted_without_fuss(values):
    season = fit_season(history(values).times_ms, values)

    assert np.isfinite(season.level)


def test_history_comes_from_a_csv_and_a_parquet_file(tmp_path):
    values = week_shape(3)
    known = history(values)
    rows = "".join(f"{time},{value}\n" for time, value in zip(known.times_ms, values, strict=True))
    (tmp_path / "a.csv").write_text("timestamp,value\n" + rows)
    duckdb.sql(f"""COPY (SELECT epoch_ms({START_MS} + {STEP_MS} * i) AS timestamp, i * 0.5 AS value,
        CASE WHEN i % 2 = 0 THEN 'x' ELSE 'y' END AS host FROM range(40) t(i)) TO '{tmp_path}/a.parquet'""")

    csv = read_csv(tmp_path / "a.csv", name(0))
    parquet = read_file(tmp_path / "a.parquet")

    np.testing.assert_array_equal(known.values, csv.values)
    np.testing.assert_array_equal(known.times_ms, csv.times_ms)
    assert (Labels({"host": "x"}), Labels({"host": "y"})) == parquet.labels
    np.testing.assert_array_equal([[0, np.nan], [np.nan, 0.5], [1, np.nan]], parquet.values[:3])
    assert START_MS == parquet.times_ms[0]


def test_a_csv_with_label_columns_is_history_of_many_series(tmp_path):
    (tmp_path / "a.csv").write_text(
        "timestamp,value,service,zone\n2026-01-01T00:00:00Z,1,web,a\n2026-01-01T00:00:00Z,2,mail,\n"
        "2026-01-01T00:01:00Z,,web,a\n2026-01-01T00:01:00Z,4,mail,\n")
    (tmp_path / "b.csv").write_text("timestamp,value\n1767225600,1.5\n1767225660,2.5\n")

    many, one = read_file(tmp_path / "a.csv"), read_file(tmp_path / "b.csv")

    assert (Labels({"service": "mail"}), Labels({"service": "web", "zone": "a"})) == many.labels
    np.testing.assert_array_equal([[2, 1], [4, np.nan]], many.values)
    assert [1_767_225_600_000, 1_767_225_660_000] == many.times_ms.tolist() == one.times_ms.tolist()
    assert (Labels(),) == one.labels


def test_an_older_file_and_what_the_store_has_are_one_history():
    older = history([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], (name(0), name(1)))
    newer = History(older.times_ms[2:] + STEP_MS // 2, (name(1), name(2)), np.array([[7.0, 8.0]]))

    both = joined(older, newer)

    assert [*older.times_ms.tolist(), int(newer.times_ms[0])] == both.times_ms.tolist()
    np.testing.assert_array_equal([5, 6, np.nan], both.values[2])
    np.testing.assert_array_equal([np.nan, 7, 8], both.values[3])
    assert joined(History(older.times_ms[:0], (), np.empty((0, 0))), newer) is newer


def test_a_fit_in_a_process_of_its_own_says_the_same():
    values = week_shape(15)

    season, none = fit_elsewhere(history(np.c_[values, np.full(len(values), np.nan)]))

    here = fit_season(history(values).times_ms, values)
    np.testing.assert_allclose(here.week, season.week)
    assert here.level == pytest.approx(season.level)
    assert none is None


def test_without_statsmodels_a_fit_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "statsmodels").mkdir()
    (tmp_path / "statsmodels" / "__init__.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(ObserveError, match=r"not installed.*pip install 'observe-stack\[server,analysis\]'"):
        fit_elsewhere(history(week_shape(3)))


def test_a_fit_that_dies_says_why(tmp_path, monkeypatch):
    (tmp_path / "statsmodels").mkdir()
    (tmp_path / "statsmodels" / "__init__.py").write_text("raise MemoryError('no room')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(ObserveError, match=r"could not be fitted .*no room"):
        fit_elsewhere(history(week_shape(3)))


def test_siblings_of_old_data_are_an_example_for_a_new_series():
    family = tuple(Labels({"service": "web", "instance": str(n)}) for n in range(2))
    engine = create(Band(detector="rolling", by=("service",)), STEP_MS)

    engine.learn(history(RNG.standard_normal((40, 1)), family[:1]))

    judged = fold(engine, [[0.0, 0.0]], labels=family, start=40, interval_ms=STEP_MS)
    assert [True, True] == judged.ready[0].tolist()


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
        read_file(tmp_path / "a.parquet")
    with pytest.raises(InvalidInput, match="no such file"):
        read_file(tmp_path / "b.parquet")


@pytest.mark.parametrize("detector", detectors())
def test_a_new_series_starts_from_its_siblings_baseline(detector):
    family = tuple(Labels({"service": service, "instance": str(n)}) for n, service in enumerate(["web", "web", "db"]))
    engine = create(Band(detector=detector, by=("service",)), STEP_MS)
    fold(engine, 50 + RNG.standard_normal((4 * DAY, 3)), labels=family, interval_ms=STEP_MS)
    young = (*family, Labels({"service": "web", "instance": "new"}), Labels({"service": "mail", "instance": "new"}))

    judged = fold(engine, np.full((3, 5), 50.0), labels=young, start=4 * DAY, interval_ms=STEP_MS)

    assert [True, True, True, True, False] == judged.ready[0].tolist()
    assert judged.baseline[0, 3] in judged.baseline[0, :2]


def test_siblings_are_known_again_after_a_restart():
    family = tuple(Labels({"service": "web", "instance": str(n)}) for n in range(2))
    before, after = (create(Band(detector="rolling", by=("service",)), STEP_MS) for _ in range(2))
    fold(before, RNG.standard_normal((40, 1)), labels=family[:1], interval_ms=STEP_MS)

    after.restore(before.snapshot())
    judged = fold(after, [[0.0, 0.0]], labels=family, start=40, interval_ms=STEP_MS)

    assert [True, True] == judged.ready[0].tolist()


def test_families_that_are_gone_are_forgotten():
    engine = create(Band(detector="rolling", by=("service",)), STEP_MS)
    for number in range(700):
        name_of = (Labels({"service": str(number)}),)
        fold(engine, [[1.0]], labels=name_of, start=number, interval_ms=STEP_MS)
        engine.forget(name_of)

    assert len(engine._siblings._families) < 300


def test_a_sibling_that_fires_is_no_example():
    family = tuple(Labels({"service": "web", "instance": str(n)}) for n in range(2))
    engine = create(Band(detector="rolling", by=("service",)), STEP_MS)
    fold(engine, np.r_[RNG.standard_normal(40), np.full(5, 99.0)][:, None], labels=family[:1], interval_ms=STEP_MS)

    judged = fold(engine, [[99.0, 99.0]], labels=family, start=45, interval_ms=STEP_MS)

    assert [True, False] == judged.ready[0].tolist()


def test_a_new_series_does_not_go_on_with_its_siblings_alert():
    """An alert of `auto` that comes back within a quarter of an hour goes on: of its own series only."""
    family = tuple(Labels({"service": "web", "instance": str(n)}) for n in range(2))
    engine = create(Band(by=("service",)), 60_000)
    quiet = 100 + np.random.default_rng(8).standard_normal(1500)
    seen = fold(engine, np.r_[quiet, 160, 100, 100, 100][:, None], labels=family[:1], interval_ms=60_000)

    judged = fold(engine, [[100.0, 108.0]], labels=family, start=1504, interval_ms=60_000)

    assert seen.firing[1500, 0]
    assert [True, True] == judged.ready[0].tolist()
    assert not judged.firing[0, 1]


def test_a_history_with_a_time_that_is_none_or_a_strange_column_is_no_surprise(tmp_path):
    (tmp_path / "nan.csv").write_text("timestamp,value\nnan,1\n1772323200,2\n")
    (tmp_path / "quote.csv").write_text('timestamp,value,"a""b"\n1772323200,1,x\n')
    (tmp_path / "none.csv").write_text("timestamp,value\n")

    with pytest.raises(InvalidInput, match="a `timestamp` of it is no time"):
        read_file(tmp_path / "nan.csv")
    assert {'a"b': "x"} == dict(read_file(tmp_path / "quote.csv").labels[0])
    assert 0 == len(read_file(tmp_path / "none.csv").times_ms)
