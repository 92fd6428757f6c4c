"""Each exporter's board on what its exporter says of the real thing: every expression gives a number to draw.

The goldens of `test_boards` hold every metric that a board names; here the source is as quiet as a healthy one is.
Host, python_runtime, observe and gateway are held to the same in the end-to-end scenario.
"""

import contextlib
import json
import math
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from observe.exporters import create
from observe.model import Frame, Labels, Matcher
from observe.promql.engine import Engine
from observe.show import board_queries, boards
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.exporters.golden import HERE as GOLDENS
from tests.exporters.test_gpu import compile_stub
from tests.real.jvm import compile_churn, jdks, start_churn
from tests.real.postgres import PostgresServer
from tests.real.process import RealProcess, free_port, open_folder, wait_until
from tests.real.rabbitmq import PASSWORD, USER, RabbitServer
from tests.real.redis import RedisServer

pytestmark = pytest.mark.real

TOP = Path(__file__).parents[2]
STEP_MS = 15_000


class Scraped:
    """A store of what an exporter said, 15 s between one answer and the next."""

    def __init__(self, folder, job):
        self.clock, self.job = ManualClock(), job
        self.store = MetricStore(folder, MetricSettings(), self.clock, Telemetry())
        self.engine = Engine(self.store, clock=self.clock)

    def take(self, exposition):
        self.clock.advance_ms(STEP_MS)
        own = {"job": self.job, "instance": f"{self.job}:1"}
        rows = {
            Labels({"__name__": sample.name, **sample.labels, **own}): sample.value
            for family in text_string_to_metric_families(exposition) for sample in family.samples
        }
        values = np.array([list(rows.values())], np.float64)
        self.store.append(Frame(np.array([self.clock.now_ms()], np.int64), self.store.series_ids(list(rows)), values))

    def label_values(self, selector, label):
        """As Grafana's ``label_values``, for the selectors that our boards have."""
        name, _, inner = selector.rstrip("}").partition("{")
        asked = re.findall(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"', inner)
        matchers = [Matcher("__name__", "=", name), *(Matcher(n, op, json.loads(f'"{v}"')) for n, op, v in asked)]
        return self.store.label_values(label, matchers, 0, self.clock.now_ms())

    def empty(self, name):
        """The expressions of a board that give nothing to draw."""
        body = boards.build()[name]
        asked = board_queries.expressions(body, board_queries.chosen(body, self.label_values))
        assert asked
        return [f"{one.panel}: {one.expr}" for one in asked if not self._drawn(one.expr)]

    def unnamed(self, name):
        """Legends that name a label which no series of theirs has."""
        body = boards.build()[name]
        asked = board_queries.expressions(body, board_queries.chosen(body, self.label_values))
        found = []
        for one in asked:
            there = {label for labels in self.engine.instant(one.expr, self.clock.now_ms()).labels for label in labels}
            found += [f"{one.panel}: {{{{{n}}}}}" for n in re.findall(r"{{(\w+)}}", one.legend) if n not in there]
        return found

    def _drawn(self, expr):
        return any(math.isfinite(value) for value in self.engine.instant(expr, self.clock.now_ms()).values)


@pytest.fixture
def scraped(tmp_path, request):
    one = Scraped(tmp_path / "metrics", request.function.__name__.split("_")[2])
    yield one
    one.store.close()


def check(scraped):
    assert [] == scraped.empty(scraped.job)
    assert [] == scraped.unnamed(scraped.job)


def test_the_redis_board(scraped, tmp_path):
    import redis

    with RedisServer(tmp_path) as server, contextlib.closing(redis.Redis.from_url(server.url)) as client:
        client.xgroup_create("orders", "billing", id="0", mkstream=True)
        exporter = create("redis", {"url": server.url, "queues": "ord*"})
        for number in range(3):
            client.xadd("orders", {"n": number})
            client.set("a", number)
            client.get("a")
            scraped.take(exporter.exposition().decode())

    check(scraped)


def test_the_rabbitmq_board(scraped):
    import pika

    with open_folder() as folder, RabbitServer(folder) as broker:
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        exporter = create("rabbitmq", {
            "url": broker.url, "prometheus-url": broker.prometheus_url, "user": USER,
            "password-file": str(folder / "password"), "timeout": "10",
        })
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(broker.amqp_url))) as connection:
            channel = connection.channel()
            channel.queue_declare("jobs", arguments={"x-max-length": 20})
            for number in range(8):
                channel.basic_publish("", "jobs", b"x", pika.BasicProperties(timestamp=1_700_000_000 + number))
            # One is done, one came back, one is being worked on, the rest wait.
            for answer in ("ack", "nack", None):
                found, _, _ = channel.basic_get("jobs")
                if answer:
                    getattr(channel, f"basic_{answer}")(found.delivery_tag)
            wanted = ("queue_acknowledged_total", "queue_redelivered_total", "queue_oldest_age_seconds")

            def said():
                text = exporter.exposition().decode()
                return text if all(f"\n{name}{{" in text for name in wanted) else None

            text = wait_until(said, "the broker's own statistics", 30)
            for _ in range(3):
                scraped.take(text)
                text = exporter.exposition().decode()

    check(scraped)


def test_the_business_board(scraped, tmp_path):
    with open_folder() as folder, PostgresServer(folder) as server:
        server.run("CREATE TABLE orders (status text)")
        config = tmp_path / "business.yml"
        config.write_text(
            f'sources:\n  - name: orders\n    sql: {{url: "{server.url}", query: "SELECT count(*) AS n FROM orders"}}\n'
            "    metrics:\n      - {name: business_orders, help: Orders., value: n}\n"
            "      - {name: business_orders_total, help: Orders ever., value: n, type: counter}\n", encoding="utf-8")
        exporter = create("business", {"config": str(config)})
        for _ in range(3):
            server.run("INSERT INTO orders VALUES ('paid')")
            scraped.take(exporter.exposition().decode())

    check(scraped)


@pytest.mark.xdist_group("jvm")
def test_the_jvm_board(scraped, tmp_path):
    jdk = jdks()[0]
    compile_churn(jdk, tmp_path)
    with start_churn(jdk, tmp_path, "-XX:+UseG1GC", f"-Xlog:gc*:file={tmp_path}/gc.log"):
        exporter = create("jvm", {"gc-logs": str(tmp_path / "gc.log")})
        for _ in range(3):
            scraped.take(exporter.exposition().decode())
        exporter.close()

    check(scraped)


def test_the_gpu_board(scraped, tmp_path):
    compile_stub(tmp_path)
    (tmp_path / "state").write_text((GOLDENS / "gpu/h200/input/state").read_text(encoding="utf-8"), encoding="utf-8")
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "NVML_STUB_STATE": str(tmp_path / "state")}
    for _ in range(2):
        scraped.take(subprocess.run(
            [sys.executable, "-m", "observe", "export", "gpu", "--once"], capture_output=True, text=True, check=True,
            env=env).stdout)

    check(scraped)


def test_the_inference_board(scraped, tmp_path):
    port = free_port()
    argv = [sys.executable, "-m", "observe", "demo", "--port", str(port), "--rate", "12"]
    url = f"http://127.0.0.1:{port}/metrics"

    def looked_up(text):
        """Tokens looked up in the prefix cache: each request that the model itself answers adds some."""
        return float(re.search(r"prefix_cache_queries_total\{[^}]*\} (\S+)", text)[1])

    def answered():
        with urllib.request.urlopen(url, timeout=60) as answer:
            return looked_up(answer.read().decode())

    with RealProcess("demo", argv, tmp_path, env={"PYTHONPATH": str(TOP)}) as demo:
        demo.wait_healthy(answered, timeout_s=60)
        exporter = create("inference", {"targets": f"gateway={url}", "interval": "0.2"})

        def more_than(before):
            text = exporter.exposition().decode()
            # How requests end is said from the first end on; everything else from the start.
            return text if "\ninference_requests_finished_total{" in text and looked_up(text) > before else None

        text = wait_until(lambda: more_than(0), "a finished request in the figures", 30, 0.2)
        for _ in range(3):
            scraped.take(text)
            text = wait_until(lambda: more_than(looked_up(text)), "one more request in the figures", 30, 0.2)  # noqa: B023
        exporter.close()

    check(scraped)
