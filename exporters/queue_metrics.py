"""One naming for queues, whatever server holds them: a rule or a board made for one fits the others.

`namespace` is what the server calls it: RabbitMQ's virtual host, Redis' database number. A value that a server does not
give, or not yet, is absent and never 0.
"""

from typing import Final

from observe.exporters.page import Metric

_L: Final = ("system", "namespace", "queue")
_G: Final = (*_L, "group")
DEPTH = Metric("queue_depth", "gauge", "", "Messages in the queue, those not yet acknowledged included.", _L)
READY = Metric("queue_ready", "gauge", "", "Messages that wait for a consumer.", _L)
UNACKNOWLEDGED = Metric("queue_unacknowledged", "gauge", "", "Messages delivered and not yet acknowledged.", _L)
SIZE = Metric("queue_size_bytes", "gauge", "bytes", "Memory or disk that the queue's messages take.", _L)
OLDEST = Metric("queue_oldest_age_seconds", "gauge", "seconds", "Age of the oldest message that is not done.", _L)
CONSUMERS = Metric("queue_consumers", "gauge", "", "Consumers of the queue.", _L)
CAPACITY = Metric("queue_capacity", "gauge", "", "Messages that the queue may hold.", _L)
FILL = Metric("queue_fill_ratio", "gauge", "ratio", "Share of the queue's capacity in use, by count or by bytes.", _L)
RUNNING = Metric("queue_running", "gauge", "", "1 if the server says that the queue works.", _L)
PUBLISHED = Metric("queue_published_total", "counter", "", "Messages that came in.", _L)
DELIVERED = Metric("queue_delivered_total", "counter", "", "Messages handed to consumers.", _L)
ACKNOWLEDGED = Metric("queue_acknowledged_total", "counter", "", "Messages that consumers have done.", _L)
REDELIVERED = Metric("queue_redelivered_total", "counter", "", "Messages handed out once more.", _L)

GROUP_LAG = Metric("queue_group_lag", "gauge", "", "Messages that a consumer group has not been given yet.", _G)
GROUP_PENDING = Metric("queue_group_pending", "gauge", "", "Messages given to a group and not acknowledged.", _G)
GROUP_CONSUMERS = Metric("queue_group_consumers", "gauge", "", "Consumers of a group.", _G)
GROUP_OLDEST = Metric(
    "queue_group_oldest_age_seconds", "gauge", "seconds", "Age of the oldest message that a group has not done.", _G,
)
GROUP_DELIVERED = Metric("queue_group_delivered_total", "counter", "", "Messages handed to a group.", _G)

QUEUE: Final = (
    DEPTH, READY, UNACKNOWLEDGED, SIZE, OLDEST, CONSUMERS, CAPACITY, FILL, RUNNING, PUBLISHED, DELIVERED, ACKNOWLEDGED,
    REDELIVERED,
)
GROUP: Final = (GROUP_LAG, GROUP_PENDING, GROUP_CONSUMERS, GROUP_OLDEST, GROUP_DELIVERED)


def capacities(text: str) -> dict[str, int]:
    """The option ``NAME=COUNT,NAME=COUNT``: how much each queue may hold. Raises ValueError.

    >>> capacities("jobs=1000, mail=50")
    {'jobs': 1000, 'mail': 50}
    """
    found = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, equals, count = word.rpartition("=")
        if not (name and equals and count.isdigit() and int(count)):
            raise ValueError(f"{word!r} is not NAME=COUNT, such as jobs=1000")
        found[name] = int(count)
    return found
