"""Logs: lines a second into the spool and into the index, syncs, trace lookups at 1 M stored lines.

The peer runs in the same process on the same lines: the standard library's sqlite3, durable, with the same lookups.
"""

import json
import random
import sqlite3
import statistics
import threading
import time

import pytest

from observe.clock import SystemClock
from observe.model import LogRecord
from observe.protocols import LogQuery
from observe.store.logs import SignalIndex, SignalSettings
from observe.telemetry import Telemetry

LINES = 1_000_000
PEER_LINES = 100_000
BATCH = 500
BASE_NS = 1_763_690_000_000_000_000


def made(count):
    """Lines with the user's fields; ten lines a trace."""
    chance = random.Random(2)
    for number in range(count):
        failed = number % 50 == 0
        yield LogRecord(
            BASE_NS + number * 100_000, f"service-{number % 5}", "error" if failed else "info",
            f"request {number} finished model=llama path=/v1/generate user=u{number % 977} took {number % 513} ms "
            f"from 10.0.{number % 255}.{number % 31}",
            f"{number // 10 * 2_654_435_761 + 1:032x}", f"{number * 7919 + 1:016x}", "/generate", number % 513 + 0.25,
            "503" if failed else "200", "upstream timed out" if failed else None,
            {"model": "llama", "tokens": chance.randrange(700), "worker": f"w-{number % 4}"},
            f"app.log:1:{number * 300}",
        )


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with 1 M lines, and how long it took: (store, to acknowledge, to index, telemetry)."""
    telemetry = Telemetry()
    store = SignalIndex(tmp_path_factory.mktemp("logs"), SignalSettings(), SystemClock(), telemetry)
    batches = list(made(LINES))
    cuts = [batches[at : at + BATCH] for at in range(0, LINES, BATCH)]
    lock = threading.Lock()

    def send():
        while True:
            with lock:
                if not cuts:
                    return
                batch = cuts.pop()
            store.append(batch, [])

    senders = [threading.Thread(target=send) for _ in range(4)]
    began, cpu = time.perf_counter(), time.process_time()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    acknowledged = time.perf_counter() - began
    assert store.wait_indexed(600)
    yield store, acknowledged, time.perf_counter() - began, time.process_time() - cpu, telemetry
    store.close()


def peer_lines_per_s(folder):
    """sqlite3 with what a log store needs: durable batches, full text, the fields, lookups by time and trace."""
    peer = sqlite3.connect(folder / "peer.db")
    peer.executescript("""
        PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
        CREATE TABLE line(id INTEGER PRIMARY KEY, time, service, level, message, trace_id, span_id, endpoint, latency,
                          status, error, fields, uid UNIQUE);
        CREATE INDEX by_trace ON line(trace_id); CREATE INDEX by_time ON line(time);
        CREATE INDEX by_service ON line(service, level, status, endpoint); CREATE INDEX by_latency ON line(latency);
        CREATE TABLE field(name, value, line); CREATE INDEX by_field ON field(name, value);
        CREATE VIRTUAL TABLE words USING fts5(message, error, content='');
    """)
    lines = list(enumerate(made(PEER_LINES)))
    began = time.perf_counter()
    for at in range(0, PEER_LINES, BATCH):
        part = lines[at : at + BATCH]
        with peer:
            peer.executemany("INSERT OR IGNORE INTO line VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", [
                (number, line.timestamp_ns, line.service, line.level, line.message, line.trace_id, line.span_id,
                 line.endpoint, line.latency_ms, line.status, line.error_msg, json.dumps(line.fields), line.uid)
                for number, line in part])
            peer.executemany("INSERT INTO field VALUES (?,?,?)", [
                (name, value, number) for number, line in part for name, value in line.fields.items()])
            peer.executemany("INSERT INTO words(rowid, message, error) VALUES (?,?,?)", [
                (number, line.message, line.error_msg) for number, line in part])
    took = time.perf_counter() - began
    peer.close()
    return PEER_LINES / took


@pytest.mark.timeout(900)
def test_log_ingest_against_sqlite(benchmark, filled, tmp_path):
    store, acknowledged, indexed, cpu, telemetry = filled
    peer = peer_lines_per_s(tmp_path)
    syncs = telemetry.counter("observe_spool_syncs_total", "", ("spool",)).labels("logs")._value.get()
    benchmark.extra_info.update(
        acknowledged_lines_per_s=round(LINES / acknowledged), indexed_lines_per_s=round(LINES / indexed),
        cpu_us_per_line=round(cpu / LINES * 1e6, 1), syncs_per_s=round(syncs / acknowledged, 1),
        bytes_per_line=round(sum(one.disk_bytes() for one in store._logs.spool.segments) / LINES, 1),
        peer_lines_per_s=round(peer),
        ratio=round(LINES / indexed / peer, 2),
    )
    numbers = iter(range(10**9))
    benchmark.pedantic(lambda: store.append([LogRecord(BASE_NS, "one", "info", "a line", uid=f"x{next(numbers)}")], []),
                       rounds=20)
    assert syncs / acknowledged <= 60  # one in 20 ms, and some for each MB


@pytest.mark.timeout(900)
def test_trace_lookup_at_a_million_lines(benchmark, filled):
    store = filled[0]
    chance = random.Random(3)

    def lookup():
        found = store.trace(f"{chance.randrange(LINES // 10) * 2_654_435_761 + 1:032x}")
        assert len(found.logs) == 10

    benchmark.pedantic(lookup, rounds=200, warmup_rounds=3)
    benchmark.extra_info["stored_lines"] = LINES


@pytest.mark.timeout(900)
@pytest.mark.parametrize("text", ["", "level:error upstream", "latency:>500 tokens:<10", '"user u7"'])
def test_search_at_a_million_lines(benchmark, filled, text):
    store = filled[0]
    query = LogQuery(BASE_NS, BASE_NS + LINES * 100_000, text, limit=100)
    times = []

    def search():
        began = time.perf_counter()
        assert store.search(query).total > 0
        times.append(time.perf_counter() - began)

    benchmark.pedantic(search, rounds=20, warmup_rounds=2)
    benchmark.extra_info["median_ms"] = round(statistics.median(times) * 1000, 2)
