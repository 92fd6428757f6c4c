"""Kill the log store hundreds of times under load and compare: `python -m tests.drill.signals --kills 300`.

A writer appends numbered lines and spans into small segments as fast as it can, while they are indexed, and says what
was acknowledged; it is killed with -9 at a random instant, and the next one delivers the last lines again. At the end
every acknowledged line must be found by a search, once, and the traces of a sample of them must be whole. Every tenth
kill also takes away or damages an index, which must then be made again.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from observe.clock import SystemClock
from observe.protocols import LogQuery
from observe.store.logs import SignalIndex, SignalSettings
from observe.telemetry import Telemetry
from tests.store.signals.scenario import numbers, trace_id, whole

ROOT = Path(__file__).resolve().parents[2]


def killed(folder, first, after_s):
    """Run a writer for a while; the last acknowledged number."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.store.signals.writer", str(folder), str(first)], cwd=ROOT, stdout=subprocess.PIPE,
        text=True)
    last = first - 1
    with child:
        if child.stdout.readline() != "open\n":
            raise AssertionError(f"the store did not open again: exit {child.wait()}")
        timer = threading.Timer(after_s, child.kill)
        timer.start()
        for said in child.stdout:
            if said.endswith("\n"):
                last = int(said)
        timer.join()
    return last


def harm_an_index(folder, chance):
    """Take away or cut one of the indexes."""
    indexes = sorted(folder.glob("*/*/index"))
    if not indexes:
        return
    index = chance.choice(indexes)
    parts = sorted(path for path in index.iterdir() if path.suffix in {".term", ".idx", ".fast", ".pos"})
    if parts and chance.random() < 0.5:
        part = chance.choice(parts)
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    else:
        shutil.rmtree(index)


def found(store):
    """Every number that a search gives, page by page."""
    query, cursor, seen = whole(limit=10_000), None, []
    while True:
        page = store.search(LogQuery(query.start_ns, query.end_ns, limit=10_000, cursor=cursor))
        seen += numbers(page.lines)
        cursor = page.cursor
        if cursor is None:
            return sorted(seen)


def check(folder, last, chance):
    """Raises AssertionError."""
    store = SignalIndex(folder, SignalSettings(), SystemClock(), Telemetry())
    try:
        assert store.wait_indexed(300), "the index did not catch up"
        found(store)  # a damaged index shows itself when it is asked
        assert store.wait_indexed(300), "the index was not made again"
        seen = found(store)
        assert len(seen) == len(set(seen)), "a line is there twice"
        lost = set(range(last + 1)) - set(seen)
        assert not lost, f"{len(lost)} acknowledged lines are missing, such as {sorted(lost)[:5]}"
        for number in chance.sample(range(last + 1), min(50, last + 1)):
            signals = store.trace(trace_id(number + 1))
            assert (len(signals.spans), len(signals.logs)) == (1, 1), f"trace {number + 1} is not whole"
    finally:
        store.close()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder, last = Path(name), -1
        for kill in range(1, args.kills + 1):
            try:
                last = max(last, killed(folder, max(0, last - 20), chance.uniform(0, 0.4)))
                if kill % 10 == 0:
                    harm_an_index(folder, chance)
                if kill % 25 == 0 or kill == args.kills:
                    check(folder, last, chance)
                    print(f"signals: {kill} kills, {last + 1} acknowledged lines, all there once", flush=True)
            except AssertionError as error:
                print(f"signals: after {kill} kills: WRONG: {error}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
