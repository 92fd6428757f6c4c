"""Samples out by remote write 1.0: bands and recordings go to the store that a team already has.

A `SampleSink` with a bounded queue and one thread that sends, so order in a series is kept. What the other side refuses
for good is counted; while it is down the newest samples wait and the oldest are dropped, counted too.
After https://prometheus.io/docs/specs/prw/remote_write_spec/.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import cramjam
import httpx
import numpy as np
from numpy.typing import NDArray

from observe._version import __version__
from observe.clock import Clock
from observe.collect.protobuf import block, varint
from observe.model import Exemplar, Frame, Labels, MetricMetadata, is_absent
from observe.protocols import NO_SERIES, Appended
from observe.store.unsent import Unsent
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

STAGE = "remote write"


@dataclass(frozen=True, slots=True)
class RemoteWriteSettings:
    """Where samples go, and how much may wait."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request; values are secrets and never shown."""
    timeout_s: float = 10.0
    max_samples: int = 1_000_000
    """Samples that wait while the other side is down."""
    batch: int = 5_000
    max_series: int = 2_000_000
    retry_first_s: float = 0.1
    retry_most_s: float = 10.0
    stop_s: float = 2.0
    """How long a stop waits for what is still in the queue."""


@dataclass(frozen=True, slots=True)
class _Batch:
    time_ms: int
    ids: NDArray[np.uint32]
    values: NDArray[np.float64]


class RemoteWriter:
    """Sends what is appended. `start` it, `stop` it; safe from any thread."""

    def __init__(
        self, settings: RemoteWriteSettings, clock: Clock, telemetry: Telemetry,
        transport: httpx.BaseTransport | None = None, folder: Path | None = None,
    ) -> None:
        """In `folder` is kept how many samples are on their way: those of a process that was killed are counted."""
        self.settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._where = f"{urlsplit(settings.url).scheme}://{urlsplit(settings.url).netloc.rpartition('@')[2]}"
        self._client = httpx.Client(
            timeout=settings.timeout_s, trust_env=False, follow_redirects=False, transport=transport,
            headers={
                **settings.headers, "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "0.1.0", "User-Agent": f"observe/{__version__}",
            },
        )
        self._ids: dict[Labels, int] = {}
        self._names: list[bytes] = []
        self._queue: deque[_Batch] = deque()
        self._waiting = 0
        self._under_way = 0
        self._unsent = Unsent(folder / "unsent") if folder is not None else None
        if self._unsent is not None and self._unsent.lost:
            telemetry.dropped(STAGE, "killed", self._unsent.lost)
            _log.warning("the process before was killed while %d samples waited to be sent to %s: they are lost",
                         self._unsent.lost, self._where)
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._was_down = False
        self._sent = telemetry.counter(
            "observe_remote_write_samples_total", "Samples handed to the attached store, by result.", ("result",))
        telemetry.gauge("observe_remote_write_pending_samples", "Samples that wait to be sent.").set_function(
            lambda: self._waiting)

    # ------------------------------------------------------------ SampleSink

    def series_ids(self, labels: Sequence[Labels], owner: str = "") -> NDArray[np.uint32]:  # noqa: ARG002
        """Ids of our own; the name of a series is encoded once."""
        found = np.empty(len(labels), dtype=np.uint32)
        with self._lock:
            for place, one in enumerate(labels):
                known = self._ids.get(one)
                if known is None:
                    if len(self._names) >= self.settings.max_series:
                        found[place] = NO_SERIES
                        continue
                    known = self._ids[one] = len(self._names)
                    self._names.append(_name(one))
                found[place] = known
        return found

    def append(self, frame: Frame) -> Appended:
        """Queue the samples; they are on their way, not yet there, when this returns."""
        there = ~is_absent(np.ascontiguousarray(frame.values))
        stored = 0
        with self._lock:
            for row, time_ms in enumerate(frame.timestamps.tolist()):
                ids = frame.ids[there[row]]
                if len(ids):
                    # Copies keep the bits of NaNs: a staleness marker must arrive as one.
                    self._queue.append(_Batch(int(time_ms), ids.copy(), frame.values[row, there[row]].copy()))
                    stored += len(ids)
            self._waiting += stored
            dropped = 0
            while self._waiting > self.settings.max_samples and len(self._queue) > 1:
                oldest = self._queue.popleft()
                self._waiting -= len(oldest.ids)
                dropped += len(oldest.ids)
            self._note()
        if dropped:
            self._telemetry.dropped(STAGE, "queue full", dropped)
        self._work.set()
        return Appended(stored=stored)

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        """Rules write none."""

    def append_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Rules write none."""

    # ------------------------------------------------------------ sending

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="remote-write", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what is left for a moment, then end."""
        self._over.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._client.close()
        if self._unsent is not None:
            self._unsent.close()

    def _run(self) -> None:
        deadline: float | None = None
        while True:
            batch = self._next()
            if batch is None:
                if self._over.is_set():
                    return
                self._work.wait()
                self._work.clear()
                continue
            if self._over.is_set() and deadline is None:
                deadline = self._clock.monotonic() + self.settings.stop_s
            if not self._deliver(batch, deadline):
                with self._lock:
                    self._telemetry.dropped(STAGE, "stopped", self._under_way + self._waiting)
                    self._queue.clear()
                    self._waiting = self._under_way = 0
                    self._note()
                return

    def _next(self) -> _Batch | None:
        with self._lock:
            self._under_way = 0
            if not self._queue:
                self._note()
                return None
            batch = self._queue.popleft()
            limit = self.settings.batch
            if len(batch.ids) > limit:
                self._queue.appendleft(_Batch(batch.time_ms, batch.ids[limit:], batch.values[limit:]))
                batch = _Batch(batch.time_ms, batch.ids[:limit], batch.values[:limit])
            self._waiting -= len(batch.ids)
            self._under_way = len(batch.ids)
            self._note()
            return batch

    def _note(self) -> None:
        if self._unsent is not None:
            self._unsent.note(self._waiting + self._under_way)

    def _deliver(self, batch: _Batch, deadline: float | None) -> bool:
        """Try until it is there or refused for good; False when the time to stop is over."""
        body = cramjam.snappy.compress_raw(self.encode(batch))
        pause_s = self.settings.retry_first_s
        while True:
            problem, retry = self._post(bytes(body))
            count = len(batch.ids)
            if problem is None:
                self._sent.labels("ok").inc(count)
                if self._was_down:
                    self._was_down = False
                    _log.info("remote write to %s works again", self._where)
                return True
            if not retry:
                self._sent.labels("refused").inc(count)
                _log.warning("remote write: %s refused %d samples: %s", self._where, count, problem)
                return True
            self._sent.labels("retried").inc(count)
            if not self._was_down:
                self._was_down = True
                _log.warning("remote write to %s does not work: %s; it is tried again", self._where, problem)
            if deadline is None and self._over.is_set():
                deadline = self._clock.monotonic() + self.settings.stop_s
            if deadline is not None and self._clock.monotonic() >= deadline:
                return False
            if deadline is None:
                self._clock.wait(self._over, pause_s)
            else:
                self._clock.wait(threading.Event(), min(pause_s, 0.2))
            pause_s = min(2 * pause_s, self.settings.retry_most_s)

    def _post(self, body: bytes) -> tuple[str | None, bool]:
        try:
            answer = self._client.post(self.settings.url, content=body)
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__, True
        if answer.is_success and not answer.content.lstrip().startswith(b"<"):
            return None, False
        if answer.is_success:
            return f"{answer.status_code} with a web page; {_WRONG_ADDRESS}", True
        words = " ".join(answer.text[:200].split())
        to_do = _TO_DO.get(answer.status_code, _WRONG_ADDRESS if answer.is_redirect else "")
        again = bool(to_do) or answer.status_code == 429 or answer.status_code >= 500
        return f"{answer.status_code} {words}{'; ' if to_do and words else ''}{to_do}", again

    def encode(self, batch: _Batch) -> bytes:
        """The protobuf `WriteRequest` of one batch: one time, one sample a series."""
        stamp = b"\x10" + varint(batch.time_ms)
        head = b"\x12" + varint(9 + len(stamp)) + b"\x09"
        raw = np.ascontiguousarray(batch.values, dtype="<f8").tobytes()
        parts: list[bytes] = []
        names = self._names
        for place, one in enumerate(batch.ids.tolist()):
            name = names[one]
            parts += (
                b"\x0a", varint(len(name) + len(head) + 8 + len(stamp)), name, head,
                raw[8 * place : 8 * place + 8], stamp,
            )
        return b"".join(parts)


_WRONG_ADDRESS = "correct `attach.prometheus.write_url`, or the proxy before it"
# What a person can mend: the samples are kept meanwhile, as many as there is room for.
_TO_DO = {
    401: "it refuses us: correct `headers:` under `attach: prometheus:`",
    403: "it refuses us: correct `headers:` under `attach: prometheus:`",
    404: "nothing takes remote write there: start Prometheus with --web.enable-remote-write-receiver, "
         "or correct `attach.prometheus.write_url`",
    405: _WRONG_ADDRESS,
}


def _name(labels: Labels) -> bytes:
    """The `labels` fields of a `TimeSeries`, sorted by name as the protocol wants."""
    return b"".join(block(1, block(1, name.encode()) + block(2, value.encode())) for name, value in labels.pairs)
