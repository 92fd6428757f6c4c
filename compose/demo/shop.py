"""A small shop, so that database and queues have work: orders in PostgreSQL, jobs in RabbitMQ, e-mails in Redis.

It places orders and delivers them a little later, in one loop; whatever breaks is told and tried again.
"""

import argparse
import contextlib
import json
import random
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from observe.demo.process import die_with_parent

ORDERS = "orders"
"""RabbitMQ's queue."""
EMAILS = "emails"
"""Redis' list."""
MOST_WAITING = 500
"""Places of both queues: where nobody delivers, the shop stops taking orders."""


class Shop:
    """One round is `place` and `deliver`."""

    def __init__(self, database: Any, channel: Any, redis: Any, chance: random.Random) -> None:
        self._database, self._channel, self._redis, self._chance = database, channel, redis, chance
        channel.queue_declare(ORDERS, durable=True, arguments={"x-max-length": 2 * MOST_WAITING})

    def place(self) -> None:
        """An order: a row, a job to deliver it, an e-mail to confirm it."""
        import pika

        if self._redis.llen(EMAILS) >= MOST_WAITING:
            return
        cents = round(self._chance.lognormvariate(8, 0.7))
        (number,) = self._database.execute("INSERT INTO orders (cents) VALUES (%s) RETURNING id", (cents,)).fetchone()
        made = time.time()
        self._channel.basic_publish(
            "", ORDERS, str(number).encode(), pika.BasicProperties(timestamp=int(made), delivery_mode=2))
        self._redis.lpush(EMAILS, json.dumps({"order": number, "created_at": made}))

    def deliver(self) -> bool:
        """Do the oldest job, if there is one; one order in fifty cannot be delivered."""
        method, _, body = self._channel.basic_get(ORDERS)
        if method is None:
            return False
        status = "failed" if self._chance.random() < 0.02 else "done"
        self._database.execute("UPDATE orders SET status = %s, done = now() WHERE id = %s", (status, int(body)))
        self._channel.basic_ack(method.delivery_tag)
        self._redis.rpop(EMAILS)
        return True


@contextlib.contextmanager
def opened(args: argparse.Namespace) -> Iterator[Shop]:
    """A shop with its three connections."""
    import pika
    import psycopg
    import redis

    def secret(name: str) -> str:
        file = args.secrets / f"{name}_password"
        return str(file.read_text(encoding="utf-8").strip()) if file.exists() else ""

    broker_url = urllib.parse.urlsplit(args.rabbitmq)
    rabbitmq = pika.ConnectionParameters(
        broker_url.hostname, broker_url.port or 5672, credentials=pika.PlainCredentials(
            broker_url.username or "guest", secret("rabbitmq") or broker_url.password or "guest"))
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(psycopg.connect(
            args.postgres, password=secret("postgres") or None, autocommit=True, connect_timeout=5))
        broker = stack.enter_context(contextlib.closing(pika.BlockingConnection(rabbitmq)))
        store = stack.enter_context(contextlib.closing(redis.Redis.from_url(
            args.redis, password=secret("redis") or None, socket_timeout=5)))
        yield Shop(database, broker.channel(), store, random.Random(args.seed))


def run(args: argparse.Namespace, stop: threading.Event) -> None:
    """Trade until `stop`, about `rate` orders a second."""
    chance = random.Random(args.seed)
    while not stop.is_set():
        try:
            with opened(args) as shop:
                print("the shop is open", flush=True)
                while not stop.wait(chance.expovariate(args.rate)):
                    shop.place()
                    while chance.random() < 0.7 and shop.deliver():
                        pass
        except Exception as error:
            print(f"the shop is closed: {type(error).__name__}: {error}", flush=True)
            stop.wait(2.0)


def main() -> int:
    die_with_parent()
    parser = argparse.ArgumentParser(description="Orders for PostgreSQL, RabbitMQ and Redis.")
    parser.add_argument("--postgres", required=True, metavar="URL")
    parser.add_argument("--rabbitmq", required=True, metavar="URL")
    parser.add_argument("--redis", required=True, metavar="URL")
    parser.add_argument("--secrets", type=Path, default=Path("/run/secrets"), metavar="DIR",
                        help="holds postgres_password, rabbitmq_password, redis_password (default: /run/secrets)")
    parser.add_argument("--rate", type=float, default=2.0, help="orders a second (default: 2)")
    parser.add_argument("--seed", type=int, default=5)
    run(parser.parse_args(), threading.Event())
    return 0


if __name__ == "__main__":
    sys.exit(main())
