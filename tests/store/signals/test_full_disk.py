"""A disk that is really full: a small file system of its own."""

import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from observe.clock import SystemClock
from observe.errors import StorageError
from observe.store.logs import SignalIndex, SignalSettings
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry
from tests.store.signals.scenario import line, whole

pytestmark = pytest.mark.real
BOUNDS = SpoolSettings(sync_every_s=0)
SETTINGS = SignalSettings(BOUNDS, BOUNDS, index_every_s=0.02)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    program = shutil.which("mount")
    if program is None or subprocess.run(
            [program, "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own (needs root): what a full disk does was not tested on a real one")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_keeps_and_recovers(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 37_000_000)  # however far the index is behind, what was kept fits once this is gone
    store = SignalIndex(small_disk / "store", SETTINGS, SystemClock(), Telemetry())
    store.append([line(0, "from before")], [])
    assert store.wait_indexed(120)
    accepted, refused = 1, None
    while refused is None:
        try:
            store.append([line(accepted + at, "w " + os.urandom(40).hex()) for at in range(500)], [])
            accepted += 500
        except StorageError as error:
            refused = error

    assert "No space left on device; nothing of this batch was kept" in str(refused)
    assert store.search(whole(text="from before")).total == 1  # what was found before is still found

    ballast.unlink()
    store.append([line(accepted, "from after")], [])
    assert store.wait_indexed(120)
    assert store.search(whole(limit=1)).total == accepted + 1
    store.close()

    store = SignalIndex(small_disk / "store", replace(SETTINGS, index_every_s=0.5), SystemClock(), Telemetry())
    assert store.wait_indexed(120)
    assert store.search(whole(limit=1)).total == accepted + 1
    store.close()
