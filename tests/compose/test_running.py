"""The stack's own configuration files in the real systems, as processes; only addresses, folders, pauses are changed.

Without containers, Grafana and Filebeat; what Filebeat does is done by a few lines here.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.compose.stack import FOLDER, ROOT, SERVICES, config, ports_of
from tests.real.elasticsearch_node import ElasticNode
from tests.real.postgres import PostgresServer
from tests.real.process import RealProcess, free_port, http_get, http_ok, open_folder, require, wait_until
from tests.real.rabbitmq import RabbitServer

pytestmark = [pytest.mark.real, pytest.mark.e2e, pytest.mark.timeout(1500)]

SECRET = "0123456789abcdef"
QUICKER = {
    "scrape_interval: 15s": "scrape_interval: 1s", "evaluation_interval: 15s": "evaluation_interval: 1s",
    "every: 15s": "every: 1s", "group_wait: 10s": "group_wait: 1s",
    "root: /host": "root: /",
}


class Stack:
    """Every service of the stack that can run here, in `folder`."""

    def __init__(self, folder: Path, rooms: contextlib.ExitStack):
        self.folder, self._rooms = folder, rooms
        self.at = {(name, port): free_port() for name in SERVICES for port in ports_of(name)}
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
            **dict.fromkeys(SERVICES["observe"]["environment"], ""), "REDIS_PASSWORD": SECRET,
        }
        for name in SERVICES["observe"]["environment"]:
            self.environment[name] = SECRET + name
        for name in ("secrets", "demo", "shipped", "data"):
            (folder / name).mkdir()
        for name in ("elastic", "postgres", "rabbitmq", "reader", "redis"):
            (folder / "secrets" / f"{name}_password").write_text(SECRET)
        (folder / "secrets" / "observe_viewer_token").write_text(self.environment["OBSERVE_VIEWER_TOKEN"])

    def here(self, text: str) -> str:
        """`text` with the addresses and folders of this run."""
        for (name, port), ours in self.at.items():
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{ours}").replace(f"0.0.0.0:{port}", f"127.0.0.1:{ours}")
            if name == "prometheus":
                text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ours}")
        for there, ours in {
            "/run/secrets": "secrets", "/var/log/demo": "demo", "/var/log/shipped": "shipped",
            "/etc/observe": "observe", "/var/lib/observe": "data", "/etc/prometheus": "prometheus",
            "/etc/alertmanager": "alertmanager",
        }.items():
            text = text.replace(there, str(self.folder / ours))
        for ours, quicker in QUICKER.items():
            text = text.replace(ours, quicker)
        return text

    def copy(self, *names: str) -> None:
        """Configuration files to where `here` says that they are."""
        for name in names:
            system, _, rest = name.partition("/")
            to = self.folder / {"exporters": "observe"}.get(system, system) / rest
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(self.here((FOLDER / name).read_text(encoding="utf-8")))

    def url(self, name: str, port: int | None = None) -> str:
        return f"http://127.0.0.1:{self.at[name, port or min(ports_of(name))]}"

    def start(self, name: str, healthy: str, **environment: str) -> RealProcess:
        """A service of ours by the compose file's own command."""
        words = [self.here(word) for word in SERVICES[name]["command"]]
        if words[:2] == ["python", "-m"]:
            words = [sys.executable, "-m", words[2], *self._ports(name, words[3:])]
        else:
            words = [sys.executable, "-m", *words]
        child = RealProcess(name, words, self.folder, env={**self.environment, **environment})
        self._rooms.enter_context(child)
        if healthy:
            child.wait_healthy(lambda: http_ok(self.url(name) + healthy), 60)
        return child

    def _ports(self, name: str, words: list[str]) -> list[str]:
        """``--port N`` and ``--host H`` stand apart: the addresses of `here` do not find them."""
        asked = "demo" if name == "load" else name
        for index, word in enumerate(words[:-1]):
            if word == "--port":
                words[index + 1] = str(self.at[asked, int(words[index + 1])])
            elif word == "--host":
                words[index + 1] = "127.0.0.1"
        return words

    def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """What Prometheus answers now."""
        told = json.loads(http_get(self.url("prometheus") + "/api/v1/query?query=" + urllib.parse.quote(expr)))
        return [(row["metric"], float(row["value"][1])) for row in told["data"]["result"]]

    def observe(self, path: str, token: str = "OBSERVE_ADMIN_TOKEN") -> dict:
        request = urllib.request.Request(
            self.url("observe") + path, headers={"Authorization": f"Bearer {self.environment[token]}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def ship(stack: Stack, stop: threading.Event) -> None:
    """What filebeat.yml asks of Filebeat: each line as it is, into a file named by the day."""
    source = stack.folder / "demo" / "gateway.jsonl"
    output = config("filebeat/filebeat.yml")["output.file"]["filename"]
    target = stack.folder / "shipped" / f"{output}-{datetime.now(UTC):%Y%m%d}.ndjson"
    with source.open("rb") as read, target.open("ab", buffering=0) as write:
        while not stop.wait(0.2):
            write.write(read.read())


@pytest.fixture
def stack():
    with open_folder() as folder, contextlib.ExitStack() as rooms:
        made = Stack(folder, rooms)
        places = {name: folder / f"of-{name}" for name in ("postgres", "rabbitmq")}
        for place in places.values():
            place.mkdir()
            place.chmod(0o711)
        elastic = ElasticNode()
        rooms.callback(elastic.stop)
        elastic.start(wait=False)
        postgres = rooms.enter_context(PostgresServer(places["postgres"]))
        rabbitmq = rooms.enter_context(RabbitServer(
            places["rabbitmq"], (FOLDER / "rabbitmq" / "rabbitmq.conf").read_text(encoding="utf-8")))
        made.at |= {
            ("elasticsearch", 9200): elastic.port, ("postgres", 5432): postgres.port,
            ("rabbitmq", 5672): int(rabbitmq.amqp_url.rpartition(":")[2].strip("/")),
            ("rabbitmq", 15672): int(rabbitmq.url.rpartition(":")[2]),
            ("rabbitmq", 15692): int(rabbitmq.prometheus_url.rpartition(":")[2]),
        }
        rabbitmq.control("add_user", "observe", SECRET)
        rabbitmq.control("set_user_tags", "observe", "administrator")
        rabbitmq.control("set_permissions", "observe", ".*", ".*", ".*")
        postgres.run("CREATE ROLE shop SUPERUSER LOGIN")
        postgres.run("CREATE DATABASE shop OWNER shop")
        subprocess.run(["sh", FOLDER / "postgres" / "init.sh"], check=True, capture_output=True, timeout=300, env={
            **os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "POSTGRES_USER": "shop",
            "POSTGRES_DB": "shop", "READER_PASSWORD_FILE": str(folder / "secrets" / "reader_password")})
        elastic.wait()
        yield made


def _redis(stack: Stack) -> None:
    """By the compose file's own shell line, with its own file."""
    require("redis-server")
    file, port = stack.folder / "redis.conf", stack.at["redis", 6379]
    text = (FOLDER / "redis" / "redis.conf").read_text(encoding="utf-8")
    file.write_text(text.replace("/data", str(stack.folder)).replace("0.0.0.0", "127.0.0.1") + f"port {port}\n")
    shell = SERVICES["redis"]["command"][2].replace("$$", "$").replace("/usr/local/etc/redis/redis.conf", str(file))
    child = RealProcess("redis", ["sh", "-c", shell], stack.folder, env=stack.environment)
    stack._rooms.enter_context(child)
    ask = ["redis-cli", "-p", str(port), "ping"]

    def answers(**environment: str) -> str:
        given = {**os.environ, **environment}
        return subprocess.run(ask, capture_output=True, text=True, check=False, env=given).stdout

    child.wait_healthy(lambda: answers(REDISCLI_AUTH=SECRET) == "PONG\n")
    assert "NOAUTH" in answers(), "the password that came by standard input counts"


def test_the_stack_works_together(stack):
    stack.copy("prometheus/prometheus.yml", "prometheus/rules/observe.yml", "alertmanager/alertmanager.yml",
               "observe/observe.yml", "observe/tokens", "exporters/exporters.yml", "exporters/business.yml")
    collection = (ROOT / "alert_rules" / "collection.yml").read_text(encoding="utf-8").replace("for: 1m", "for: 3s")
    (stack.folder / "observe" / "collection.yml").write_text(collection)
    file = stack.folder / "observe" / "observe.yml"
    file.write_text(file.read_text().replace("[builtin]", "[collection.yml]")
                    + "scrape: {interval: 1s}\nevaluation_interval: 1s\n")
    rooms, stop = stack._rooms, threading.Event()
    _redis(stack)
    for name, binary in (("prometheus", "prometheus"), ("alertmanager", "prometheus-alertmanager")):
        flags = [stack.here(flag) for flag in SERVICES[name]["command"]]
        flags = [flag.replace("=/prometheus", f"={stack.folder}/tsdb").replace("=/alertmanager", f"={stack.folder}/am")
                 for flag in flags if "external-url" not in flag]
        server = RealProcess(name, [
            require(binary), *flags, f"--web.listen-address=127.0.0.1:{stack.at[name, min(ports_of(name))]}",
        ], stack.folder)
        rooms.enter_context(server).wait_healthy(lambda name=name: http_ok(stack.url(name) + "/-/ready"))
    pager = stack.start("pager", "/-/healthy")
    stack.start("observe", "/-/ready")
    headers = SERVICES["demo"]["environment"]["OTEL_EXPORTER_OTLP_HEADERS"].partition("${")[0]
    stack.start("demo", "/metrics", OTEL_EXPORTER_OTLP_HEADERS=headers + stack.environment["OBSERVE_INGEST_TOKEN"])
    stack.start("load", "")
    shop = SERVICES["shop"]["command"]
    child = RealProcess("shop", [
        sys.executable, *[stack.here(word) for word in shop[1:]], "--secrets", str(stack.folder / "secrets"),
    ], stack.folder, env=stack.environment)
    rooms.enter_context(child).wait_healthy(lambda: "the shop is open" in child.output())
    stack.start("exporters", "/-/healthy")
    shipping = threading.Thread(target=ship, args=(stack, stop))
    shipping.start()
    rooms.callback(shipping.join)
    rooms.callback(stop.set)

    # Prometheus scrapes all that run; Grafana does not run here, and no GPU profile is on.
    jobs = {job["job_name"] for job in config("prometheus/prometheus.yml")["scrape_configs"]}
    wait_until(lambda: {labels["job"] for labels, _ in stack.query("up == 1")} == jobs - {"grafana", "gpu"},
               "every target that runs is up", 60)
    for expr in (
        'business_orders{status="done"} > 0', "business_orders_delivered_all > 0", "business_failed_total == 0",
        "business_demo_faults == 0",
        'queue_depth{system="rabbitmq", queue="orders"}', 'queue_oldest_age_seconds{system="redis", queue="emails"}',
        'queue_fill_ratio{system="redis"} < 1', 'queue_published_total{system="rabbitmq"} > 0',
        "host_memory_total_bytes", 'inference_requests_running{server="gateway"}', "observe_alertmanager_up == 1",
    ):
        wait_until(lambda expr=expr: stack.query(expr), expr, 60)
    # observe evaluates on Prometheus and writes back: so its own watch rule is quiet.
    wait_until(lambda: stack.query('ALERTS{alertname="Watchdog", alertstate="firing"}'), "the Watchdog is there", 60)
    # An evaluation may have come before observe was up: what it said is over with the next one.
    wait_until(lambda: stack.query('ALERTS{alertname="ObserveDown"}') == [], "nothing is said of observe")
    # Grafana is down: observe says so to Alertmanager, which tells the pager; the Watchdog goes to nobody.
    wait_until(lambda: "FIRING   [critical] grafana" in pager.output(), "the page about Grafana", 60)
    assert "always fires" not in pager.output()
    # Filebeat's line and the demo's spans meet in Elasticsearch.
    found = wait_until(lambda: stack.observe("/api/logs/search?query=service:gateway&limit=1")["lines"], "a line", 60)
    trace = found[0]["trace_id"]
    wait_until(lambda: stack.observe(f"/api/traces/{trace}")["spans"], "the spans of that line's trace", 30)
    # The demo's token sends and reads nothing; Prometheus' reads; without one there is nothing.
    assert stack.observe("/api/services", "OBSERVE_VIEWER_TOKEN")
    for refused, code in ((lambda: stack.observe("/api/services", "OBSERVE_INGEST_TOKEN"), 403),
                          (lambda: http_get(stack.url("observe") + "/api/services"), 401)):
        with pytest.raises(urllib.error.HTTPError, match=str(code)) as answered:
            refused()
        answered.value.close()
