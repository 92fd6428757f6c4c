"""The Python runtime's metrics: as a page, inside a service's own registry, and on a loop that is really blocked."""

import asyncio
import gc
import json
import subprocess
import sys
import time

import pytest
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest

from observe.exporters.collectors import Collector, Exporter
from observe.exporters.page import Page
from observe.exporters.python_runtime import (
    LAG_BOUNDS,
    OURS,
    PAUSE_BOUNDS,
    SHARED_WITH_CLIENT,
    Buckets,
    Runtime,
    Snapshot,
    install,
    write,
)
from tests.exporters.golden import cases, check_golden, no_time


def _buckets(bounds, values):
    made = Buckets(bounds)
    for value in values:
        made.observe(value)
    return made


@pytest.mark.parametrize("case", cases("python_runtime"), ids=lambda case: case.name)
def test_golden(case):
    said = json.loads((case / "input" / "snapshot.json").read_text())
    snapshot = Snapshot(
        said["gc_stats"], [_buckets(PAUSE_BOUNDS, values) for values in said["pauses"]],
        {name: (_buckets(LAG_BOUNDS, values), said["overdue"][name]) for name, values in said["lags"].items()},
        said["threads"], said["resident_bytes"], said["cpu_seconds"],
    )
    collector = Collector("python_runtime", (*SHARED_WITH_CLIENT, *OURS), lambda page: write(snapshot, page))
    check_golden(case, Exporter("python_runtime", [collector], timer=no_time).exposition())


@pytest.fixture
def measured():
    made = Runtime()
    yield made
    made.detach()


def test_a_collection_is_counted_in_its_generation_with_its_pause(measured):
    before = [sum(pauses.counts) for pauses in measured.pauses]
    garbage = [[] for _ in range(1000)]
    for one in garbage:
        one.append(one)
    del garbage, one
    gc.collect(1)

    grown = [sum(pauses.counts) - old for pauses, old in zip(measured.pauses, before, strict=True)]
    assert grown[1] >= 1
    assert measured.pauses[1].total > 0


def test_a_blocked_loop_shows_its_lag_while_and_after(measured):
    """The loop is held for 400 ms; a look meanwhile sees it overdue, and then it stands in the histogram."""
    seen_meanwhile = []

    async def service() -> None:
        measured.watch_loop(asyncio.get_running_loop())
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - the fault
        seen_meanwhile.append(measured.snapshot().loops["main"][1])
        async with asyncio.timeout(60):
            while not late():  # noqa: ASYNC110 - turn by turn: a second timer that is late would be another fault
                await asyncio.sleep(0)
        seen_meanwhile.append(late())

    def late() -> int:
        lags = measured.snapshot().loops["main"][0]
        return sum(lags.counts[LAG_BOUNDS.index(0.1) + 1:])

    asyncio.run(service())

    assert seen_meanwhile[0] > 0.1
    assert seen_meanwhile[1] == 1
    assert measured.snapshot().loops == {}, "a loop that is closed is not overdue"


def test_a_service_has_them_beside_its_own_metrics_without_doubles():
    registry = CollectorRegistry()
    GCCollector(registry)
    ProcessCollector(registry=registry)

    install(registry)
    install(registry)
    text = generate_latest(registry).decode()

    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert sorted(set(types)) == sorted(types)
    assert {metric.name for metric in SHARED_WITH_CLIENT} | {"python_gc_pause_seconds", "python_threads"} <= set(types)


def test_a_bare_registry_gets_all_of_them():
    registry = CollectorRegistry()

    install(registry)

    assert registry.get_sample_value("process_resident_memory_bytes") > 1e6
    assert registry.get_sample_value("python_threads") >= 1
    assert registry.get_sample_value("python_gc_collections_total", {"generation": "2"}) >= 0


def test_install_works_in_a_fresh_process_that_has_only_the_client():
    code = (
        "import asyncio, prometheus_client\nfrom observe.exporters.python_runtime import install\n"
        "async def main():\n    install()\n    await asyncio.sleep(0.6)\n"
        "    get = prometheus_client.REGISTRY.get_sample_value\n"
        "    print(get('python_event_loop_lag_seconds_count', {'loop': 'main'}))\n"
        "asyncio.run(main())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert float(out.stdout) >= 1


def test_a_page_from_another_thread_while_collecting_is_whole(measured):
    page = Page()
    measured.collect(page)

    assert b"python_gc_pause_seconds_bucket" in page.text()
