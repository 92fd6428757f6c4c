"""kill -9 in the middle: what was acknowledged is there, once."""

import subprocess
import sys
from pathlib import Path

from observe.clock import SystemClock
from observe.store.logs import SignalIndex, SignalSettings
from observe.telemetry import Telemetry
from tests.store.signals.scenario import every_number, line, span, trace_id

ROOT = Path(__file__).parents[3]


def killed_after(folder: Path, first: int, batches: int) -> int:
    """Run a writer, kill it after so many acknowledged batches; the last acknowledged number."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.store.signals.writer", str(folder), str(first)], cwd=ROOT,
        stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "open\n"
        last = first - 1
        for _ in range(batches):
            last = int(child.stdout.readline())
        child.kill()
        for said in child.stdout:  # acknowledged before the kill reached it
            last = int(said) if said.endswith("\n") else last
    return last


def test_ten_kills_lose_nothing_acknowledged_and_repeats_stay_single(tmp_path):
    last = 0
    for batches in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        # As a tailer after a crash: it delivers again from a position before the end.
        last = killed_after(tmp_path, max(0, last - 10), batches)

    store = SignalIndex(tmp_path, SignalSettings(), SystemClock(), Telemetry())
    try:
        assert store.wait_indexed(300)
        found = sorted(every_number(store))
        assert found[: last + 1] == list(range(last + 1))
        assert len(found) == len(set(found))
        assert store.trace(trace_id(last + 1)).spans == (span(last + 1, last + 1, None, 0, 1),)
        assert store.trace(trace_id(last + 1)).logs == (line(last, f"line {last}", trace_id=trace_id(last + 1)),)
    finally:
        store.close()
