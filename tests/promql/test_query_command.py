"""``observe query`` against a server and a folder, and how results are drawn."""

import io
import json
import math
import os
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer

import numpy as np
import pytest

from observe import cli
from observe.model import Frame, Labels
from observe.promql.draw import chart, spark, table
from observe.promql.engine import Engine
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.terminal import showing_all
from observe.testing import ManualClock, MemorySource
from tests.promql.server import handler_class


@pytest.fixture(scope="module")
def url():
    source = MemorySource()
    source.load('asked_total{job="api"}', "0+60x60", step_ms=60_000)
    source.load('asked_total{job="web"}', "0+6x60", step_ms=60_000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_class(source, Engine(source)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_instant_is_a_table(url, capsys):
    status = cli.main(["query", "asked_total", "--time", "3600", "--url", url])

    assert status == 0
    assert capsys.readouterr().out.splitlines() == ['asked_total{job="api"}  3600', 'asked_total{job="web"}   360']


def test_remarks_go_to_the_error_stream(url, capsys):
    cli.main(["query", "rate({job='api', __name__=~'asked.*'}[5m]) > 100 or quantile(2, asked_total)", "--time", "3600",
              "--url", url])

    assert "quantile value should be between 0 and 1, got 2 (1:" in capsys.readouterr().err


def test_a_scalar_is_its_value(url, capsys):
    cli.main(["query", "1 + 2", "--time", "0", "--url", url])

    assert capsys.readouterr().out == "3\n"


def test_a_range_vector_shows_its_samples(url, capsys):
    cli.main(["query", 'asked_total{job="web"}[2m]', "--time", "3600", "--url", url])

    assert capsys.readouterr().out.splitlines() == [
        'asked_total{job="web"}', "  1970-01-01 00:59:00Z  354", "  1970-01-01 01:00:00Z  360",
    ]


def test_one_series_over_a_range_is_a_chart(url, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    cli.main(["query", 'asked_total{job="api"}', "--range", "50m", "--time", "3600", "--url", url])

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'asked_total{job="api"}'
    assert [line.split("│")[0].strip() for line in lines[1:13] if line.split("│")[0].strip()] == ["3600", "2100", "600"]
    assert lines[-1].split() == ["1970-01-01", "00:10:00Z", "1970-01-01", "01:00:00Z"]


def test_several_series_over_a_range_are_curves_in_lines(url, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")

    cli.main(["query", "rate(asked_total[5m])", "--range", "30m", "--step", "10m", "--time", "3600", "--url", url])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "1 (1 to 1)" in lines[1]
    assert lines[1].endswith('{job="api"}')


def test_json_is_what_the_api_gives(url, capsys):
    cli.main(["query", "asked_total", "--time", "3600", "--json", "--url", url])

    data = json.loads(capsys.readouterr().out)
    assert data["resultType"] == "vector"
    assert data["result"][0]["value"] == [3600, "3600"]


def test_a_wrong_expression_is_pointed_at(url, capsys):
    status = cli.main(["query", "sum(asked_total", "--url", url])

    assert status == 2
    assert "unclosed left parenthesis" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--time", "soon"], ["--range", "long"], ["--step", "0s"]])
def test_wrong_use_is_told(url, words):
    assert cli.main(["query", "up", *words, "--url", url]) == 2


def test_names_are_cut_to_the_width():
    assert table([("a" * 50, 1.0), ("b", 22.5)], 30) == ["a" * 23 + "…     1", "b" + " " * 23 + "  22.5"]


def test_a_spark_keeps_gaps_and_peaks():
    assert spark([0.0, None, 7.0, math.nan], 4) == "▁ █ "
    assert spark([0.0] * 50 + [1.0] + [0.0] * 49, 10) == "▁▁▁▁▁█▁▁▁▁"


def test_a_steep_line_has_no_holes():
    rows = chart([0.0, 100.0], 0, 60_000, 60)

    drawn = [row.split("│")[1][0] for row in rows[:12]]
    assert "\u2800" not in drawn


def test_a_flat_curve_and_an_empty_one_can_be_drawn():
    assert len(chart([5.0] * 100, 0, 60_000, 60)) == 14
    assert chart([None, None], 0, 60_000, 60) == ["no value in this range"]


def test_a_data_folder_is_read_without_a_server(tmp_path, capsys):
    store = MetricStore(tmp_path / "metrics", MetricSettings(accept_old=True), ManualClock(), Telemetry())
    names = [Labels({"__name__": "up", "job": "kept"})]
    times = np.arange(10, dtype=np.int64) * 60_000
    store.append(Frame(times, store.series_ids(names), np.ones((10, 1))))
    store.close()

    status = cli.main(["query", "sum_over_time(up[10m])", "--time", "600", "--data", str(tmp_path)])

    assert status == 0
    assert capsys.readouterr().out == '{job="kept"}  9\n'


@pytest.mark.parametrize("words", [
    ["sum("], ["up", "--time", "inf"], ["up", "--time", "nan"], ["up[5m]", "--range", "5m"],
], ids=" ".join)
def test_what_cannot_be_read_is_wrong_use(words, url, capsys):
    assert 2 == cli.main(["query", *words, "--url", url])

    printed = capsys.readouterr()
    assert ("", True) == (printed.out, printed.err.startswith("observe query: "))


def test_an_expression_that_fails_on_the_data_is_a_problem_found(url, capsys):
    assert 1 == cli.main(["query", "asked_total * on () asked_total", "--time", "3600", "--url", url])

    assert "duplicate series" in capsys.readouterr().err


def test_a_folder_tells_wrong_use_from_a_problem_too(tmp_path, capsys):
    MetricStore(tmp_path / "metrics", MetricSettings(), ManualClock(0), Telemetry()).close()

    assert 2 == cli.main(["query", "sum(", "--data", str(tmp_path)])
    assert 1 == cli.main(["query", "label_replace(vector(1), 'a', '$1', 'b', '(')", "--data", str(tmp_path)])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("expr", ["asked_total", 'asked_total{job="web"}'])
def test_a_terminal_without_unicode_is_drawn_on_with_what_it_has(encoding, expr, url):
    done = subprocess.run(
        [sys.executable, "-m", "observe", "query", expr, "--time", "3600", "--range", "1h", "--url", url],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "60"}, check=False)

    assert (0, b"") == (done.returncode, done.stderr)
    assert b"asked_total" in done.stdout
    assert b"\\u" not in done.stdout


def test_text_that_a_terminal_has_not_is_told_by_its_number():
    said = "é▁█⠉⠛⠤⠀→日".encode("ascii", "observe.stand_ins") if showing_all(io.StringIO()) is None else b""

    assert b"\\xe9_#':. ~"[:4] == said[:4]
    assert b"\\u65e5" == said[-6:]


def test_a_curve_of_no_finite_value_says_what_it_is_of():
    assert ["every value in this range is NaN"] == chart([math.nan, None, math.nan], 0, 60_000, 40)
    assert ["every value in this range is +Inf or -Inf"] == chart([math.inf, -math.inf], 0, 60_000, 40)
    assert ["no value in this range"] == chart([None, None], 0, 60_000, 40)
