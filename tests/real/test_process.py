"""The starter of real components, tried on small children."""

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.real import elasticsearch_node, provision
from tests.real.process import RealProcess, free_port, require, wait_until

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


def test_without_ci_a_missing_component_skips_and_is_named_all_the_same(monkeypatch):
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no-such-server is not on this machine"):
        require("no-such-server")


MAY_SKIP = {
    "tests/exporters/test_gpu.py": "a machine that has a driver",
    "tests/exporters/test_jvm_real.py": "needs root",
    "tests/store/metrics/test_full_disk.py": "needs root",
    "tests/store/signals/test_full_disk.py": "needs root",
    "tests/real/process.py": "asks whether this is CI",
}


def test_nothing_skips_under_ci_for_a_component_that_is_not_there():
    """Whoever skips does so by `require` or `missing`; the others are about the machine and stand in the list."""
    top = Path(__file__).parents[2]
    skipping = {str(path.relative_to(top)) for path in (top / "tests").rglob("*.py")
                if path != Path(__file__) and "pytest.skip(" in path.read_text(encoding="utf-8")}

    assert set(MAY_SKIP) == skipping


def test_whatever_a_test_requires_is_provisioned():
    """So that the first run under CI fails at `make setup-real`, with everything that is missing at once."""
    top = Path(__file__).parents[2]
    required = {name for folder in ("tests", "benchmarks") for path in (top / folder).rglob("*.py")
                for name in re.findall(r'require\("([\w-]+)"', path.read_text(encoding="utf-8"))}
    of_packages = {"initdb", "rabbitmq-env"}  # programs of postgresql and rabbitmq-server that are not on PATH

    assert required - {*provision.COMPONENTS, "no-such-server"} == of_packages


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)], ids=["newcomer", "CI"])
def test_a_newcomer_without_root_is_told_what_will_not_run_and_goes_on(monkeypatch, capsys, ci, code):
    """`make test` begins with this: nothing can be installed, everything is named; only under CI it is an error."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(elasticsearch_node, "HOME", Path("/nonexistent"))

    assert code == provision.main()

    said = capsys.readouterr().out
    for name in (*provision.COMPONENTS, "elasticsearch 8.19.0 (no mvn to get it with)"):
        assert name in said.partition("MISSING")[2]
    assert "tests that need them will not run; on Debian: apt-get install" in said


def test_no_port_is_given_twice_and_none_that_another_worker_may_be_given(monkeypatch):
    given = {}
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        given[worker] = [free_port() for _ in range(100)]

    assert 200 == len({*given["gw0"], *given["gw1"]})
    assert [{0}, {1}] == [{port % 16 for port in ports} for ports in given.values()]


def test_servers_with_tls_shake_hands_in_the_thread_of_each_connection():
    """Where they accept, a client that says nothing would hold up all others, and the end of the server."""
    top = Path(__file__).parents[2]
    calls = [(path.name, call) for folder in ("tests", "observe", "exporters") for path in (top / folder).rglob("*.py")
             for call in re.findall(r"\.wrap_socket\((?:[^()]|\([^()]*\))*\)", path.read_text(encoding="utf-8"))
             if "server_side=True" in call]

    assert len(calls) >= 2
    assert [] == [(name, call) for name, call in calls if "do_handshake_on_connect=False" not in call]


def test_no_test_looks_for_a_port_of_its_own():
    """One that was bound and left may be anybody's when its server wants it; `free_port` gives it to nobody else."""
    top = Path(__file__).parents[1]
    found = [str(path.relative_to(top)) for path in top.rglob("*.py") if path != Path(__file__)
             and re.search(r"def \w*free_port|def \w*unused_port", path.read_text(encoding="utf-8"))]

    assert ["real/process.py"] == found


def test_waiting_says_what_was_waited_for():
    with pytest.raises(AssertionError, match="still not: the moon is full"):
        wait_until(lambda: False, "the moon is full", timeout_s=0.1)

def test_a_child_dies_with_its_parent(tmp_path):
    """The parent starts a child and is killed at once, as a test run may be."""
    require("setpriv")
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

    wait_until(lambda: _is_gone(child), "the child is gone")

def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
