"""`observe backtest`: the same rows come back with what was said of them; bad input names file and line."""

import csv

import numpy as np
import pytest

from observe.cli import main

RNG = np.random.default_rng(3)
ROLLING = "{detector: rolling, window: 10}"


def write(path, values, stamp=lambda n: f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z"):
    path.write_text("timestamp,value\n" + "".join(f"{stamp(n)},{value}\n" for n, value in enumerate(values)))
    return path


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def backtest(source, target, band=ROLLING):
    return main(["backtest", "--input", str(source), "--output", str(target), "--band", band])


def test_the_same_rows_come_back_with_bands_scores_and_alerts(tmp_path, capsys):
    values = [*np.round(np.random.default_rng(1).standard_normal(40), 3), 50, 50, 50, 50]
    source = write(tmp_path / "in.csv", values)

    assert 0 == backtest(source, tmp_path / "out.csv")

    assert f"1 file judged into {tmp_path / 'out.csv'}: 44 points, 1 alert\n" == capsys.readouterr().out
    judged = rows(tmp_path / "out.csv")
    assert ["timestamp", "value", "baseline", "lower", "upper", "score", "ready", "alert"] == list(judged[0])
    assert [(row["timestamp"], row["value"]) for row in rows(source)] == [
        (row["timestamp"], row["value"]) for row in judged]
    assert ("", "0", "0") == (judged[9]["score"], judged[9]["ready"], judged[9]["alert"])
    assert float(judged[10]["score"]) >= 0
    assert ["0", "0", "1", "1"] == [row["alert"] for row in judged[40:]]


def test_a_file_of_a_directory_is_judged_as_if_it_were_alone(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        write(tmp_path / "in" / f"{number}.csv", RNG.standard_normal(50))
    alone = tmp_path / "renamed.csv"
    alone.write_bytes((tmp_path / "in" / "1.csv").read_bytes())

    assert 0 == backtest(tmp_path / "in", tmp_path / "out")
    assert 0 == backtest(alone, tmp_path / "alone.csv")

    assert 3 == len(list((tmp_path / "out").iterdir()))
    assert (tmp_path / "out" / "1.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_an_empty_cell_is_a_gap(tmp_path):
    source = write(tmp_path / "in.csv", [*RNG.standard_normal(20), "", 1])

    assert 0 == backtest(source, tmp_path / "out.csv")

    assert "" == rows(tmp_path / "out.csv")[20]["score"]


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000, 1_000_000_000])
def test_an_epoch_is_told_by_its_magnitude(tmp_path, scale):
    values = RNG.standard_normal(50)
    write(tmp_path / "iso.csv", values, lambda n: f"2023-11-14T22:{n:02}:00")
    write(tmp_path / "epoch.csv", values, lambda n: (1_699_999_200 + 60 * n) * scale)

    backtest(tmp_path / "iso.csv", tmp_path / "a.csv")
    backtest(tmp_path / "epoch.csv", tmp_path / "b.csv")

    without_time = [[list(row.values())[1:] for row in rows(tmp_path / name)] for name in ("a.csv", "b.csv")]
    assert without_time[0] == without_time[1]


BROKEN = {
    "no header": ("2026-01-01T00:00:00Z,1\n", "columns `timestamp` and `value` are wanted"),
    "empty": ("", "found: an empty file"),
    "a word for a number": ("timestamp,value\n2026-01-01T00:00:00Z,1\n2026-01-01T00:01:00Z,many\n", "bad.csv:3"),
    "a word for a time": ("timestamp,value\n2026-01-01T00:00:00Z,1\nyesterday,2\n", "bad.csv:3: `yesterday`"),
    "a cell is missing": ("timestamp,value\n2026-01-01T00:00:00Z\n", "bad.csv:2: 1 cells where 2 are wanted"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_its_line_and_the_others_go_on(tmp_path, capsys, case):
    text, words = BROKEN[case]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.csv").write_text(text)
    write(tmp_path / "in" / "good.csv", RNG.standard_normal(20))

    assert 1 == backtest(tmp_path / "in", tmp_path / "out")

    assert words in capsys.readouterr().err
    assert ["good.csv"] == [path.name for path in (tmp_path / "out").iterdir()]


@pytest.mark.parametrize(
    ("band", "words"), [("{detector: magic}", "magic"), ("{", "not YAML"), ("{treshold: 3}", "unknown key")],
)
def test_a_wrong_band_is_told(tmp_path, capsys, band, words):
    write(tmp_path / "in.csv", [1])

    assert 1 == backtest(tmp_path / "in.csv", tmp_path / "out.csv", band)

    assert words in capsys.readouterr().err


def test_a_missing_input_is_told(tmp_path, capsys):
    assert 1 == backtest(tmp_path / "none.csv", tmp_path / "out.csv")

    assert "there is no such file" in capsys.readouterr().err


def test_a_budget_is_read_off_the_rows_before_after_each_midnight(tmp_path):
    noise = np.round(50 + np.random.default_rng(5).standard_t(4, 6 * 288), 3)
    stamp = lambda n: str(1_772_323_200 + 300 * n)  # noqa: E731 - from a midnight
    band = "{detector: rolling, trigger: 1 of 1, budget: 3/day}"
    for name, values in (("whole", noise), ("part", noise[: 5 * 288 + 7])):
        write(tmp_path / f"{name}.csv", values, stamp)
        assert 0 == backtest(tmp_path / f"{name}.csv", tmp_path / f"{name}-out.csv", band)
    assert 0 == backtest(tmp_path / "whole.csv", tmp_path / "plain.csv", "{detector: rolling, trigger: 1 of 1}")

    whole, part, plain = (rows(tmp_path / name) for name in ("whole-out.csv", "part-out.csv", "plain.csv"))

    assert whole[: len(part)] == part
    assert plain[: 288] == whole[: 288]
    begun = [sum(one["alert"] < two["alert"] for one, two in zip(table[2 * 288 :], table[2 * 288 + 1 :], strict=False))
             for table in (plain, whole)]
    assert begun[0] > 2 * 12
    assert 12 / 2 <= begun[1] <= 2 * 12


@pytest.mark.parametrize("stamps", ["once", "backwards"])
def test_a_budget_bears_times_that_do_not_rise(tmp_path, stamps):
    at = {"once": lambda n: "1772323200" if n < 400 else str(1_772_323_200 + 86_400 + n),
          "backwards": lambda n: str(1_772_323_200 + 300 * (n ^ 1))}[stamps]
    source = write(tmp_path / "in.csv", np.round(RNG.standard_normal(900), 3), at)

    assert 0 == backtest(source, tmp_path / "out.csv", "{detector: rolling, budget: 3/day}")

    assert 900 == len(rows(tmp_path / "out.csv"))
