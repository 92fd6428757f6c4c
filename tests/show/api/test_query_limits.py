"""What one request may cost: its time, its place in the queue, the size of its answer; a client that hangs up."""

import gzip
import json
import threading
from dataclasses import replace

import httpx
import pytest

from observe.model import Labels
from observe.show.api_endpoint import answered
from observe.show.context import ShowSettings
from observe.show.web import build_metrics_web
from tests.show.api.client import apis, ask, client, hooked

pytestmark = pytest.mark.anyio


async def test_a_large_answer_is_zipped_for_those_who_take_it(written):
    context = apis(written)
    for index in range(200):
        written.add(Labels({"__name__": "many", "index": str(index)}), [1.0])

    answer = await ask(context, "/api/v1/query", params={"query": "many"}, headers={"Accept-Encoding": "gzip"})
    plain = await ask(context, "/api/v1/query", params={"query": "many"}, headers={"Accept-Encoding": "identity"})

    assert ("gzip", None) == (answer.headers.get("content-encoding"), plain.headers.get("content-encoding"))
    assert 200 == len(plain.json()["data"]["result"])
    assert answer.content == plain.content


async def test_a_query_beyond_its_time_is_503_timeout(context):
    release = threading.Event()
    context = hooked(context, lambda expr: release.wait(300))

    answer = await ask(context, "/api/v1/query", params={"query": "up", "timeout": "60ms"})
    release.set()

    assert (503, "timeout") == (answer.status_code, answer.json()["errorType"])


async def test_more_waiting_requests_than_allowed_are_refused_and_counted(context):
    context = replace(context, settings=ShowSettings(console=False, query_threads=1, query_queue=0))
    entered, release = threading.Event(), threading.Event()

    def hold(expr):
        entered.set()
        release.wait(300)

    context = hooked(context, hold)
    async with client(context) as http:
        import anyio

        async with anyio.create_task_group() as group:
            group.start_soon(http.get, "/api/v1/query?query=up")
            await anyio.to_thread.run_sync(entered.wait)
            refused = await http.get("/api/v1/query?query=up")
            release.set()

    assert (503, "unavailable") == (refused.status_code, refused.json()["errorType"])
    assert b'observe_dropped_total{reason="query queue full",stage="show"} 1.0' in context.telemetry.exposition()


async def test_a_client_that_hangs_up_frees_its_place_in_the_queue(context):
    from observe.show.workers import ClientGone, QueryThreads

    release = threading.Event()
    threads = QueryThreads(1, 1, context.telemetry)
    started = []

    class Gone:
        async def receive(self):
            return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await threads.run(release.wait, 300, request=Gone())
    with pytest.raises(ClientGone):
        await threads.run(started.append, 1, request=Gone())
    release.set()
    await threads.run(int)

    assert [] == started


class Waiting:
    """A source whose first selector takes until its asker has hung up."""

    def __init__(self, source):
        self._source = source
        self.selected, self.begun = 0, threading.Event()

    def select(self, matchers, start_ms, end_ms):
        from observe.show.workers import CANCELLED

        self.selected += 1
        self.begun.set()
        assert CANCELLED.get().wait(300)
        return self._source.select(matchers, start_ms, end_ms)


async def test_a_query_whose_client_hangs_up_stops_where_it_is(context):
    from observe.promql.engine import Engine

    source = Waiting(context.source)
    context = replace(context, engine=Engine(source, clock=context.clock))
    app, sent = build_metrics_web(context), []

    async def receive():
        import anyio

        assert await anyio.to_thread.run_sync(source.begun.wait, 300)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app({
        "type": "http", "method": "GET", "path": "/api/v1/query", "raw_path": b"/api/v1/query", "root_path": "",
        "query_string": b"query=up%2Bup%20offset%201m%2Bup%20offset%202m", "headers": [(b"host", b"localhost")],
        "scheme": "http", "http_version": "1.1", "server": ("localhost", 80), "client": ("127.0.0.1", 1), "state": {},
    }, receive, send)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        for _ in range(context.settings.query_threads + 1):  # behind the one that was left
            await http.get("/api/v1/labels")

    assert (499, b"canceled") == (sent[0]["status"], json.loads(sent[1]["body"])["errorType"].encode())
    assert 1 == source.selected


def test_gzip_bodies_are_real_gzip():
    body, encoding = answered(lambda params: b"x" * 10_000, {}, True)

    assert ("gzip", b"x" * 10_000) == (encoding, gzip.decompress(body))
