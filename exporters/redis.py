"""Redis: the server's clients, memory, evictions, hits, latency and replication, and the queues in it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from observe.errors import Unavailable
from observe.exporters import queue_metrics as q
from observe.exporters.collectors import Collector
from observe.exporters.page import Metric, Page
from observe.exporters.redis_queues import QUEUE_METRICS, Ask, Queues, Vanished
from observe.exporters.registry import Option, exporter, listed, seconds
from observe.exporters.secret import read_secret

_C: Final = "counter"
_G: Final = "gauge"
PING = Metric("redis_ping_seconds", _G, "seconds", "Time that one PING took, there and back.")
INFO: Final = {
    "uptime_in_seconds": Metric("redis_uptime_seconds", _G, "seconds", "Time since the server started."),
    "connected_clients": Metric("redis_clients_connected", _G, "", "Clients connected."),
    "blocked_clients": Metric("redis_clients_blocked", _G, "", "Clients that wait in a blocking call, such as BLPOP."),
    "maxclients": Metric("redis_clients_limit", _G, "", "Clients that the server accepts."),
    "rejected_connections": Metric("redis_connections_rejected_total", _C, "", "Connections refused at the limit."),
    "used_memory": Metric("redis_memory_used_bytes", _G, "bytes", "Memory that the server allocated."),
    "used_memory_rss": Metric("redis_memory_resident_bytes", _G, "bytes", "Resident memory of the server."),
    "maxmemory": Metric("redis_memory_limit_bytes", _G, "bytes", "Memory the server may use (absent: no limit)."),
    "mem_fragmentation_ratio": Metric(
        "redis_memory_fragmentation_ratio", _G, "ratio", "Resident over used memory; means nothing on an idle server.",
    ),
    "evicted_keys": Metric("redis_keys_evicted_total", _C, "", "Keys thrown away because memory was full."),
    "expired_keys": Metric("redis_keys_expired_total", _C, "", "Keys that reached their end of life."),
    "keyspace_hits": Metric("redis_keyspace_hits_total", _C, "", "Look-ups that found their key."),
    "keyspace_misses": Metric("redis_keyspace_misses_total", _C, "", "Look-ups that did not."),
    "total_commands_processed": Metric("redis_commands_total", _C, "", "Commands processed."),
    "total_error_replies": Metric("redis_error_replies_total", _C, "", "Commands answered with an error."),
    "total_net_input_bytes": Metric("redis_network_received_bytes_total", _C, "bytes", "Bytes received."),
    "total_net_output_bytes": Metric("redis_network_sent_bytes_total", _C, "bytes", "Bytes sent."),
    "used_cpu_sys": Metric("redis_cpu_system_seconds_total", _C, "seconds", "System CPU time."),
    "used_cpu_user": Metric("redis_cpu_user_seconds_total", _C, "seconds", "User CPU time."),
    "rdb_changes_since_last_save": Metric("redis_rdb_unsaved_changes", _G, "", "Changes since the last snapshot."),
    "connected_slaves": Metric("redis_replicas_connected", _G, "", "Replicas connected to this server."),
    "loading": Metric("redis_loading", _G, "", "1 while the server loads its data and answers nothing."),
}
SAVED = Metric("redis_persistence_ok", _G, "", "1 if the last write of this kind succeeded (rdb, aof).", ("kind",))
ROLE = Metric("redis_role", _G, "", "1 for the server's role.", ("role",))
LINK = Metric("redis_master_link_up", _G, "", "1 if this replica is connected to its master.")
KEYS = Metric("redis_keys", _G, "", "Keys in a database.", ("db",))
SLOW = Metric("redis_slowlog_entries_total", _C, "", "Commands that were slower than the server's threshold.")
SERVER: Final = (PING, *INFO.values(), SAVED, ROLE, LINK, KEYS, SLOW)


def write_server(info: Mapping[str, Any], page: Page) -> None:
    """The reply of INFO as samples."""
    for name, metric in INFO.items():
        value = info.get(name)
        if isinstance(value, int | float) and not (name == "maxmemory" and value == 0):
            page.add(metric, value, *())
    for kind, name in (("rdb", "rdb_last_bgsave_status"), ("aof", "aof_last_write_status")):
        if name in info:
            page.add(SAVED, int(info[name] == "ok"), kind)
    if "role" in info:
        page.add(ROLE, 1, str(info["role"]))
    if "master_link_status" in info:
        page.add(LINK, int(info["master_link_status"] == "up"))
    for name, value in info.items():
        if name.startswith("db") and name[2:].isdigit() and isinstance(value, Mapping):
            page.add(KEYS, value.get("keys"), name[2:])


class Redis:
    """One server, asked over one connection that is made anew when it broke."""

    def __init__(self, options: Mapping[str, str], queues: Queues) -> None:
        self._options, self._queues = options, queues
        self._client: Any = None

    def _connected(self) -> Any:
        import redis

        if self._client is None:
            timeout = float(self._options["timeout"])
            password = read_secret(self._options["password-file"], "OBSERVE_REDIS_PASSWORD")
            self._client = redis.Redis.from_url(
                self._options["url"], decode_responses=True, encoding_errors="surrogateescape", protocol=2,
                socket_timeout=timeout, socket_connect_timeout=timeout, single_connection_client=False,
                max_connections=1, **({"password": password} if password else {}),
            )
        return self._client

    def collect(self, page: Page) -> None:
        import redis

        try:
            client = self._connected()
            database = str(client.connection_pool.connection_kwargs.get("db", 0))
            collect(permitted(client.execute_command), self._queues, page, database, time.perf_counter)
        except redis.AuthenticationError as error:
            self.close()
            raise Unavailable(
                f"Redis at {self._place()} refuses us: {error}; give --password-file or OBSERVE_REDIS_PASSWORD",
                reason="credentials",
            ) from error
        except redis.ResponseError as error:
            self.close()
            raise Unavailable(
                f"Redis at {self._place()} does not answer what we ask: {error}; is the database's number right, "
                "and may the account do this?",
                reason="refused",
            ) from error
        except redis.ConnectionError as error:
            self.close()
            raise Unavailable(f"Redis at {self._place()} cannot be reached: {error}") from error
        except redis.TimeoutError as error:
            self.close()
            raise Unavailable(f"Redis at {self._place()} gave no answer within {self._options['timeout']} s") from error

    def _place(self) -> str:
        """The URL without what stands before the @."""
        scheme, _, rest = self._options["url"].partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


GONE: Final = ("no such key", "NOGROUP", "WRONGTYPE")
"""How replies begin about a key or a group that is not there any more, or is something else by now."""

OPTIONAL: Final = frozenset(("SLOWLOG", "MEMORY USAGE"))
"""Commands that an account made for watching may lack: their figures are then absent."""


def permitted(ask: Ask) -> Ask:
    """`ask` with refusals understood: None for an optional command, `Vanished` for what is not there any more."""

    def ask_or_none(*words: str) -> Any:
        import redis

        try:
            return ask(*words)
        except redis.ResponseError as error:
            if words[0] in OPTIONAL:
                return None
            if str(error).startswith(GONE):
                raise Vanished(str(error)) from error
            raise

    return ask_or_none


def collect(ask: Ask, queues: Queues, page: Page, database: str, timer: Callable[[], float]) -> None:
    """Everything of one server through `ask`."""
    began = timer()
    ask("PING")
    page.add(PING, timer() - began)
    write_server(ask("INFO"), page)
    page.add(SLOW, _slow_count(ask("SLOWLOG", "GET", "1")))
    now = ask("TIME")
    queues.write(ask, page, database, int(now[0]) + int(now[1]) / 1e6)


def _slow_count(reply: Sequence[Any] | None) -> int | None:
    """Entries ever made: their ids count from 0."""
    if reply is None:
        return None
    if not reply:
        return 0
    newest = reply[0]
    return int(newest[0]) + 1


def _url(text: str) -> None:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(f"{text!r} is not a Redis URL, such as redis://127.0.0.1:6379/0")
    urlsplit(text).port  # noqa: B018 - raises ValueError where it is none


def _end(text: str) -> None:
    if text not in {"left", "right"}:
        raise ValueError(f"{text!r} is neither left nor right")


@exporter("redis", port=9205, summary="Redis: lists, streams, sorted sets as queues; memory, evictions", options=(
    Option("url", "redis://127.0.0.1:6379/0", "server and database: redis://, rediss:// (TLS) or unix://", _url),
    Option("password-file", "", "file that holds the password; or set OBSERVE_REDIS_PASSWORD"),
    Option("queues", "", "lists, streams and sorted sets to watch: names or patterns, separated by commas"),
    Option("capacity", "", "how many messages a queue may hold: NAME=COUNT,...", q.capacities),
    Option("oldest", "right", "the end of a list where its oldest item is: right (LPUSH, BRPOP) or left", _end),
    Option("time-field", "", "field of a JSON item that says when it was made, such as headers.created_at"),
    Option("timeout", "2", "seconds to wait for an answer", seconds),
    Option("interval", "5", "seconds between two readings", seconds),
))
def build(options: Mapping[str, str]) -> Sequence[Collector]:
    queues = Queues(
        listed(options["queues"]), q.capacities(options["capacity"]), options["oldest"], options["time-field"],
    )
    server = Redis(options, queues)
    metrics = (*SERVER, *QUEUE_METRICS)
    return [Collector("redis", metrics, server.collect, every_s=float(options["interval"]), close=server.close)]
