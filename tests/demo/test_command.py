"""`observe demo` as a process: it ends when it is told to, with its children, whoever started it."""

import os
import signal
import sys

import pytest

from tests.e2e.product import ROOT, alive, descendants
from tests.real.process import RealProcess, free_port, http_ok, wait_until

DEAF = """
import runpy, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
runpy.run_module("observe", run_name="__main__")
"""
"""As a shell without job control starts what it puts into the background."""


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_in_order_when_told(tmp_path, told):
    port = free_port()
    words = [sys.executable, "-c", DEAF, "demo", "--port", str(port), "--log", str(tmp_path / "gateway.jsonl")]
    with RealProcess("demo", words, tmp_path, env={"PYTHONPATH": str(ROOT)}) as demo:
        demo.wait_healthy(lambda: http_ok(f"http://127.0.0.1:{port}/metrics"))
        children = descendants(demo.pid)
        assert len(children) == 2

        os.kill(demo.pid, told)

        wait_until(lambda: not demo.is_running, "it ends", 20)
        wait_until(lambda: not alive(children), "and its children", 10)
        assert demo.stop() == 0
