"""The RabbitMQ exporter on recorded replies and on a real broker with its faults."""

import json
import time

import pytest

from observe.exporters import create
from observe.exporters.collectors import Collector, Exporter
from observe.exporters.rabbitmq import collect, write_plugin
from tests.exporters.golden import cases, check_golden, no_time
from tests.exporters.test_host import _samples
from tests.exporters.test_redis import _queue
from tests.real.answers import AnsweringServer, says
from tests.real.process import free_port, open_folder, wait_until
from tests.real.rabbitmq import PASSWORD, USER, RabbitServer

NOW_S = 1795230060.0

pytestmark = pytest.mark.xdist_group("rabbitmq")  # one broker for all of them


@pytest.mark.parametrize("case", cases("rabbitmq"), ids=lambda case: case.name)
def test_golden(case):
    replies = json.loads((case / "input" / "replies.json").read_text(encoding="utf-8"))

    def ask(path: str):
        return replies[path.partition("?")[0]]

    plugin = (case / "input" / "plugin.txt").read_text(encoding="utf-8")
    exporter = Exporter("rabbitmq", [
        Collector("rabbitmq", (), lambda page: collect(ask, page, NOW_S, 100)),
        Collector("rabbitmq_plugin", (), lambda page: write_plugin(plugin, page, 100)),
    ], timer=no_time)

    check_golden(case, exporter.exposition())
    assert exporter.problems() == {}


def test_queues_are_read_page_by_page_up_to_the_limit_and_the_rest_is_counted():
    asked = []

    def ask(path: str):
        asked.append(path.partition("&")[0])
        if not path.startswith("queues"):
            return {} if path == "overview" else []
        number = int(path.partition("page=")[2].partition("&")[0])
        items = [{"vhost": "/", "name": f"q{number}-{index}", "messages": 1} for index in range(500)]
        return {"items": items, "page_count": 4, "total_count": 2000}

    exporter = Exporter("rabbitmq", [Collector("rabbitmq", (), lambda page: collect(ask, page, NOW_S, 700))])
    samples = _samples(exporter.exposition().decode())

    assert asked == ["overview", "nodes", "queues?page=1", "queues?page=2"]
    assert sum(name == "queue_depth" for name, _ in samples) == 700
    assert samples["rabbitmq_queues_left_out", ()] == 1300


def test_a_name_that_the_plugin_does_not_escape_costs_its_own_queue_and_the_limit_holds():
    """As RabbitMQ 3.10 answers: names as they are, quotes and all."""
    text = "# TYPE rabbitmq_detailed_queue_messages gauge\n" + "".join(
        f'rabbitmq_detailed_queue_messages{{vhost="/",queue="{name}"}} {depth}\n'
        for depth, name in enumerate(("c", 'odd "name', "b", "a"))
    )
    exporter = Exporter("rabbitmq", [Collector("plugin", (), lambda page: write_plugin(text, page, 2))])

    samples = _samples(exporter.exposition().decode())

    depths = {dict(labels)["queue"]: value for (name, labels), value in samples.items() if name == "queue_depth"}
    assert {"a": 3, "b": 2} == depths
    assert 2 == samples["exporter_left_out", (("collector", "plugin"),)]


def test_an_answer_of_something_else_is_told_as_that():
    with AnsweringServer(says(b"<html>login</html>")) as server:
        exporter = create("rabbitmq", {"url": server.url, "prometheus-url": server.url})
        exporter.exposition()

    assert "answers something else than the management API" in exporter.problems()["rabbitmq"]


@pytest.fixture(scope="module")
def broker():
    with open_folder() as folder, RabbitServer(folder) as server:
        yield server


@pytest.fixture
def options(broker, tmp_path):
    (tmp_path / "password").write_text(PASSWORD, encoding="utf-8")
    return {
        "url": broker.url, "prometheus-url": broker.prometheus_url, "user": USER,
        "password-file": str(tmp_path / "password"), "timeout": "10",
    }


def _look(options):
    exporter = create("rabbitmq", options)
    samples = _samples(exporter.exposition().decode())
    assert exporter.problems() == {}
    return samples


@pytest.mark.real
def test_a_queue_without_a_consumer_fills_and_ages(broker, options):
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    channel.queue_declare("jobs", arguments={"x-max-length": 20})
    made = int(time.time()) - 30
    for _ in range(10):
        channel.basic_publish("", "jobs", b"x" * 100, pika.BasicProperties(timestamp=made))
    figures = {
        "queue_depth": 10, "queue_ready": 10, "queue_unacknowledged": 0, "queue_consumers": 0, "queue_capacity": 20,
        "queue_fill_ratio": 0.5, "queue_size_bytes": 1000, "queue_published_total": 10, "queue_running": 1,
    }

    def told():
        """The age of the oldest once the broker's own statistics, which come one after the other, are all there."""
        queue = _queue(_look(options), "jobs")
        age_s = queue.pop("queue_oldest_age_seconds", 0)
        assert figures == queue
        return age_s

    age_s = wait_until(told, "the broker's own statistics")
    connection.close()

    assert 30 <= age_s <= time.time() - made + 1


@pytest.mark.real
def test_a_new_queue_has_its_depth_at_once_from_the_plugin_and_nothing_invented(broker, options):
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    channel.queue_declare("fresh")
    channel.basic_publish("", "fresh", b"x")
    wait_until(lambda: _queue(_look(options), "fresh").get("queue_depth") == 1, "the depth from the plugin")
    queue = _queue(_look(options), "fresh")
    connection.close()

    assert "queue_delivered_total" not in queue
    assert "queue_fill_ratio" not in queue


@pytest.mark.real
def test_a_memory_alarm_is_seen_and_ends(broker, options):
    def alarm() -> float:
        said = {dict(labels)["kind"]: value for (name, labels), value in _look(options).items()
                if name == "rabbitmq_node_alarm"}
        return said["memory"]

    wait_until(lambda: alarm() == 0, "the node's first statistics")
    broker.control("set_vm_memory_high_watermark", "absolute", "1MB")
    wait_until(lambda: alarm() == 1, "the alarm", 30)
    broker.control("set_vm_memory_high_watermark", "absolute", "256MB")
    wait_until(lambda: alarm() == 0, "its end", 30)


@pytest.mark.real
def test_the_password_comes_from_the_environment_too_and_a_broker_that_is_gone_is_told(broker, options, monkeypatch):
    without_file = {name: value for name, value in options.items() if name != "password-file"}
    monkeypatch.setenv("OBSERVE_RABBITMQ_PASSWORD", PASSWORD)
    assert _look(without_file)["rabbitmq_node_running", (("node", broker.api("overview")["node"]),)] == 1

    nowhere = f"http://127.0.0.1:{free_port()}"
    gone = create("rabbitmq", {**without_file, "url": nowhere, "prometheus-url": nowhere})
    samples = _samples(gone.exposition().decode())
    assert {name for name, _ in samples} == {"exporter_success", "exporter_duration_seconds"}
    assert "cannot be reached" in gone.problems()["rabbitmq"]


@pytest.mark.real
def test_wrong_credentials_and_a_frozen_broker_are_told(broker, options, tmp_path):
    (tmp_path / "wrong").write_text("nonsense", encoding="utf-8")
    refused = create("rabbitmq", {**options, "password-file": str(tmp_path / "wrong")})
    refused.exposition()
    broker.freeze()
    frozen = create("rabbitmq", {**options, "timeout": "0.5"})
    frozen.exposition()
    broker.thaw()

    assert "answered 401" in refused.problems()["rabbitmq"]
    assert "nonsense" not in str(refused.problems())
    assert "gave no answer within 0.5 s" in frozen.problems()["rabbitmq"]
