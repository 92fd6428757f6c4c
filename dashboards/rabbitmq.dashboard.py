"""RabbitMQ: its queues first, then the nodes under them."""

from observe.dashboards.panels import Query, Row, board, chosen_by, timeseries

_I = 'instance=~"$instance"'
_Q = f'{_I}, system="rabbitmq", queue=~"$queue"'
_LEGEND = "{{namespace}} {{queue}}"

dashboard = board(
    "RabbitMQ",
    "observe-rabbitmq",
    "Queues of RabbitMQ: depth, age, rates, consumers; and the nodes under them.",
    [
        Row(
            "Queues",
            (
                timeseries(
                    "Depth",
                    Query(f"queue_depth{{{_Q}}}", _LEGEND),
                    unit="short",
                    description="Messages in each queue, those not yet acknowledged included.",
                ),
                timeseries(
                    "Oldest",
                    Query(f"queue_oldest_age_seconds{{{_Q}}}", _LEGEND),
                    unit="s",
                    description="Age of the oldest message, where the server tells it.",
                ),
                timeseries(
                    "Full",
                    Query(f"queue_fill_ratio{{{_Q}}}", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="Share of a queue's limit in use.",
                ),
            ),
        ),
        Row(
            "Flow",
            (
                timeseries(
                    "In",
                    Query(f"rate(queue_published_total{{{_Q}}}[2m])", _LEGEND),
                    unit="cps",
                    description="Messages that came in a second.",
                ),
                timeseries(
                    "Done",
                    Query(f"rate(queue_acknowledged_total{{{_Q}}}[2m])", _LEGEND),
                    unit="cps",
                    description="Messages that consumers have done a second.",
                ),
                timeseries(
                    "Again",
                    Query(f"rate(queue_redelivered_total{{{_Q}}}[2m])", _LEGEND),
                    unit="cps",
                    description="Messages handed out once more: consumers fail or are slow.",
                ),
            ),
        ),
        Row(
            "Consumers",
            (
                timeseries(
                    "Consumers",
                    Query(f"queue_consumers{{{_Q}}}", _LEGEND),
                    unit="short",
                    description="Consumers of each queue; a queue with none only grows.",
                ),
                timeseries(
                    "Not acknowledged",
                    Query(f"queue_unacknowledged{{{_Q}}}", _LEGEND),
                    unit="short",
                    description="Messages with a consumer that has not finished them.",
                ),
            ),
        ),
        Row(
            "Nodes",
            (
                timeseries(
                    "Memory",
                    Query(
                        f"rabbitmq_node_memory_used_bytes{{{_I}}} / rabbitmq_node_memory_limit_bytes{{{_I}}}",
                        "{{node}}",
                    ),
                    unit="percentunit",
                    description="Memory in use as a share of the limit at which publishers are blocked.",
                ),
                timeseries(
                    "Disk",
                    Query(f"rabbitmq_node_disk_free_bytes{{{_I}}}", "{{node}}"),
                    unit="bytes",
                    description="Free disk space of each node.",
                ),
                timeseries(
                    "Alarms",
                    Query(f"rabbitmq_node_alarm{{{_I}}}", "{{node}} {{kind}}"),
                    unit="short",
                    most=1,
                    description="1 while a node blocks publishers for lack of memory or disk.",
                ),
            ),
        ),
    ],
    variables=[
        chosen_by("instance", "rabbitmq_queues", title="Server"),
        chosen_by("queue", "queue_depth", title="Queue", within='instance=~"$instance", system="rabbitmq"'),
    ],
    tags=("rabbitmq", "queue"),
)
