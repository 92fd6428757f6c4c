"""A child process that appends numbered lines and spans and tells, one line each, what was acknowledged.

Usage: python -m tests.store.signals.writer FOLDER FIRST
"""

import sys
from pathlib import Path

from observe.clock import SystemClock
from observe.store.logs import SignalIndex, SignalSettings
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry
from tests.store.signals.scenario import line, span, trace_id


def main(folder: str, first: int) -> None:
    bounds = SpoolSettings(sync_every_s=0, segment_bytes=20_000)
    chosen = SignalSettings(bounds, bounds, index_every_s=0.02)
    store = SignalIndex(Path(folder), chosen, SystemClock(), Telemetry())
    print("open", flush=True)
    number = first
    while True:
        batch = range(number, number + 7)
        store.append([line(at, f"line {at}", trace_id=trace_id(at + 1)) for at in batch],
                     [span(at + 1, at + 1, None, 0, 1) for at in batch])
        print(batch[-1], flush=True)
        number += 7


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
