"""The Grafana boards: fresh, valid, readable, and every panel has data where its exporter runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from observe.cli import main
from observe.errors import ConfigError
from observe.model import Frame, Labels
from observe.promql.engine import Engine
from observe.show import board_queries, boards
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

TOP = Path(__file__).parents[2]
BUILT = boards.build()


def test_the_committed_boards_are_fresh_and_without_problems():
    assert [] == [str(problem) for problem in boards.check()]


@pytest.mark.parametrize("name", BUILT)
def test_grafanas_own_models_read_every_board(name):
    body = json.loads((boards.generated_folder() / f"{name}.json").read_text("utf-8"))

    read = Dashboard.from_json(body)

    assert (body["uid"], len(body["panels"])) == (read.uid, len(read.panels))
    assert [] == _nulls(body)


def _nulls(value, path=""):
    if isinstance(value, dict):
        return [p for key, inner in value.items() for p in _nulls(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [p for i, inner in enumerate(value) for p in _nulls(inner, f"{path}[{i}]")]
    return [path] if value is None and not re.search(r"steps\[0\]\.value$", path) else []


@pytest.mark.parametrize("name", BUILT)
def test_panels_fill_their_rows_without_overlap(name):
    taken = set()
    for panel in BUILT[name]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


# ---------------------------------------------------------------- data


def expositions():
    """Every exporter's golden answer, the demo's metrics, and what else boards name; (job, text)."""
    for path in sorted((TOP / "tests" / "exporters").glob("*/*/metrics.txt")):
        yield path.parent.parent.name, path.read_text("utf-8")
    yield "gateway", demo_exposition()
    yield "observe", "".join(f"{series} 1\n" for series in OWN)


# What observe says of itself; a test below compares the names with the source.
OWN = (
    "up",
    "scrape_duration_seconds",
    "observe_scrape_samples_total",
    "observe_alerts_open",
    'observe_dropped_total{stage="s",reason="r"}',
    'observe_otlp_records_total{signal="logs"}',
    'observe_store_samples_total{outcome="stored"}',
    'observe_signals_indexed_total{kind="logs"}',
    'observe_spool_disk_bytes{spool="logs"}',
    'observe_rule_group_duration_seconds_bucket{group="g",le="1"}',
    'observe_rule_group_duration_seconds_bucket{group="g",le="+Inf"}',
    'observe_rule_evaluation_failures_total{group="g"}',
    'observe_alert_transitions_total{after="firing",reason="r"}',
    'observe_notifications_total{receiver="w",result="ok"}',
    'observe_http_request_duration_seconds_bucket{handler="/",le="1"}',
    'observe_http_request_duration_seconds_bucket{handler="/",le="+Inf"}',
)


def test_what_boards_say_of_observe_itself_is_in_its_source():
    source = "".join(path.read_text("utf-8") for path in (TOP / "observe").glob("*/*.py")) + (
        TOP / "observe" / "telemetry.py"
    ).read_text("utf-8")
    names = {re.sub(r"(_bucket)?[{].*", "", series) for series in OWN if series.startswith("observe_")}

    assert set() == {name for name in names if f'"{name}"' not in source}


def demo_exposition():
    from prometheus_client import generate_latest

    from observe.demo.signals import Metrics

    metrics = Metrics()
    for status in ("200", "500"):
        metrics.requests.labels("gateway", "/generate", status).inc(3)
    metrics.duration.labels("gateway", "/generate").observe(0.2)
    metrics.queue_depth.labels("gateway").set(2)
    metrics.queue_capacity.labels("gateway").set(64)
    metrics.cache_hits.labels("gateway").inc(2)
    metrics.cache_misses.labels("gateway").inc(3)
    metrics.tokens.labels("gateway", "generated").inc(90)
    return generate_latest(metrics.registry).decode()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Everything scraped for five minutes, recording rules and bands included."""
    clock = ManualClock()
    now = clock.now_ms()
    store = MetricStore(tmp_path_factory.mktemp("metrics"), MetricSettings(accept_old=True), clock, Telemetry())
    times = np.arange(now - 300_000, now + 1, 15_000)
    rows: dict[Labels, float] = {}
    for job, text in expositions():
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = Labels({"__name__": sample.name, **sample.labels, "job": job, "instance": f"{job}:1"})
                rows.setdefault(labels, sample.value)
    for rule in rules("alert"):
        for part in ("upper", "lower"):
            rows[
                Labels(
                    {
                        "__name__": f"observe_band_{part}",
                        "rule": rule,
                        "service": "gateway",
                        "endpoint": "/generate",
                        "instance": "host:1",
                    }
                )
            ] = 1.0
    write(store, times, list(rows), np.array([[value + i for value in rows.values()] for i in range(len(times))]))
    engine = Engine(store, clock=clock)
    for name, expr in recorded():
        matrix = engine.range(expr, int(times[8]), now, 15_000)
        write(
            store, matrix.times_ms, [labels.updated({"__name__": name}) for labels in matrix.labels], matrix.values.T
        )
    yield engine, now
    store.close()


def write(store, times, labels, values):
    store.append(
        Frame(np.asarray(times, np.int64), store.series_ids(labels), np.ascontiguousarray(values, np.float64))
    )


def groups():
    for path in sorted((TOP / "alert_rules").glob("*.yml")):
        yield from yaml.safe_load(path.read_text("utf-8"))["groups"]


def rules(kind):
    return [f"{group['name']}/{rule[kind]}" for group in groups() for rule in group["rules"] if kind in rule]


def recorded():
    return [(rule["record"], rule["expr"]) for group in groups() for rule in group["rules"] if "record" in rule]


VARIABLES = {"service": "gateway", "endpoint": "/generate", "figure": "business_.+"}
EXPRESSIONS = [(name, found) for name, body in BUILT.items() for found in board_queries.expressions(body, VARIABLES)]


@pytest.mark.parametrize(("name", "found"), EXPRESSIONS, ids=lambda v: getattr(v, "panel", v))
def test_every_panel_returns_data_for_what_the_exporters_give(engine, name, found):
    engine, now = engine

    assert len(engine.instant(found.expr, now).labels), found.expr


def test_every_band_on_a_board_is_that_of_a_shipped_rule():
    named = {match for body in BUILT.values() for match in re.findall(r'rule=\\"([^"\\]+)\\"', json.dumps(body))}

    assert named
    assert set() == named - set(rules("alert"))


# ---------------------------------------------------------------- the command


def test_a_stale_board_and_a_careless_panel_are_found(tmp_path, capsys):
    (tmp_path / "careless.dashboard.py").write_text(
        "from observe.dashboards.panels import Query, Row, board, timeseries\n"
        "panel = timeseries('Naked', Query('sum(('), unit='', description='')\n"
        "dashboard = board('T', 't', 'd', [Row('r', (panel,))])\n"
    )
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "gone.json").write_text("{}")

    code = main(["boards", "check", "--sources", str(tmp_path)])

    said = capsys.readouterr().err
    assert 1 == code
    for words in (
        "not fresh",
        "'Naked' has no description",
        "'Naked' has no unit",
        "cannot be read",
        "no source any more",
    ):
        assert words in said, words


def test_building_writes_once_and_removes_what_has_no_source(tmp_path, capsys):
    (tmp_path / "one.dashboard.py").write_text(
        "from observe.dashboards.panels import board\ndashboard = board('One', 'one', 'd', [])\n"
    )
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "gone.json").write_text("{}")

    codes = [main(["boards", "build", "--sources", str(tmp_path)]) for _ in range(2)]

    assert [0, 0] == codes
    assert "2 boards written\nevery board was fresh\n" == capsys.readouterr().out
    assert ["one.json"] == [path.name for path in (tmp_path / "generated").iterdir()]


def test_a_board_that_cannot_be_built_is_named(tmp_path):
    (tmp_path / "broken.dashboard.py").write_text("dashboard = 1 / 0\n")

    with pytest.raises(ConfigError, match=r"broken\.dashboard\.py.*ZeroDivisionError"):
        boards.build(tmp_path)


def test_listing_boards_loads_no_panel_library():
    code = (
        "import sys; from observe.show import boards; assert boards.listed(); import observe.show.web; "
        "print([m for m in ('grafanalib', 'pandas', 'matplotlib', 'plotly', 'scipy.stats') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)

    assert "[]" == told.stdout.strip()
