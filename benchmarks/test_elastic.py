"""Ingest into a real Elasticsearch, against the official client's own bulk helper on the same documents in one run.

Ours includes what the helper leaves to others: the synced disk queue before, making the documents, and following each
to its end.
"""

import time

import pytest
from elasticsearch import Elasticsearch, helpers

from benchmarks.test_logs import BASE_NS, made
from observe.store import elastic_setup
from observe.store.elastic import ElasticSettings, ElasticStore
from observe.store.elastic_schema import document_id, index_name, log_document
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.real.elasticsearch_node import ElasticNode

LINES = 30_000
BATCH = 500


@pytest.fixture(scope="module")
def node():
    found = ElasticNode()
    try:
        yield found.start()
    finally:
        found.stop()


def settings(node, prefix):
    return ElasticSettings((node.url,), prefix=prefix, replicas=0)


def by_the_helper(node, prefix, lines):
    """Seconds, CPU seconds of this process."""
    chosen = settings(node, prefix)
    client = Elasticsearch(node.url, request_timeout=60)
    elastic_setup.prepare(client, chosen, "logs")
    actions = []
    for seq, line in enumerate(lines):
        ident = document_id(line.uid)
        index = index_name(prefix, "logs", line.timestamp_ns, BASE_NS // 1_000_000)
        actions.append({"_op_type": "create", "_index": index, "_id": ident, "_source": log_document(line, seq, ident)})
    began, cpu = time.perf_counter(), time.process_time()
    done, _ = helpers.bulk(client, actions, chunk_size=2000, max_chunk_bytes=4 << 20)
    took = time.perf_counter() - began, time.process_time() - cpu
    assert done == len(lines)
    client.close()
    return took


def by_us(node, prefix, lines, folder):
    store = ElasticStore(folder, settings(node, prefix), ManualClock(BASE_NS // 1_000_000), Telemetry())
    store.append(list(made(1)), [])  # the template, as the helper's was put before its time began
    assert store.wait_indexed(60)
    began, cpu = time.perf_counter(), time.process_time()
    for at in range(0, len(lines), BATCH):
        store.append(lines[at : at + BATCH], [])
    accepted = time.perf_counter() - began
    assert store._logs.wait_sent(300)
    took = time.perf_counter() - began, time.process_time() - cpu
    store.close()
    return (*took, accepted)


def stored(node, prefix):
    node.call("POST", f"/{prefix}-logs-*/_refresh")
    return node.call("GET", f"/{prefix}-logs-*/_count")["count"]


@pytest.mark.timeout(600)
def test_ingest_against_the_clients_bulk_helper(benchmark, node, tmp_path):
    lines = list(made(LINES))
    by_the_helper(node, "warm", lines[: LINES // 3])  # the server's own warm-up is nobody's
    helper, ours = [], []
    for turn, order in enumerate(("helper ours", "ours helper", "helper ours")):
        for side in order.split():
            if side == "helper":
                helper.append(by_the_helper(node, f"helper{turn}", lines))
            else:
                ours.append(by_us(node, f"ours{turn}", lines, tmp_path / str(turn)))
    assert stored(node, "ours0") == stored(node, "helper0") == LINES
    best_helper, best_ours = min(helper), min(ours)
    benchmark.extra_info.update(
        helper_documents_per_s=round(LINES / best_helper[0]), documents_per_s=round(LINES / best_ours[0]),
        ratio=round(best_helper[0] / best_ours[0], 2), helper_cpu_us=round(best_helper[1] / LINES * 1e6, 1),
        cpu_us=round(best_ours[1] / LINES * 1e6, 1),
        accepted_per_s=round(LINES / best_ours[2]),
    )
    benchmark.pedantic(lambda: None, rounds=1)
