"""The starter of real components, tried on small children."""

import signal
import sys
from pathlib import Path

import pytest

from tests.real.process import RealProcess, require, wait_until

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""

def test_a_child_that_ignores_sigterm_is_killed_after_the_limit(tmp_path):
    child = RealProcess("stubborn", [sys.executable, "-c", STUBBORN], tmp_path)
    child.wait_healthy(lambda: "ready" in child.output())

    status = child.stop(timeout_s=0.2)

    assert status == -signal.SIGKILL

def test_a_child_that_ends_while_starting_fails_with_its_last_words(tmp_path):
    child = RealProcess("brief", [sys.executable, "-c", "print('no such disk')"], tmp_path)

    with pytest.raises(AssertionError, match="no such disk"):
        child.wait_healthy(lambda: False, timeout_s=10)

def test_a_missing_component_is_named(monkeypatch):
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="no-such-server is not on this machine"):
        require("no-such-server")

def test_waiting_says_what_was_waited_for():
    with pytest.raises(AssertionError, match="still not: the moon is full"):
        wait_until(lambda: False, "the moon is full", timeout_s=0.1)

def test_a_child_dies_with_its_parent(tmp_path):
    """The parent starts a child and is killed at once, as a test run may be."""
    code = (
        "import sys, time; from pathlib import Path; from tests.real.process import RealProcess;"
        "p = RealProcess('child', [sys.executable, '-c', 'import time; time.sleep(60)'], Path(sys.argv[1]));"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    here = {"PYTHONPATH": str(Path.cwd())}
    parent = RealProcess("parent", [sys.executable, "-c", code, str(tmp_path)], tmp_path, env=here)
    parent.wait_healthy(lambda: parent.output().strip().isdigit())
    child = int(parent.output())

    parent.kill()

    wait_until(lambda: _is_gone(child), "the child is gone", timeout_s=5)

def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
