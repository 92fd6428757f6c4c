"""The load generator: Poisson arrivals, Zipf-popular prompts, a slow daily-like swell. Standard library only.

It never waits for an answer before the next request (an open loop), as users do not; at most `_IN_FLIGHT` are open.
"""

import argparse
import http.client
import json
import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from observe.demo.process import die_with_parent

_PROMPTS = [f"Tell me story number {number} about a queue that never was empty." for number in range(400)]
_WEIGHTS = [1 / (rank + 1) ** 0.9 for rank in range(len(_PROMPTS))]
_IN_FLIGHT = 48
_connections = threading.local()


def _post(host: str, port: int, path: str, body: bytes) -> None:
    connection = getattr(_connections, "kept", None)
    if connection is None:
        connection = _connections.kept = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens it again: the gateway may be restarting


def run(host: str, port: int, rate: float, seconds: float | None, seed: int) -> None:
    """Send about `rate` requests a second for `seconds`, or until killed."""
    random_source = random.Random(seed)
    started = time.monotonic()
    gate = threading.Semaphore(_IN_FLIGHT)
    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="user") as users:
        due = started
        while seconds is None or time.monotonic() - started < seconds:
            swell = 1 + 0.15 * math.sin(2 * math.pi * (time.monotonic() - started) / 300)
            due += random_source.expovariate(rate * swell)
            time.sleep(max(0.0, due - time.monotonic()))
            if not gate.acquire(blocking=False):
                continue
            prompt = random_source.choices(_PROMPTS, _WEIGHTS)[0]
            path = "/generate" if random_source.random() < 0.8 else "/embed"
            body = json.dumps({"prompt": prompt, "max_tokens": random_source.choice((12, 16, 20))}).encode()
            users.submit(_post, host, port, path, body).add_done_callback(lambda _: gate.release())


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser(description="Load for the demo gateway.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second (default: 4)")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    run(args.host, args.port, args.rate, args.seconds, args.seed)


if __name__ == "__main__":
    main()
