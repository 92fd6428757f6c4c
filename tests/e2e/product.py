"""The whole product as a child process, as a person would start it, and ways to ask it things."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.real.process import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]


QUICK = "scrape: {interval: 1s}\nevaluation_interval: 1s\n"
"""For observe.yml, with --demo: baselines, which count points, are ready in half of the demo's own time."""


def soon_over(folder):
    """All shipped rules, but pages end at once: for scenarios that would otherwise only wait for `keep_firing_for`."""
    for path in (ROOT / "alert_rules").glob("*.yml"):
        (folder / path.name).write_text(path.read_text().replace("keep_firing_for: 2m", "keep_firing_for: 5s"))
    return folder / "*.yml"


def quick_rules(folder):
    """The shipped rules of model servers over windows of 20 s, for scenarios that are not about those windows."""
    text = (ROOT / "alert_rules" / "inference.yml").read_text()
    for shipped, quick in {"[1m]": "[20s]", "keep_firing_for: 2m": "keep_firing_for: 5s"}.items():
        assert shipped in text
        text = text.replace(shipped, quick)
    path = folder / "quick.yml"
    path.write_text(text)
    return path


class Product:
    """`observe up …` on a port of its own. `interrupt` or `kill` stops it; `start` runs it again on the same data."""

    def __init__(self, data, *arguments):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = Path(data)
        self._arguments = [str(argument) for argument in arguments]
        self.lines = []
        self.process = None

    def start(self):
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "observe", "up", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.data),
             *self._arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        wait_until(self._ready, "observe is ready", 100, 0.2)
        return self

    def _read(self, stream):
        with stream:
            for line in stream:
                self.lines.append(f"{time.monotonic() - self.started:6.1f} {line.rstrip()}")

    def _ready(self):
        if self.process.poll() is not None:
            pytest.fail("observe ended:\n" + "\n".join(self.lines))
        with urllib.request.urlopen(self.url + "/-/ready", timeout=15) as answer:
            return answer.status == 200

    def get(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in {404, 503}:
                return {}
            raise AssertionError(f"GET {path}: {error.code} {error.read()[:500]!r}") from error

    def query(self, expr):
        """The result of an instant query: a list of (labels, value)."""
        answer = self.get("/api/v1/query?query=" + urllib.request.quote(expr))
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]

    def label_values(self, selector, label):
        asked = urllib.request.quote(selector)
        return self.get(f"/api/v1/label/{label}/values?match[]={asked}")["data"]

    def alerts(self, state="firing"):
        return [alert for alert in self.get("/api/v1/alerts")["data"]["alerts"] if alert["state"] == state]

    @property
    def gateway(self):
        """The address of the demo's gateway, from what the product printed."""
        return wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+(?=/faults)", "\n".join(self.lines)),
                          "the gateway's address is printed", 30)[0]

    def fault(self, name, seconds):
        request = urllib.request.Request(f"{self.gateway}/faults/{name}?seconds={seconds}", method="POST")
        urllib.request.urlopen(request, timeout=60).close()

    def end_fault(self, name):
        request = urllib.request.Request(f"{self.gateway}/faults/{name}", method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()

    def interrupt(self):
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(120)
        self._reader.join(30)
        return code

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait(60)
        self._reader.join(30)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is not None:
            print("\n".join(self.lines))
        if self.process and self.process.poll() is None:
            self.kill()


def descendants(pid):
    """Every process below `pid`, from /proc."""
    children = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found, open_pids = [], [pid]
    while open_pids:
        below = children.get(open_pids.pop(), [])
        found += below
        open_pids += below
    return found


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()
            and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]]
