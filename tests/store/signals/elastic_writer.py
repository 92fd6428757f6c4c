"""A child process that appends numbered lines and spans to Elasticsearch and tells what was acknowledged.

Usage: python -m tests.store.signals.elastic_writer FOLDER URL PREFIX FIRST
"""

import sys
import threading
from pathlib import Path

from observe.clock import SystemClock
from observe.store.elastic import ElasticSettings, ElasticStore
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry
from tests.store.signals.scenario import line, span, trace_id


def main(folder: str, url: str, prefix: str, first: int) -> None:
    queue = SpoolSettings(when_full="refuse", max_age_ms=0, segment_bytes=20_000)
    settings = ElasticSettings(
        (url,), prefix=prefix, replicas=0, logs_queue=queue, spans_queue=queue,
        flush_every_s=0.01, longest_pause_s=0.5, bulk_documents=40,
        logs_days=36_500, spans_days=36_500)
    store = ElasticStore(Path(folder), settings, SystemClock(), Telemetry())
    print("open", flush=True)
    pace = threading.Event()
    number = first
    while True:
        batch = range(number, number + 7)
        store.append([line(at, f"line {at}", trace_id=trace_id(at + 1)) for at in batch],
                     [span(at + 1, at + 1, None, 0, 1) for at in batch])
        print(batch[-1], flush=True)
        number += 7
        pace.wait(0.05)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
