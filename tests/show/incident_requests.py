"""The spans and log lines of the requests of an incident."""

import random

from observe.model import LogRecord, Span, SpanEvent
from tests.show.world import NOW_MS, World


def trace_id_of(number: int) -> str:
    return f"{random.Random(number).getrandbits(128):032x}"


def write_requests(world: World, dice: random.Random) -> None:
    """An hour of requests; since eight minutes they are slow, and a third of them fails."""
    spans: list[Span] = []
    logs: list[LogRecord] = []
    for n in range(120):
        at = (NOW_MS - 3_500_000 + n * 29_000) * 1_000_000
        slow = NOW_MS * 1_000_000 - at < 480_000_000_000
        failed = slow and n % 3 == 0
        more, records = request(n, at, dice, slow=slow, failed=failed)
        spans += more
        logs += records
    world.signals.append(logs, spans)


def request(n: int, at: int, dice: random.Random, *, slow: bool, failed: bool) -> tuple[list[Span], list[LogRecord]]:
    """One request through gateway, queue, prefill and decode, with its lines."""
    trace = trace_id_of(n)
    ids = [f"{n * 16 + i + 1:016x}" for i in range(5)]
    queue, prefill = int(4e6 * (1 + dice.random())), int(60e6 * (1 + dice.random()))
    decode = int((2.8e9 if slow else 0.3e9) * (0.8 + 0.4 * dice.random()))
    end = at + queue + prefill + decode + 9_000_000
    resource = {"service.version": "1.8.2", "host.name": "node-3"}
    route = {
        "http.route": "/generate",
        "http.request.method": "POST",
        "http.response.status_code": 500 if failed else 200,
        "llm.tokens": 128,
        "model": "tiny-7b",
    }
    status = "error" if failed else "ok"
    spans = [
        Span(
            trace,
            ids[0],
            None,
            "POST /generate",
            "gateway",
            "server",
            at,
            end,
            status,
            "decode took too long" if failed else "",
            route,
            resource,
        ),
        Span(
            trace,
            ids[1],
            ids[0],
            "queue.wait",
            "gateway",
            "internal",
            at + 2_000_000,
            at + 2_000_000 + queue,
            "ok",
            "",
            {"queue.depth": 31 if slow else 2},
            resource,
        ),
        Span(
            trace,
            ids[2],
            ids[0],
            "prefill",
            "worker",
            "internal",
            at + queue + 3_000_000,
            at + queue + prefill,
            "ok",
            "",
            {"worker": "worker-2"},
            {"host.name": "node-7"},
        ),
        Span(
            trace,
            ids[3],
            ids[0],
            "decode",
            "worker",
            "internal",
            at + queue + prefill,
            at + queue + prefill + decode,
            status,
            "deadline exceeded" if failed else "",
            {"worker": "worker-2", "batch": 8},
            {"host.name": "node-7"},
            (SpanEvent(at + queue + prefill + decode // 2, "kv cache evicted", {"blocks": 12}),) if slow else (),
        ),
        Span(
            trace,
            ids[4],
            ids[3],
            "cache.lookup",
            "cache",
            "client",
            at + queue + prefill,
            at + queue + prefill + 8_000_000,
            "ok",
            "",
            {"db.system": "redis"},
            {},
        ),
    ]
    took = (end - at) / 1e6
    logs = [
        LogRecord(
            at + 1_000_000,
            "gateway",
            "info",
            f"request accepted, {dice.randint(20, 400)} prompt tokens",
            trace,
            ids[0],
            "/generate",
            uid=f"a{n}",
        ),
        LogRecord(
            end,
            "gateway",
            "error" if failed else "info",
            f"request {'failed' if failed else 'done'} in {took:.0f} ms",
            trace,
            ids[0],
            "/generate",
            took,
            "ERROR" if failed else "200",
            "upstream worker-2 timed out after 2000 ms" if failed else None,
            {"model": "tiny-7b", "tokens": 128},
            f"b{n}",
        ),
    ]
    if slow:
        logs.append(
            LogRecord(
                at + queue + prefill + decode // 2,
                "worker",
                "warn",
                f"kv cache evicted {dice.randint(4, 40)} blocks while decoding",
                trace,
                ids[3],
                uid=f"c{n}",
            )
        )
    return spans, logs
