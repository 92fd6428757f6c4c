"""The metric store against what one would take instead, in the same run: SQLite to append, DuckDB over Parquet to read,
Prometheus' own blocks for bytes. Ratios are ours over theirs; below 1 is better.
"""

import sqlite3
import subprocess
import time
import urllib.request

import duckdb
import numpy as np
import pytest

from observe.collect.exposition_lines import read_head
from observe.model import ABSENT_NAN_BITS, METRIC_NAME, Frame, Labels, Matcher
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.real.process import RealProcess, free_port, http_ok, require

STEP_MS = 15_000
TARGETS, SERIES = 20, 1000
START_MS = 1_700_006_400_000  # a full hour


def page(rng, rows):
    """[rows, SERIES]: a third stands still, most count, some float."""
    values = np.zeros((rows, SERIES))
    values[:, 300:800] = np.cumsum(rng.integers(0, 50, (rows, 500)), axis=0)
    values[:, 800:950] = np.round(rng.random((rows, 150)) * 100, 2)
    values[:, 950:] = rng.random((rows, 50))
    return values


def cpu(work):
    """Seconds of CPU of this process that `work` takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.fixture
def store(tmp_path):
    clock = ManualClock(START_MS)
    made = MetricStore(tmp_path / "metrics", MetricSettings(cache_bytes=0), clock, Telemetry())
    yield made, clock
    made.close()


def names(target):
    return [Labels({METRIC_NAME: f"m{n % 50}", "instance": f"i{target}", "job": "sim", "n": str(n)})
            for n in range(SERIES)]


def fill(made, clock, rows=200):
    values = page(np.random.default_rng(1), rows)
    ids = [made.series_ids(names(target)) for target in range(TARGETS)]
    for row in range(rows):
        clock.advance_ms(STEP_MS)
        for own in ids:
            made.append(Frame(np.array([clock.now_ms()]), own, values[row : row + 1]))


def test_append_against_sqlite(store, tmp_path, record_property):
    made, clock = store
    fill(made, clock, 4)  # names and first rows
    ours = cpu(lambda: fill(made, clock, 200)) / (200 * TARGETS * SERIES)

    base = sqlite3.connect(tmp_path / "peer.sqlite")
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("CREATE TABLE samples (series INTEGER, time INTEGER, value REAL, PRIMARY KEY (series, time)) "
                 "WITHOUT ROWID")
    values = page(np.random.default_rng(1), 10)

    def peer():
        for row in range(10):
            for target in range(2):
                base.executemany("INSERT INTO samples VALUES (?, ?, ?)", [
                    (target * SERIES + n, row * STEP_MS, value) for n, value in enumerate(values[row].tolist())])
                base.commit()

    theirs = cpu(peer) / (10 * 2 * SERIES)
    record_property("append: µs CPU a sample", f"{ours * 1e6:.3f} (SQLite {theirs * 1e6:.2f})")
    print(f"\nappend: {ours * 1e6:.3f} µs of CPU a sample, SQLite {theirs * 1e6:.2f}: ratio {ours / theirs:.3f}")
    assert ours < 0.2 * theirs


def test_select_from_memory_against_duckdb_over_our_blocks(store, tmp_path):
    made, clock = store
    fill(made, clock, 240)
    matchers = [Matcher("instance", "=", "i3")]
    made.select(matchers, 0, 2**62)
    in_memory = min(cpu(lambda: made.select(matchers, 0, 2**62)) for _ in range(5))
    clock.advance("2h")
    for _ in range(3):
        made.maintain(clock.now_ms(), 60.0)
        clock.advance("10m")
    assert made.stats()["blocks"] >= 1
    made.select(matchers, 0, 2**62)
    from_blocks = min(cpu(lambda: made.select(matchers, 0, 2**62)) for _ in range(5))
    folder = tmp_path / "metrics" / "blocks"
    con = duckdb.connect(config={"threads": 1})
    sql = (f"SELECT series, timestamp_ms, value FROM '{folder}/*/samples-*.parquet' SEMI JOIN (SELECT series FROM "
           f"'{folder}/*/series.parquet' WHERE labels['instance'] = 'i3') USING (series)")
    con.sql(sql).fetchnumpy()
    theirs = min(cpu(lambda: con.sql(sql).fetchnumpy()) for _ in range(5))
    print(f"\n1000 of {TARGETS * SERIES} series x 240: memory {in_memory * 1e3:.2f} ms, blocks {from_blocks * 1e3:.1f} "
          f"ms, DuckDB alone {theirs * 1e3:.1f} ms: ratios {in_memory / theirs:.3f}, {from_blocks / theirs:.2f}")
    assert in_memory < 0.2 * theirs
    assert from_blocks < 2 * theirs  # with names, in order, merged


@pytest.mark.real
def test_bytes_a_sample_against_the_real_prometheus(store, tmp_path):
    """Pages of a real node_exporter, fetched quickly and laid 15 s apart: both sides store the same samples."""
    made, clock = store
    binary, promtool, port = require("prometheus-node-exporter"), require("promtool"), free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    rows, samples = [], 0
    with RealProcess("node-exporter", [binary, f"--web.listen-address=127.0.0.1:{port}"], tmp_path) as exporter:
        exporter.wait_healthy(lambda: http_ok(url))
        for _ in range(150):
            with urllib.request.urlopen(url) as answer:
                lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
            rows.append({head: float(value) for head, value in (line.rsplit(" ", 1) for line in lines)})
    heads = sorted({head for row in rows for head in row})
    series = [Labels([*read_head(head.encode()), ("instance", "host:9100"), ("job", "node")]) for head in heads]
    ids = made.series_ids(series)
    told: dict[str, list[str]] = {}
    for row in rows:
        clock.advance_ms(STEP_MS)
        values = np.full((1, len(heads)), ABSENT_NAN_BITS, np.uint64).view(np.float64)
        for at, (head, labels) in enumerate(zip(heads, series, strict=True)):
            if head in row:
                values[0, at] = row[head]
                text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.pairs if name != METRIC_NAME)
                line = f"{labels.name}{{{text}}} {row[head]!r} {clock.now_ms() / 1000}"
                told.setdefault(labels.name, []).append(line)
                samples += 1
        made.append(Frame(np.array([clock.now_ms()]), ids, values))
    clock.advance("3h")
    for _ in range(3):
        made.maintain(clock.now_ms(), 60.0)
        clock.advance("10m")
    ours = made.stats()["block_bytes"] / samples

    text = "".join(f"# TYPE {name} unknown\n" + "\n".join(lines) + "\n" for name, lines in told.items())
    (tmp_path / "openmetrics").write_text(text.replace(" inf ", " +Inf ") + "# EOF\n")
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", tmp_path / "openmetrics", tmp_path / "peer"],
                   check=True, capture_output=True)
    theirs = sum(file.stat().st_size for file in (tmp_path / "peer").rglob("*") if file.is_file()) / samples
    print(f"\nnode_exporter, {samples} samples of {len(heads)} series: {ours:.3f} B a sample, Prometheus' block "
          f"{theirs:.3f}: ratio {ours / theirs:.2f}")
    assert made.stats()["block_samples"] == samples
    assert ours < theirs
    assert ours <= 1.3


def _escaped(value):
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
