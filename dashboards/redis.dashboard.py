"""Redis and the queues in it."""

from observe.dashboards.panels import Query, Row, board, chosen_by, timeseries

_I = 'instance=~"$instance"'
_LEGEND = "{{instance}}"
_QUEUE = "{{queue}}"

dashboard = board(
    "Redis and queues",
    "observe-redis",
    "Queues in Redis, and the server under them.",
    [
        Row(
            "Queues",
            (
                timeseries(
                    "Depth",
                    Query(f"queue_depth{{{_I}}}", _QUEUE),
                    unit="short",
                    description="Messages in each queue.",
                ),
                timeseries(
                    "Oldest",
                    Query(f"queue_oldest_age_seconds{{{_I}}}", _QUEUE),
                    unit="s",
                    description="Age of the oldest message: the wait of whoever comes next.",
                ),
                timeseries(
                    "Behind",
                    Query(f"queue_group_lag{{{_I}}}", "{{queue}} {{group}}"),
                    unit="short",
                    description="Messages that a consumer group has not been given yet.",
                ),
            ),
        ),
        Row(
            "Server",
            (
                timeseries(
                    "Memory",
                    Query(f"redis_memory_used_bytes{{{_I}}}", _LEGEND),
                    unit="bytes",
                    description="Memory in use.",
                ),
                timeseries(
                    "Hits",
                    Query(
                        f"rate(redis_keyspace_hits_total{{{_I}}}[2m]) / (rate(redis_keyspace_hits_total{{{_I}}}[2m]) "
                        f"+ rate(redis_keyspace_misses_total{{{_I}}}[2m]))",
                        _LEGEND,
                    ),
                    unit="percentunit",
                    most=1,
                    description="Share of look-ups that found their key.",
                ),
                timeseries(
                    "Evicted",
                    Query(f"rate(redis_keys_evicted_total{{{_I}}}[2m])", _LEGEND),
                    unit="cps",
                    description="Keys dropped a second because memory is full.",
                ),
            ),
        ),
        Row(
            "Work",
            (
                timeseries(
                    "Commands",
                    Query(f"rate(redis_commands_total{{{_I}}}[2m])", _LEGEND),
                    unit="cps",
                    description="Commands served a second.",
                ),
                timeseries(
                    "Ping", Query(f"redis_ping_seconds{{{_I}}}", _LEGEND), unit="s", description="Time of one PING."
                ),
                timeseries(
                    "Clients",
                    [
                        Query(f"redis_clients_connected{{{_I}}}", "{{instance}} connected"),
                        Query(f"redis_clients_blocked{{{_I}}}", "{{instance}} blocked"),
                    ],
                    unit="short",
                    description="Clients connected, and those that wait for a key.",
                ),
            ),
        ),
    ],
    variables=[chosen_by("instance", "redis_uptime_seconds", title="Server")],
    tags=("redis", "queue"),
)
