"""RabbitMQ: queues as `queue_*`, nodes and alarms; from the management API and, fresher, the Prometheus plugin."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from observe.errors import MalformedData, Unavailable
from observe.exporters import queue_metrics as q
from observe.exporters.collectors import Collector
from observe.exporters.fetch import basic, check_url, get
from observe.exporters.page import Metric, Page
from observe.exporters.registry import Option, exporter, seconds
from observe.exporters.secret import read_secret

_C: Final = "counter"
_G: Final = "gauge"
_N = ("node",)
NODE: Final = {
    "running": Metric("rabbitmq_node_running", _G, "", "1 if the node runs.", _N),
    "mem_used": Metric("rabbitmq_node_memory_used_bytes", _G, "bytes", "Memory of the node.", _N),
    "mem_limit": Metric(
        "rabbitmq_node_memory_limit_bytes", _G, "bytes", "Memory at which the node blocks publishers.", _N,
    ),
    "disk_free": Metric("rabbitmq_node_disk_free_bytes", _G, "bytes", "Free disk space of the node.", _N),
    "disk_free_limit": Metric(
        "rabbitmq_node_disk_free_limit_bytes", _G, "bytes", "Free disk space at which the node blocks publishers.", _N,
    ),
    "fd_used": Metric("rabbitmq_node_file_descriptors_used", _G, "", "File descriptors in use.", _N),
    "fd_total": Metric("rabbitmq_node_file_descriptors_limit", _G, "", "File descriptors that the node may have.", _N),
    "sockets_used": Metric("rabbitmq_node_sockets_used", _G, "", "Sockets in use.", _N),
    "sockets_total": Metric("rabbitmq_node_sockets_limit", _G, "", "Sockets that the node may have.", _N),
    "proc_used": Metric("rabbitmq_node_processes_used", _G, "", "Erlang processes in use.", _N),
    "proc_total": Metric("rabbitmq_node_processes_limit", _G, "", "Erlang processes that the node may have.", _N),
    "run_queue": Metric("rabbitmq_node_run_queue", _G, "", "Erlang processes that wait for a CPU.", _N),
}
UPTIME = Metric("rabbitmq_node_uptime_seconds", _G, "seconds", "Time since the node started.", _N)
PARTITIONS = Metric("rabbitmq_node_partitions", _G, "", "Nodes that this one cannot see.", _N)
ALARM = Metric(
    "rabbitmq_node_alarm", _G, "", "1 while an alarm (memory, disk) blocks all publishers.", ("node", "kind"),
)
TOTALS: Final = {
    "connections": Metric("rabbitmq_connections", _G, "", "Connections of clients."),
    "channels": Metric("rabbitmq_channels", _G, "", "Channels of clients."),
    "consumers": Metric("rabbitmq_consumers", _G, "", "Consumers of all queues."),
    "queues": Metric("rabbitmq_queues", _G, "", "Queues."),
    "exchanges": Metric("rabbitmq_exchanges", _G, "", "Exchanges."),
}
INFO = Metric("rabbitmq_info", _G, "", "1, with cluster name and version.", ("cluster", "version"))
LEFT_OUT = Metric("rabbitmq_queues_left_out", _G, "", "Queues beyond the limit, which are not shown.")
SERVER: Final = (*NODE.values(), UPTIME, PARTITIONS, ALARM, *TOTALS.values(), INFO, LEFT_OUT)

SYSTEM: Final = "rabbitmq"
PAGE_SIZE: Final = 500
COLUMNS: Final = (
    "name", "vhost", "state", "messages", "messages_ready", "messages_unacknowledged", "message_bytes", "consumers",
    "arguments", "effective_policy_definition", "head_message_timestamp", "message_stats.publish",
    "message_stats.deliver_get", "message_stats.ack", "message_stats.redeliver",
)
FRESH: Final = {
    "messages": q.DEPTH, "messages_ready": q.READY, "messages_unacked": q.UNACKNOWLEDGED, "consumers": q.CONSUMERS,
    "messages_bytes": q.SIZE,
}
"""The plugin's names after ``rabbitmq_queue_`` or ``rabbitmq_detailed_queue_``."""

Ask = Callable[[str], Any]
"""``ask("overview")``: one reply of the management API, decoded."""


def write_overview(overview: Mapping[str, Any], page: Page) -> None:
    for name, metric in TOTALS.items():
        page.add(metric, overview.get("object_totals", {}).get(name))
    page.add(INFO, 1, str(overview.get("cluster_name", "")), str(overview.get("rabbitmq_version", "")))


def write_nodes(nodes: Sequence[Mapping[str, Any]], page: Page) -> None:
    """A node that is down has little more than its name."""
    for node in nodes:
        name = str(node.get("name", ""))
        for key, metric in NODE.items():
            value = node.get(key)
            page.add(metric, int(value) if isinstance(value, int | float) else None, name)
        uptime = node.get("uptime")
        page.add(UPTIME, uptime / 1000 if isinstance(uptime, int | float) else None, name)
        if isinstance(node.get("partitions"), list):
            page.add(PARTITIONS, len(node["partitions"]), name)
        for kind, key in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")):
            page.add(ALARM, int(node[key]) if isinstance(node.get(key), bool) else None, name, kind)


def write_queue(queue: Mapping[str, Any], page: Page, now_s: float) -> None:
    """One queue of the management API. For some seconds a new queue has no figures: they are absent then."""
    labels = (SYSTEM, str(queue["vhost"]), str(queue["name"]))
    depth, size = queue.get("messages"), queue.get("message_bytes")
    page.add(q.DEPTH, depth, *labels)
    page.add(q.READY, queue.get("messages_ready"), *labels)
    page.add(q.UNACKNOWLEDGED, queue.get("messages_unacknowledged"), *labels)
    page.add(q.SIZE, size, *labels)
    page.add(q.CONSUMERS, queue.get("consumers"), *labels)
    stats = queue.get("message_stats") or {}
    page.add(q.PUBLISHED, stats.get("publish"), *labels)
    page.add(q.DELIVERED, stats.get("deliver_get"), *labels)
    page.add(q.ACKNOWLEDGED, stats.get("ack"), *labels)
    page.add(q.REDELIVERED, stats.get("redeliver"), *labels)
    if queue.get("state"):
        page.add(q.RUNNING, int(queue["state"] in {"running", "idle", "flow"}), *labels)
    head = queue.get("head_message_timestamp")
    if isinstance(head, int | float):
        page.add(q.OLDEST, max(0.0, round(now_s - head, 3)), *labels)
    elif depth == 0:
        page.add(q.OLDEST, 0, *labels)
    most, most_bytes = _limit(queue, "max-length"), _limit(queue, "max-length-bytes")
    page.add(q.CAPACITY, most, *labels)
    shares = [used / limit for used, limit in ((depth, most), (size, most_bytes)) if used is not None and limit]
    page.add(q.FILL, round(max(shares), 6) if shares else None, *labels)


def _limit(queue: Mapping[str, Any], name: str) -> int | None:
    """A queue's own limit or its policy's: the smaller one holds."""
    said = (
        (queue.get("arguments") or {}).get(f"x-{name}"),
        (queue.get("effective_policy_definition") or {}).get(name),
    )
    return min((value for value in said if isinstance(value, int) and value > 0), default=None)


def collect(ask: Ask, page: Page, now_s: float, most_queues: int) -> None:
    """Everything of the management API, queues page by page."""
    write_overview(ask("overview"), page)
    write_nodes(ask("nodes"), page)
    number, shown, total = 1, 0, 0
    while True:
        reply = ask(f"queues?page={number}&page_size={PAGE_SIZE}&columns={','.join(COLUMNS)}")
        total = int(reply["total_count"])
        for queue in reply["items"]:
            if shown < most_queues:
                write_queue(queue, page, now_s)
                shown += 1
        if number >= int(reply["page_count"]) or shown >= most_queues:
            break
        number += 1
    page.add(LEFT_OUT, max(0, total - shown))


def write_plugin(text: str, page: Page, most_queues: int) -> None:
    """The Prometheus plugin's page with an entry a queue: there at once, also for new queues."""
    found: list[tuple[Metric, float, tuple[str, str]]] = []
    for family in _families(text, page):
        metric = FRESH.get(family.name.removeprefix("rabbitmq_").removeprefix("detailed_").removeprefix("queue_"))
        if metric is None or "queue_" not in family.name:
            continue
        found += [
            (metric, sample.value, (sample.labels["vhost"], sample.labels["queue"])) for sample in family.samples
            if "queue" in sample.labels and "vhost" in sample.labels
        ]
    names = sorted({name for _, _, name in found})  # as the management API has them, so that both show the same ones
    page.leave_out(len(names) - most_queues)
    shown = set(names[:most_queues])
    for metric, value, name in found:
        if name in shown:
            page.add(metric, value, SYSTEM, *name)


def _families(text: str, page: Page) -> list[Any]:
    """The page's families. RabbitMQ 3.10 writes names of queues as they are: a quote in one spoils its own lines."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        return list(text_string_to_metric_families(text))
    except ValueError:
        families: list[Any] = []
        spoiled: Counter[str] = Counter()
        for line in text.splitlines():
            try:
                families += text_string_to_metric_families(line + "\n") if not line.startswith("#") else ()
            except ValueError:
                spoiled[line.partition("{")[0]] += 1
        if not families:
            raise
        page.leave_out(max(spoiled.values()))
        return families


class RabbitMQ:
    """One cluster, asked through one of its nodes."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options

    def management(self, page: Page) -> None:
        collect(self._ask, page, time.time(), int(self._options["max-queues"]))

    def _ask(self, path: str) -> Any:
        url = f"{self._options['url'].rstrip('/')}/api/{path}"
        password = read_secret(self._options["password-file"], "OBSERVE_RABBITMQ_PASSWORD")
        body = get(
            url, float(self._options["timeout"]), basic(self._options["user"], password), self._options["ca-file"],
        )
        try:
            return json.loads(body)
        except ValueError as error:
            raise MalformedData(f"{self._options['url']} answers something else than the management API") from error

    def plugin(self, page: Page) -> None:
        base = self._options["prometheus-url"].rstrip("/")
        families = "family=queue_coarse_metrics&family=queue_consumer_count"
        timeout = float(self._options["timeout"])
        try:
            body = get(f"{base}/metrics/detailed?{quote(families, safe='=&')}", timeout, None, self._options["ca-file"])
        except Unavailable as error:
            if error.reason != "http_404":
                raise
            body = get(f"{base}/metrics/per-object", timeout, None, self._options["ca-file"])  # RabbitMQ before 3.10
        try:
            write_plugin(body.decode("utf-8", "replace"), page, int(self._options["max-queues"]))
        except ValueError as error:
            raise MalformedData(f"{base} answers something else than the Prometheus plugin") from error


def _count(text: str) -> None:
    if not text.isdigit() or not int(text):
        raise ValueError(f"{text!r} is not a count")


def _optional_url(text: str) -> None:
    if text:
        check_url(text)


@exporter("rabbitmq", port=9207, summary="RabbitMQ: queues, nodes and alarms", options=(
    Option("url", "http://127.0.0.1:15672", "the management API", check_url),
    Option("prometheus-url", "", "the Prometheus plugin, http://HOST:15692: depths without delay", _optional_url),
    Option("user", "guest", "a user with the tag `monitoring`"),
    Option("password-file", "", "file that holds the password; or set OBSERVE_RABBITMQ_PASSWORD"),
    Option("ca-file", "", "certificates to trust for https, instead of the system's"),
    Option("max-queues", "2000", "queues shown at most; the rest is counted", _count),
    Option("timeout", "4", "seconds to wait for an answer", seconds),
    Option("interval", "5", "seconds between two readings", seconds),
))
def build(options: Mapping[str, str]) -> Sequence[Collector]:
    server, every_s = RabbitMQ(options), float(options["interval"])
    found = [Collector("rabbitmq", (*SERVER, *q.QUEUE), server.management, every_s)]
    if options["prometheus-url"]:
        found.append(Collector("rabbitmq_plugin", tuple(FRESH.values()), server.plugin, every_s))
    return found
