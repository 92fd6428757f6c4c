"""`observe backtest`: the same rows come back with what was said of them; bad input names file and line."""

import csv
import os

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


def judged_alone(tmp_path, text, band=ROLLING):
    (tmp_path / "in.csv").write_bytes(text.encode())
    assert 0 == backtest(tmp_path / "in.csv", tmp_path / "out.csv", band)
    return rows(tmp_path / "out.csv")


DIALECTS = {
    "blank lines": lambda text: text.replace("\n2026", "\n\n2026", 3) + "\n\n",
    "Windows": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "quoted, spaced, other columns": lambda text: text.replace("timestamp,value", '"Timestamp" ,host, Value ')
    .replace("Z,", 'Z,"a,b", '),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_how_a_file_is_written_does_not_matter(tmp_path, dialect):
    text = write(tmp_path / "plain.csv", RNG.standard_normal(30)).read_text()

    plain, other = judged_alone(tmp_path, text), judged_alone(tmp_path, DIALECTS[dialect](text))

    assert [list(row.values())[2:] for row in plain] == [list(row.values())[2:] for row in other]


def test_a_tiny_spread_on_a_large_offset_is_written_as_it_is(tmp_path):
    values = 1e12 + np.round(1e-3 * RNG.standard_normal(40), 4)
    write(tmp_path / "in.csv", [f"{value!r}" for value in values.tolist()])

    backtest(tmp_path / "in.csv", tmp_path / "out.csv")

    exact = (values[28:38] - 1e12).std(ddof=1) * 3
    last = rows(tmp_path / "out.csv")[38]
    np.testing.assert_allclose((float(last["upper"]) - float(last["lower"])) / 2, exact, rtol=0.05)


def test_times_before_1970_are_times(tmp_path):
    months = [f"{1949 + n // 12}-{n % 12 + 1:02}-01" for n in range(144)]
    text = "timestamp,value\n" + "".join(f"{month},{n % 12}\n" for n, month in enumerate(months))

    before = judged_alone(tmp_path, text)
    since = judged_alone(tmp_path, text.replace("19", "23"))

    assert 134 == sum(row["ready"] == "1" for row in before)
    assert [list(row.values())[1:] for row in since] == [list(row.values())[1:] for row in before]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path, capsys):
    write(tmp_path / "in.csv", RNG.standard_normal(20))
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    assert 0 == backtest(tmp_path / "in.csv", tmp_path / "pipe")

    assert 21 == len(os.read(reader, 65_536).splitlines())
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert "" == capsys.readouterr().out


def test_a_link_is_written_through_and_stays_a_link(tmp_path, capsys):
    """So is /dev/stdout where the shell sends it into a file."""
    write(tmp_path / "in.csv", RNG.standard_normal(20))
    (tmp_path / "out.csv").write_text("older and longer\n" * 500)
    (tmp_path / "link").symlink_to(tmp_path / "out.csv")

    assert 0 == backtest(tmp_path / "in.csv", tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert 20 == len(rows(tmp_path / "out.csv"))
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize("name", ["in", "in/a.csv"])
def test_the_input_is_never_overwritten(tmp_path, capsys, name):
    (tmp_path / "in").mkdir()
    text = write(tmp_path / "in" / "a.csv", RNG.standard_normal(20)).read_text()

    assert 1 == backtest(tmp_path / name, tmp_path / name)

    assert "the output would take the place of the input" in capsys.readouterr().err
    assert text == (tmp_path / "in" / "a.csv").read_text()


def test_every_csv_of_a_folder_is_judged_however_it_is_spelled(tmp_path):
    (tmp_path / "in" / "folder.csv").mkdir(parents=True)
    write(tmp_path / "in" / "A.CSV", RNG.standard_normal(20))

    assert 0 == backtest(tmp_path / "in", tmp_path / "out")

    assert ["A.CSV"] == [path.name for path in (tmp_path / "out").iterdir()]


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
    "not a time, an epoch": ("timestamp,value\n1772323200,1\nnan,2\n", "bad.csv:3: `nan` is not a time"),
    "an endless time": ("timestamp,value\n1772323200,1\n\ninf,2\n", "bad.csv:4: `inf` is not a time"),
    "a quote not closed": ('timestamp,value\n0,1\n60,"2\n' + "120,3\n" * 999, "bad.csv:3: `2…` is not a number\n"),
    "not UTF-8": ("timestamp,value\n0,1\n".encode("utf-16"), "fix: save it as UTF-8"),
    "a cell is missing": ("timestamp,value\n2026-01-01T00:00:00Z\n", "bad.csv:2: 1 cells where 2 are wanted"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_its_line_and_the_others_go_on(tmp_path, capsys, case):
    text, words = BROKEN[case]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
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
