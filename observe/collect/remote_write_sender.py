"""Remote write 1.0, sending: a `SampleSink` whose samples go to another store, such as the bands in attached operation.

A bounded queue of frames and one thread: batches in the order of time, tried again with backoff on network errors, 429
and 5xx for as long as it takes, dropped and counted on other answers. When the queue is full the oldest frames go.
"""

import struct
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe._version import __version__
from observe.clock import Clock
from observe.collect.fetch import authorization
from observe.collect.protobuf import block, varint
from observe.collect.target import Credentials
from observe.model import Exemplar, Frame, Labels, MetricMetadata, is_absent
from observe.protocols import NO_SERIES, Appended
from observe.telemetry import Telemetry

STAGE: Final = "remote write out"


@dataclass(frozen=True, slots=True)
class RemoteWriteSenderSettings:
    """Where samples go, and the bounds of the way."""

    url: str
    """Whole, such as ``http://mimir/api/v1/push`` or ``http://prometheus:9090/api/v1/write``."""
    credentials: Credentials | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra_labels: Mapping[str, str] = field(default_factory=dict)
    """Laid over every series: `replica`, external labels."""
    batch_samples: int = 5_000
    queue_samples: int = 2_000_000
    max_series: int = 1_000_000
    linger_ms: int = 500
    """How long samples wait for company."""
    timeout_s: float = 30.0
    first_backoff_ms: int = 100
    longest_backoff_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class _Queued:
    ids: NDArray[np.uint32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    """[T, N]."""

    @property
    def samples(self) -> int:
        return self.values.size


class RemoteWriteSink:
    """A `SampleSink`; start it, and stop it to send what is queued."""

    def __init__(self, settings: RemoteWriteSenderSettings, clock: Clock, telemetry: Telemetry) -> None:
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._ids: dict[Labels, int] = {}
        self._encoded: list[bytes] = []
        self._queue: deque[_Queued] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.last_error = ""
        self._sent = telemetry.counter("observe_remote_write_sent_samples_total", "Samples that a remote store took.")
        self._retries = telemetry.counter("observe_remote_write_retries_total", "Batches that were sent again.")
        self._waiting = telemetry.gauge("observe_remote_write_queued_samples", "Samples that wait to be sent.")

    # ------------------------------------------------------------ SampleSink

    def series_ids(self, labels: Sequence[Labels], owner: str = "") -> NDArray[np.uint32]:  # noqa: ARG002 - a seam
        ids = np.empty(len(labels), np.uint32)
        for place, series in enumerate(labels):
            known = self._ids.get(series)
            if known is None:
                if len(self._ids) >= self._settings.max_series:
                    ids[place] = NO_SERIES
                    continue
                known = self._ids[series] = len(self._ids)
                named = series.updated(self._settings.extra_labels)
                self._encoded.append(b"".join(
                    block(1, block(1, name.encode()) + block(2, value.encode())) for name, value in named.pairs))
            ids[place] = known
        return ids

    def append(self, frame: Frame) -> Appended:
        """Queue a frame; never blocks. What does not fit pushes out the oldest."""
        refused = frame.ids == NO_SERIES
        over = int(refused.sum()) * len(frame.timestamps)
        queued = _Queued(frame.ids[~refused], frame.timestamps.copy(), frame.values[:, ~refused])
        with self._changed:
            self._queue.append(queued)
            self._queued += queued.samples
            while self._queued > self._settings.queue_samples and len(self._queue) > 1:
                oldest = self._queue.popleft()
                self._queued -= oldest.samples
                self._telemetry.dropped(STAGE, "queue full", oldest.samples)
            self._waiting.set(self._queued)
            self._changed.notify()
        return Appended(stored=queued.samples, over_limit=over)

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        """Exemplars stay here: bands have none."""

    def append_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Metadata stays here."""

    # ------------------------------------------------------------ the thread

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="observe-remote-write", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Send what is queued, for at most `timeout_s`; the rest is counted as dropped."""
        self._stop.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)
        with self._changed:
            if self._queued:
                self._telemetry.dropped(STAGE, "not sent before the end", self._queued)

    def _run(self) -> None:
        import httpx

        backoff_ms = 0
        with httpx.Client(timeout=self._settings.timeout_s, follow_redirects=False) as client:
            while batch := self._next():
                done, wait_ms = self._send(client, batch)
                if done:
                    self._take(batch)
                    backoff_ms = 0
                    continue
                self._retries.inc()
                longest_ms = self._settings.longest_backoff_ms
                backoff_ms = min(max(self._settings.first_backoff_ms, backoff_ms * 2), longest_ms)
                if self._clock.wait(self._stop, max(wait_ms, backoff_ms) / 1000):
                    return  # going down: one try was given, what is left is counted

    def _next(self) -> list[_Queued]:
        """The oldest frames, as many as make a batch; they stay queued until they are sent. Empty: the end."""
        with self._changed:
            while not self._queue:
                if self._stop.is_set():
                    return []
                self._changed.wait(1.0)
            if self._queued < self._settings.batch_samples and not self._stop.is_set():
                self._changed.wait(self._settings.linger_ms / 1000)
            batch: list[_Queued] = []
            count = 0
            for queued in self._queue:
                if batch and count + queued.samples > self._settings.batch_samples:
                    break
                batch.append(queued)
                count += queued.samples
            return batch

    def _take(self, batch: list[_Queued]) -> None:
        with self._changed:
            for sent in batch:
                if self._queue and self._queue[0] is sent:  # it may have been pushed out meanwhile
                    self._queue.popleft()
                    self._queued -= sent.samples
            self._waiting.set(self._queued)

    def _send(self, client: "httpx.Client", batch: list[_Queued]) -> tuple[bool, int]:  # type: ignore[name-defined]  # noqa: F821 - imported by the thread
        """Whether the batch is done with, and how long the other side asks us to wait."""
        import cramjam
        import httpx

        body, samples = self._request(batch)
        if not samples:
            return True, 0
        headers = {
            "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0", "User-Agent": f"observe/{__version__}",
            **self._settings.headers,
        }
        if secret := authorization(self._settings.credentials):
            headers["Authorization"] = secret
        try:
            answer = client.post(self._settings.url, content=bytes(cramjam.snappy.compress_raw(body)), headers=headers)
        except (httpx.HTTPError, OSError) as error:
            self.last_error = f"{self._settings.url} cannot be reached: {str(error) or type(error).__name__}"
            return False, 0
        if answer.is_success:
            self.last_error = ""
            self._sent.inc(samples)
            return True, 0
        self.last_error = f"{self._settings.url} answered {answer.status_code}: {answer.text[:200]}"
        if answer.status_code == 429 or answer.status_code >= 500:
            asked = answer.headers.get("Retry-After", "")
            return False, min(int(asked) * 1000, 60_000) if asked.isdigit() else 0
        self._telemetry.dropped(STAGE, f"answered {answer.status_code}", samples)
        return True, 0

    def _request(self, batch: list[_Queued]) -> tuple[bytes, int]:
        """A WriteRequest with the samples of each series together, and how many there are."""
        by_series: dict[int, list[bytes]] = {}
        count = 0
        for queued in batch:
            present = ~is_absent(queued.values)
            for t, time_ms in enumerate(queued.times.tolist()):
                stamp = b"\x10" + varint(time_ms)
                for n in np.flatnonzero(present[t]).tolist():
                    sample = b"\x09" + struct.pack("<d", queued.values[t, n]) + stamp
                    by_series.setdefault(int(queued.ids[n]), []).append(block(2, sample))
                    count += 1
        return b"".join(
            block(1, self._encoded[series] + b"".join(samples)) for series, samples in by_series.items()
        ), count
