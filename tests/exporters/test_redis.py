"""The Redis exporter on recorded replies and on a real server: queues, groups; a server slow, full or gone."""

import json
import logging
import time

import pytest

from observe.errors import UsageError
from observe.exporters import create
from observe.exporters.collectors import Collector, Exporter
from observe.exporters.page import Page
from observe.exporters.queue_metrics import capacities
from observe.exporters.redis import collect, permitted
from observe.exporters.redis_queues import MAX_QUEUES, Queues, epoch_seconds
from tests.exporters.golden import cases, check_golden, no_time
from tests.exporters.test_host import _samples
from tests.real.redis import RedisServer

QUEUES = ["jobs", "notes", "delayed", "orders", "untouched", "own-ids", "a-string", "empty", "job*"]


@pytest.mark.parametrize("case", cases("redis"), ids=lambda case: case.name)
def test_golden(case):
    replies = json.loads((case / "input" / "replies.json").read_text(encoding="utf-8"))
    asked = QUEUES if case.name == "redis-7.0" else ["jobs"]
    queues = Queues(asked, {"jobs": 10, "orders": 100}, "right", "headers.created_at")
    found = Collector(
        "redis", (), lambda page: collect(lambda *words: replies[" ".join(words)], queues, page, "0", no_time),
    )

    exporter = Exporter("redis", [found], timer=no_time)
    check_golden(case, exporter.exposition())
    assert exporter.problems() == {}


@pytest.mark.parametrize(("value", "expected"), [
    (1700000000, 1.7e9), (1700000000.5, 1700000000.5), (1700000000123, 1700000000.123),
    (1700000000123456, 1700000000.123456), (1700000000123456789, 1700000000.1234567), ("1700000000", 1.7e9),
    ("2023-11-14T22:13:20+00:00", 1.7e9), ("2023-11-14T22:13:20Z", 1.7e9), ("yesterday", None), (12, None),
    (None, None), (True, None), ({}, None), (float("nan"), None), (1e300, None),
])
def test_times_are_told_by_their_magnitude(value, expected):
    assert epoch_seconds(value) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("text", ["jobs", "jobs=", "=5", "jobs=0", "jobs=-1", "a=1,b"])
def test_a_bad_capacity_is_refused(text):
    with pytest.raises(ValueError, match="is not NAME=COUNT"):
        capacities(text)


def _queue(samples, queue: str, group: str | None = None) -> dict[str, float]:
    return {
        name: value for (name, labels), value in samples.items()
        if dict(labels).get("queue") == queue and dict(labels).get("group") == group
    }


def test_queues_beyond_the_limit_are_counted():
    names = [f"jobs:{n:04}" for n in range(MAX_QUEUES + 7)]
    replies = {"SCAN": ("0", names), "TYPE": "list", "LLEN": 1, "LINDEX": None, "MEMORY USAGE": 60}
    queues, page = Queues(["jobs:*"], {}, "right", ""), Page()
    queues.write(lambda *words: replies[words[0]], page, "0", 1.7e9)

    assert MAX_QUEUES == sum(metric.name == "queue_depth" for metric, *_ in page.samples())
    assert 7 == page.left_out


@pytest.mark.real
def test_a_stream_without_a_consumer_piles_up_and_ages(tmp_path):
    import redis

    with RedisServer(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        seconds, _micros = client.time()
        client.xgroup_create("orders", "billing", id="0", mkstream=True)
        for index in range(10):
            client.xadd("orders", {"n": index}, id=f"{(seconds - 60 + index) * 1000}-0")
        taken = client.xreadgroup("billing", "w1", {"orders": ">"}, count=3)
        client.xack("orders", "billing", taken[0][1][0][0])
        samples = _samples(create("redis", {"url": server.url, "queues": "ord*"}).exposition().decode())
        passed_s = client.time()[0] - seconds
        client.close()

    group, whole = _queue(samples, "orders", "billing"), _queue(samples, "orders")
    age_s = group.pop("queue_group_oldest_age_seconds")
    assert group == {
        "queue_group_lag": 7, "queue_group_pending": 2, "queue_group_consumers": 1, "queue_group_delivered_total": 3,
    }
    assert (whole["queue_depth"], whole["queue_ready"], whole["queue_published_total"]) == (10, 7, 10)
    assert 57 <= age_s <= 60 + passed_s + 1
    assert 57 <= whole["queue_oldest_age_seconds"] <= 60 + passed_s + 1


@pytest.mark.real
def test_evictions_and_hit_rate_are_those_of_the_server(tmp_path):
    import redis

    with RedisServer(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru") as server:
        client = redis.Redis.from_url(server.url)
        for index in range(3000):
            client.set(f"key{index}", "x" * 1000)
        client.get("key2999")
        client.get("none")
        info = client.info()
        samples = {name: value for (name, _), value in _samples(_once(server)).items()}
        evicted_after = client.info()["evicted_keys"]  # a connection takes memory too: each one evicts some more
        client.close()

    assert info["evicted_keys"] > 0
    assert info["evicted_keys"] <= samples["redis_keys_evicted_total"] <= evicted_after
    assert (samples["redis_keyspace_hits_total"], samples["redis_keyspace_misses_total"]) == (1, 1)
    assert samples["redis_memory_limit_bytes"] == 3 << 20
    assert samples["redis_ping_seconds"] > 0


def _once(server: RedisServer, **options: str) -> str:
    with create("redis", {"url": server.url, **options}) as exporter:
        return exporter.exposition().decode()


@pytest.mark.real
def test_a_queue_that_vanishes_while_it_is_asked_about_takes_nothing_from_the_others(tmp_path):
    """Deleted between the questions, made anew as a list, and a group that is destroyed: by another client of a
    real server, each just before the question that would find it."""
    import redis

    with RedisServer(tmp_path) as server:
        client = redis.Redis.from_url(server.url, decode_responses=True, protocol=2)
        for name in ("a-deleted", "b-changed", "c-ungrouped", "d-stays"):
            client.xadd(name, {"n": "1"})
            client.xgroup_create(name, "g", "0")
            client.xreadgroup("g", "c", {name: ">"})
        meanwhile = {
            ("XINFO STREAM", "a-deleted"): lambda: client.delete("a-deleted"),
            ("XINFO GROUPS", "b-changed"): lambda: (client.delete("b-changed"), client.lpush("b-changed", "x")),
            ("XPENDING", "c-ungrouped"): lambda: client.xgroup_destroy("c-ungrouped", "g"),
        }

        def ask(*words: str):
            meanwhile.pop(tuple(words[:2]), lambda: None)()
            return client.execute_command(*words)

        queues = Queues(["*"], {}, "right", "")
        exporter = Exporter("redis", [
            Collector("redis", (), lambda page: collect(permitted(ask), queues, page, "0", time.perf_counter))])
        samples = _samples(exporter.exposition().decode())
        client.close()

    assert {} == exporter.problems() == meanwhile
    assert {"d-stays"} == {dict(labels)["queue"] for name, labels in samples if name.startswith("queue_")}


@pytest.mark.real
def test_a_server_that_hangs_goes_and_comes_back(tmp_path):
    """Frozen: a timeout. Killed: unreachable. Started anew on its port: there again, with the same exporter."""
    server = RedisServer(tmp_path)
    exporter = create("redis", {"url": server.url, "timeout": "3"})
    seen = []

    def look() -> None:
        exporter.exposition()
        seen.append(exporter.problems().get("redis", "fine"))

    look()
    server.freeze()
    look()
    server.thaw()
    server.kill()
    look()
    with RedisServer(tmp_path, port=server.port):
        look()
    exporter.close()

    assert seen[0] == seen[3] == "fine"
    assert f"Redis at {server.url} gave no answer within 3 s" in seen[1]
    assert f"Redis at {server.url} cannot be reached" in seen[2]


@pytest.mark.real
def test_a_password_comes_from_a_file_and_is_never_shown(tmp_path, caplog, monkeypatch):
    secret = tmp_path / "password"
    secret.write_text("s3cret\n", encoding="utf-8")
    with RedisServer(tmp_path, "--requirepass", "s3cret") as server, caplog.at_level(logging.DEBUG, "observe"):
        refused = create("redis", {"url": server.url})
        without = refused.exposition().decode()
        by_file = _once(server, **{"password-file": str(secret)})
        monkeypatch.setenv("OBSERVE_REDIS_PASSWORD", "s3cret")
        by_environment = _once(server)
        wrong = create("redis", {"url": server.url.replace("//", "//user:s3cret@")})
        wrong.exposition()

    assert 'exporter_success{collector="redis"} 0' in without
    assert "give --password-file or OBSERVE_REDIS_PASSWORD" in refused.problems()["redis"]
    assert all('exporter_success{collector="redis"} 1' in text for text in (by_file, by_environment))
    assert "s3cret" not in caplog.text + str(wrong.problems())


@pytest.mark.real
def test_an_account_that_may_only_watch_gives_what_it_may(tmp_path):
    import redis

    with RedisServer(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        client.lpush("jobs", "a")
        allowed = ["+ping", "+info", "+time", "+type", "+llen", "+lindex"]
        client.acl_setuser("watch", enabled=True, nopass=True, keys=["*"], commands=allowed)
        client.close()
        url = server.url.replace("//", "//watch:x@")
        samples = {name for name, _ in _samples(_once(server, url=url, queues="jobs"))}

    assert "queue_depth" in samples
    assert not {"queue_size_bytes", "redis_slowlog_entries_total"} & samples


@pytest.mark.real
def test_names_and_items_that_are_no_text_cost_nothing(tmp_path):
    """A key of any bytes is read as what it is; an item that JSON cannot hold has no age."""
    import redis

    with RedisServer(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        client.lpush(b"q\xff1", '{"at": "2020-01-01T00:00:00"}')
        client.lpush(b"q\xfe2", b"a", b'{"at": ' + b"9" * 5000 + b"}")
        client.close()
        samples = _samples(_once(server, **{"queues": "q*", "time-field": "at"}))

    depths = {dict(labels)["queue"]: value for (name, labels), value in samples.items() if name == "queue_depth"}
    assert {r"q\xff1": 1, r"q\xfe2": 2} == depths
    ages = {dict(labels)["queue"] for name, labels in samples if name == "queue_oldest_age_seconds"}
    assert {r"q\xff1"} == ages


@pytest.mark.real
def test_a_database_that_is_not_there_is_told_with_what_to_do(tmp_path):
    with RedisServer(tmp_path) as server:
        exporter = create("redis", {"url": server.url.replace("/0", "/99")})
        exporter.exposition()

    problem = exporter.problems()["redis"]
    exporter.close()
    assert "DB index is out of range; is the database's number right" in problem


def test_a_time_without_a_zone_is_utc(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert epoch_seconds("2023-11-14T22:13:20") == 1_700_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("name", "options", "words"), [
    ("redis", {"timeout": "abc"}, "'abc' is not a positive number of seconds"),
    ("redis", {"url": "redis://127.0.0.1:port"}, "option url: Port could not be cast"),
    ("inference", {"targets": ","}, "no server is named"),
])
def test_an_option_that_cannot_be_meant_is_told_at_the_start(name, options, words):
    with pytest.raises(UsageError, match=words):
        create(name, options)
