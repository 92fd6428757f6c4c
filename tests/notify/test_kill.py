"""kill -9 at any moment: what was accepted is delivered, by this process or by the next."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from observe.testing import WebhookSink

pytestmark = pytest.mark.timeout(600)  # eleven starts of Python on a busy machine

KILLS = 10


def start(folder: Path, url: str, first: int, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.notify.child", str(folder), url, str(first), str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_killed_at_any_moment_nothing_accepted_is_lost(tmp_path):
    chance = random.Random(7)
    accepted: list[str] = []
    with WebhookSink() as sink:
        for round_ in range(KILLS):
            child = start(tmp_path, sink.url, round_ * 50, 50)
            accepted += [child.stdout.readline().strip() for _ in range(chance.randint(1, 50))]
            child.kill()
            accepted += child.stdout.read().split()
            child.wait()
            child.stdout.close()
            child.stdin.close()
        last = start(tmp_path, sink.url, 10_000, 0)
        wanted = {name for name in accepted if name}

        def arrived() -> set[str]:
            told = [alert for request in list(sink.received) for alert in request.json()["alerts"]]
            return {alert["labels"]["alertname"] for alert in told}

        with sink._changed:
            assert sink._changed.wait_for(lambda: wanted <= arrived(), 120), sorted(wanted - arrived())
        last.stdin.close()
        assert last.wait(60) == 0
        last.stdout.close()
    assert len(wanted) > KILLS
