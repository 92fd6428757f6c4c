"""Bands out by remote write: what is sent, and what becomes of it while the other side is down or refuses."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest

from observe.clock import SystemClock
from observe.model import ABSENT_NAN, STALE_NAN, Frame, Labels, is_stale
from observe.protocols import NO_SERIES
from observe.store.remote_write import RemoteWriter, RemoteWriteSettings
from observe.telemetry import Telemetry

UP = Labels({"__name__": "up", "job": "é"})


def decoded(body: bytes) -> list[tuple[Labels, float, int]]:
    """By the receiving side of collect, which is tried with a real Prometheus."""
    from observe.collect.remote_write import RemoteWriteSettings as Receiving
    from observe.collect.remote_write import RemoteWriteStore
    from observe.testing import MemorySink, MemorySource

    source = MemorySource()
    RemoteWriteStore(MemorySink(source), Receiving(), Telemetry()).keep(body)
    samples = source.select([], -(2**62), 2**62)
    return [
        (labels, samples.values[at], int(samples.timestamps[at]))
        for place, labels in enumerate(samples.labels)
        for at in range(samples.offsets[place], samples.offsets[place + 1])
    ]


class Other:
    """The other side: keeps what it takes, answers as told."""

    def __init__(self, *answers: int | str) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.changed = threading.Condition()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self.changed:
            status = self.answers.pop(0) if self.answers else 204
            if status == 0:
                raise httpx.ConnectError("refused")
            if status == "slow":
                raise httpx.WriteTimeout("slow")
            if status == "half":
                raise httpx.RemoteProtocolError("peer closed connection")
            if status == "page":
                return httpx.Response(200, text="<html>log in</html>")
            if status < 300:
                self.bodies.append(request.content)
            self.changed.notify_all()
            return httpx.Response(status, text="why")

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.bodies) >= count, 120)


def writer(other: Other, folder=None, **settings) -> tuple[RemoteWriter, Telemetry]:
    telemetry = Telemetry()
    chosen = RemoteWriteSettings("http://store.example/api/v1/write", retry_first_s=0.001, stop_s=0.3, **settings)
    return RemoteWriter(chosen, SystemClock(), telemetry, httpx.MockTransport(other), folder=folder), telemetry


def frame(ids, *values: float, at_ms: int = 1_700_000_000_123) -> Frame:
    return Frame(np.array([at_ms]), np.asarray(ids, dtype=np.uint32), np.array([values]))


def test_names_values_and_times_arrive():
    other = Other()
    out, telemetry = writer(other)
    out.start()
    ids = out.series_ids([UP, Labels({"__name__": "x"})])
    assert out.append(frame(ids, 1.5, -2.0)).stored == 2
    other.wait_for(1)
    out.stop()
    at = 1_700_000_000_123
    assert decoded(other.bodies[0]) == [(UP, 1.5, at), (Labels({"__name__": "x"}), -2.0, at)]
    assert b'observe_remote_write_samples_total{result="ok"} 2.0' in telemetry.exposition()


def test_a_staleness_marker_arrives_as_one_and_what_is_absent_is_not_sent():
    other = Other()
    out, _ = writer(other)
    out.start()
    ids = out.series_ids([UP, Labels({"__name__": "x"})])
    out.append(Frame(np.array([1000]), ids, np.array([[STALE_NAN, ABSENT_NAN]])))
    other.wait_for(1)
    out.stop()
    ((labels, value, _),) = decoded(other.bodies[0])
    assert labels == UP
    assert is_stale(np.array([value])).all()


def test_a_store_that_is_down_gets_it_when_it_is_back_in_order():
    other = Other(0, "slow", "half", 503, 429, 500)
    out, telemetry = writer(other)
    out.start()
    ids = out.series_ids([UP])
    for at in (1, 2, 3):
        out.append(frame(ids, float(at), at_ms=at))
    other.wait_for(3)
    out.stop()
    assert [decoded(body)[0][1:] for body in other.bodies] == [(1.0, 1), (2.0, 2), (3.0, 3)]
    assert b'observe_remote_write_samples_total{result="retried"} 6.0' in telemetry.exposition()


def test_what_is_refused_for_good_is_counted_and_not_repeated():
    other = Other(400)
    out, telemetry = writer(other)
    out.start()
    ids = out.series_ids([UP])
    out.append(frame(ids, 1.0, at_ms=1))
    out.append(frame(ids, 2.0, at_ms=2))
    other.wait_for(1)
    out.stop()
    assert decoded(other.bodies[0])[0][1:] == (2.0, 2)
    assert b'observe_remote_write_samples_total{result="refused"} 1.0' in telemetry.exposition()


@pytest.mark.parametrize(("answer", "words"), [
    (401, "correct `headers:` under `attach: prometheus:`"), (403, "correct `headers:`"),
    (404, "--web.enable-remote-write-receiver"), (302, "attach.prometheus.write_url"),
    ("page", "with a web page; correct `attach.prometheus.write_url`"),
], ids=str)
def test_what_a_person_can_mend_is_told_once_and_the_samples_wait_for_it(caplog, answer, words):
    other = Other(*[answer] * 3)
    out, telemetry = writer(other)
    out.start()
    out.append(frame(out.series_ids([UP]), 1.5))
    other.wait_for(1)
    out.stop()

    assert 1.5 == decoded(other.bodies[0])[0][1]
    assert b'observe_remote_write_samples_total{result="retried"} 3.0' in telemetry.exposition()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [True] == [words in one for one in told], told


def test_the_oldest_wait_no_longer_when_too_many_wait():
    other = Other()
    out, telemetry = writer(other, max_samples=2)
    ids = out.series_ids([UP])
    for at in (1, 2, 3, 4):
        out.append(frame(ids, float(at), at_ms=at))
    out.start()
    other.wait_for(2)
    out.stop()
    assert [decoded(body)[0][1] for body in other.bodies] == [3.0, 4.0]
    assert b'observe_dropped_total{reason="queue full",stage="remote write"} 2.0' in telemetry.exposition()


def test_a_stop_waits_a_moment_and_says_what_it_left():
    other = Other(*[503] * 10_000)
    out, telemetry = writer(other)
    ids = out.series_ids([UP])
    out.append(frame(ids, 1.0))
    out.start()
    out.stop()
    assert b'observe_dropped_total{reason="stopped",stage="remote write"} 1.0' in telemetry.exposition()


def test_large_frames_go_in_batches():
    other = Other()
    out, _ = writer(other, batch=10)
    ids = out.series_ids([Labels({"__name__": "x", "n": str(number)}) for number in range(25)])
    out.append(frame(ids, *map(float, range(25))))
    out.start()
    other.wait_for(3)
    out.stop()
    assert [len(decoded(body)) for body in other.bodies] == [10, 10, 5]


def test_too_many_series_are_refused():
    out, _ = writer(Other(), max_series=1)
    assert out.series_ids([UP, Labels({"__name__": "x"})]).tolist() == [0, int(NO_SERIES)]


@pytest.mark.parametrize("value", [0.0, 1e300, float("inf"), float("nan")])
def test_any_number(value):
    other = Other()
    out, _ = writer(other)
    out.start()
    out.append(frame(out.series_ids([UP]), value))
    other.wait_for(1)
    out.stop()
    assert decoded(other.bodies[0])[0][1] == pytest.approx(value, nan_ok=True)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from observe.clock import SystemClock
from observe.model import Frame, Labels
from observe.store.remote_write import RemoteWriter, RemoteWriteSettings
from observe.telemetry import Telemetry

out = RemoteWriter(RemoteWriteSettings("http://127.0.0.1:1/"), SystemClock(), Telemetry(), folder=Path(sys.argv[1]))
out.start()
ids = out.series_ids([Labels({"__name__": f"m{n}"}) for n in range(3)])
for at in range(5):
    out.append(Frame(np.array([at]), ids, np.ones((1, 3))))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_on_its_way_when_the_process_was_killed_is_counted_by_the_next(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    other = Other()
    out, telemetry = writer(other, folder=tmp_path)
    assert b'observe_dropped_total{reason="killed",stage="remote write"} 15.0' in telemetry.exposition()

    out.append(frame(out.series_ids([UP]), 1.0))
    out.start()
    other.wait_for(1)
    out.stop()

    _, telemetry = writer(other, folder=tmp_path)
    assert b'reason="killed"' not in telemetry.exposition()
