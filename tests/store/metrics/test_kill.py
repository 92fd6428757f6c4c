"""kill -9 at any instant loses nothing that was acknowledged. `make drill` does the same hundreds of times."""

import contextlib
import random
import subprocess
import sys
from pathlib import Path

from tests.drill import metrics as drill

ROOT = Path(__file__).parents[3]


def test_ten_kills_under_load_lose_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "tests.drill.metrics", "--kills", "10"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 rounds lost something" in done.stdout


def test_the_drill_notices_what_is_lost_and_what_was_never_sent(tmp_path):
    folder = tmp_path / "metrics"

    class Enough(Exception):
        pass

    def stop(scrape):
        if scrape == 50:
            raise Enough

    with contextlib.suppress(Enough):
        drill.write(folder, 0, stop)
    assert drill.check(folder, 50) == ""
    assert "acknowledged samples lost, the first at scrape 51" in drill.check(folder, 51)

    segment = min((folder / "wal").glob("*.wal"))
    data = bytearray(segment.read_bytes())
    at = random.Random(1).randrange(len(data) // 2, len(data) - 100)
    data[at] ^= 0xFF
    segment.write_bytes(data)

    said = drill.check(folder, 50)
    assert "are damaged" in said
    assert "acknowledged samples lost" in said
