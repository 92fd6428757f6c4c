"""A disk that is really full, where this user may mount a small one: refused clearly, read on, mended by itself."""

import contextlib
import subprocess

import numpy as np
import pytest

from observe.errors import StorageError
from observe.model import Frame, Labels
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

START = 1_700_006_400_000
STEP_MS = 15_000


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_reads_on_and_recovers(small_disk):
    clock = ManualClock(START)
    settings = MetricSettings(cache_bytes=0, cut_idle_ms=60_000)
    store = MetricStore(small_disk / "metrics", settings, clock, Telemetry())
    ids = store.series_ids([Labels({"__name__": f"m{n}"}) for n in range(300)])
    rng = np.random.default_rng(1)
    kept = []

    def times_of(store, name="m7"):
        found = store.select([], START, 2**62)
        at = [labels.name for labels in found.labels].index(name)
        return found.timestamps[found.offsets[at] : found.offsets[at + 1]].tolist()

    def until_full(target):
        while True:
            clock.advance_ms(STEP_MS)
            target.append(Frame(np.array([clock.now_ms()]), ids, rng.random((1, 300))))
            kept.append(clock.now_ms())

    with pytest.raises(StorageError, match="No space left on device"):
        until_full(store)
    assert len(kept) > 100
    assert times_of(store) == kept
    clock.advance("2h")
    for _ in range(3):  # blocks find no room either, and nothing is lost by trying
        with contextlib.suppress(StorageError):
            store.maintain(clock.now_ms(), 60.0)
        clock.advance("10m")
    assert times_of(store) == kept

    again = MetricStore(small_disk / "metrics", settings, clock, Telemetry())
    assert times_of(again) == kept
    with pytest.raises(StorageError, match="free some space"):
        until_full(again)

    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    before = times_of(again)
    now_ms = clock.advance_ms(STEP_MS)
    again.append(Frame(np.array([now_ms]), ids, rng.random((1, 300))))
    clock.advance("3h")
    for _ in range(3):
        again.maintain(clock.now_ms(), 60.0)
        clock.advance("10m")

    assert again.stats()["blocks"] >= 2
    assert times_of(again) == [*before, now_ms]
    last = MetricStore(small_disk / "metrics", settings, clock, Telemetry())
    assert times_of(last) == times_of(again)
    assert last.damages() == []
