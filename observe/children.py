"""Child processes that end with us: asked first, killed then; and by the kernel if we are killed ourselves."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Children:
    """Starts Python modules as children and stops them, last started first. Start them from the main thread: the
    kernel's promise (PR_SET_PDEATHSIG, which the children ask for) is tied to the thread that started them.
    """

    def __init__(self) -> None:
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(
        self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run ``python -m module arguments``; what it prints goes to `log`. Returns the pid."""
        log.parent.mkdir(parents=True, exist_ok=True)
        child_environment = {**os.environ, **(environment or {}), "OBSERVE_PARENT": str(os.getpid())}
        root = str(Path(__file__).resolve().parent.parent)
        child_environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, child_environment.get("PYTHONPATH"))))
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, env=child_environment, start_new_session=False,
            )
        self._running.append((module, child))
        return child.pid

    def ended(self) -> list[tuple[str, int]]:
        """Children that ended by themselves since the last call: module and exit code."""
        gone = [(module, child.returncode) for module, child in self._running if child.poll() is not None]
        self._running = [(module, child) for module, child in self._running if child.poll() is None]
        return gone

    def stop(self, patience_s: float = 3.0) -> None:
        """SIGTERM, wait, SIGKILL."""
        for _, child in reversed(self._running):
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
        for _, child in reversed(self._running):
            try:
                child.wait(patience_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._running.clear()
