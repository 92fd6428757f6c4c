"""Real components as children of a test: found, started in a fresh folder, waited for, stopped.

A component that is not on the machine skips the test with its name, or fails it where ``CI`` is set: there, nothing may
go missing unnoticed. Children get SIGTERM and, after a limit, SIGKILL, and they die with the test run itself.
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest

_DICE = random.SystemRandom()  # test runs side by side that share a seed would choose the same ports
_GIVEN: set[int] = set()
_SHARES = 16
"""Workers of one run choose among ports of their own: none takes what another has not bound yet."""

PATIENCE = 3
"""Deadlines are for a machine that has time; one that runs everything at once needs more of it."""

_END_S = 120.0
"""What is killed ends at once, but for what the kernel still has to write or to free for it."""


def require(binary: str, *places: str) -> str:
    """The path of `binary` (on PATH, or in one of the folders `places`); else skip, under CI fail."""
    found = shutil.which(binary) or shutil.which(binary, path=os.pathsep.join(places) or None)
    if found is None:
        missing(binary)
    return found


def missing(what: str) -> NoReturn:
    """Skip and say so; under CI fail: there, only the physical GPU may be missing."""
    message = f"{what} is not on this machine: what needs it was not tested"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    """A port on loopback that was free a moment ago, each time another: for components that cannot pick one themselves.

    It lies below those that the kernel gives to connections: one of them may take its port before the component does.
    """
    least, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    above = least if least > 12_000 else 60_000  # a machine that gives nearly all to connections leaves nothing below
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    for _ in range(10_000):
        port = _DICE.randrange(10_000 + share, above, _SHARES)
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _GIVEN:
                probe.bind(("127.0.0.1", port))
                _GIVEN.add(port)
                return port
    raise AssertionError(f"no port from 10000 to {above} is free")


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0, every_s: float = 0.05) -> Any:
    """Wait until `condition` is truthy, and return what it said; exceptions of it count as "not yet".

    Fails with `what` and the last answer or exception.
    """
    timeout_s *= PATIENCE
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except Exception as error:
            last = error
        else:
            if last:
                return last
        time.sleep(every_s)
    raise AssertionError(f"after {timeout_s:g} s still not: {what} (last: {last!r})")


def http_get(url: str, timeout_s: float = 15.0) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        body: bytes = answer.read()
        return body


def http_ok(url: str) -> bool:
    """Whether `url` answers 200; raises where nothing answers."""
    http_get(url)
    return True


class RealProcess:
    """One child process with its output in `folder`/NAME.log. Use as a context manager, or call `stop`.

    `user` runs it as that user where the tests run as root (some servers refuse root); it then owns `folder`,
    which must be one of `open_folder`.
    """

    def __init__(
        self, name: str, argv: Sequence[str], folder: Path, *, env: Mapping[str, str] | None = None, user: str = "",
    ) -> None:
        self.name, self.folder = name, folder
        self.log = folder / f"{name}.log"
        command = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        if user and os.geteuid() == 0:
            give_to(folder, user)
            account = pwd.getpwnam(user)
            command += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        with self.log.open("wb") as out:  # anew: what an earlier child of this name said is not health
            self._child = subprocess.Popen(
                [*command, *argv], cwd=folder, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child.poll() is None

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_healthy(self, probe: Callable[[], object], timeout_s: float = 30.0) -> Self:
        """Wait until `probe` is truthy. A child that ends meanwhile fails at once, with its last output."""

        def alive_and_well() -> object:
            if not self.is_running:
                return "ended"
            return probe()

        try:
            wait_until(alive_and_well, f"{self.name} is healthy", timeout_s)
            assert self.is_running, f"{self.name} ended with {self._child.returncode}"
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n--- {self.log}\n{self.output()[-3000:]}") from error
        return self

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._signal(signal.SIGKILL)
        self._child.wait(_END_S)

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after `timeout_s`; returns the exit status."""
        if self.is_running:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        status = self._child.wait(_END_S)
        self._signal(signal.SIGKILL)  # what it started and left behind in its group
        return status

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it was faster
            os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def give_to(folder: Path, user: str) -> None:
    """Make `user` the owner of `folder` and all in it. It must be one of `open_folder`, to be reached."""
    account = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A fresh folder that another user can reach; gone afterwards.

    Pytest's own are closed to others, and each session that starts closes them again.
    """
    folder = Path(tempfile.mkdtemp(prefix="observe-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
