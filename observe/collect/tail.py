"""Follow log files line by line into a sink: nothing lost, nothing twice by uid.

A line is handed to the sink first and its position kept after: a crash between the two repeats lines, under the same
uids (file identity, generation and offset), which the stores know.
"""

import logging
import threading
from pathlib import Path

from observe.clock import Clock
from observe.collect.tail_handle import OpenFile
from observe.collect.tail_lines import read_lines
from observe.collect.tail_open import OpenFiles
from observe.collect.tail_position import PositionFile
from observe.collect.tail_settings import TailSettings
from observe.errors import ObserveError, StorageError
from observe.protocols import SignalSink
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

class FileTail:
    """Follows the files of one `TailSettings` on a thread of its own; `poll` is one round of it."""

    def __init__(
        self, settings: TailSettings, sink: SignalSink, folder: Path, clock: Clock, telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._clock = clock
        self._telemetry = telemetry
        self.files = OpenFiles(settings, PositionFile(folder, settings.paths), clock, telemetry)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._complaint = ""
        self._lines = telemetry.counter("observe_tail_lines_total", "Log lines read from files and stored.")
        self._retries = telemetry.counter("observe_tail_retries_total", "Batches that the sink refused for now.")

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="observe-tail", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop reading and keep the positions."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        else:
            self.close()

    def close(self) -> None:
        self.files.close()

    def _run(self) -> None:
        wait_ms = self._settings.poll_ms
        while not self._stop.is_set():
            try:
                busy = self.poll()
                wait_ms = 0 if busy else self._settings.poll_ms
                self._complaint = ""
            except Exception as error:
                self._retries.inc()
                self._complain(error)
                wait_ms = min(max(wait_ms, self._settings.poll_ms) * 2, self._settings.longest_wait_ms)
            if wait_ms:
                self._clock.wait(self._stop, wait_ms / 1000)
        try:
            self.close()
        except StorageError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Once for each trouble: it is tried again, and a sink may be down for hours."""
        said = f"{type(error).__name__}: {error}"
        if said != self._complaint:
            self._complaint = said
            expected = isinstance(error, ObserveError)
            _log.warning("following %s: %s; it is tried again", ", ".join(self._settings.paths),
                         error if expected else said, exc_info=None if expected else error)

    def poll(self) -> bool:
        """Look at the files once and store what is new, a bounded part of each. True: there may be more at once.

        Raises what the sink raises; nothing is lost by it, the same lines come again.
        """
        self.files.look()
        busy = False
        for file in self.files.all():
            with self.files.alone(file.position.path):
                busy = self._read(file) or busy
        for file in self.files.over():
            with self.files.alone(file.position.path):
                self._store_rest(file)
            self.files.let_go(file)
        self.files.save_when_due()
        return busy

    def _read(self, file: OpenFile) -> bool:
        """Store the next part of a file. True: it was a whole part, there may be more."""
        longest = self._settings.max_line_bytes
        most = max(self._settings.read_bytes, longest)
        data = file.part(most)
        if not data or not self.files.identify(file):
            return False
        whole = data[: data.rfind(b"\n") + 1]
        unfinished = not whole and len(data) >= longest  # the beginning of a line beyond all bounds
        if not (whole or unfinished) or not file.intact():
            return False  # half a line; or truncated while we read: the next look finds out
        self._store(file, whole or data, unfinished=unfinished)
        return len(data) == most

    def _store_rest(self, file: OpenFile) -> None:
        """The last line of a file that is gone may lack its end."""
        rest = file.part(self._settings.max_line_bytes)
        if rest and b"\n" not in rest and file.position.head and file.intact():
            self._store(file, rest, unfinished=True)

    def _store(self, file: OpenFile, data: bytes, *, unfinished: bool) -> None:
        found = read_lines(
            data, file.position, service=self._settings.service, now_ns=self._clock.now_ms() * 1_000_000,
            longest=self._settings.max_line_bytes, unfinished=unfinished,
        )
        if found.records:
            self._sink.append(found.records, ())
            self._lines.inc(len(found.records))
        if found.cut:
            self._telemetry.dropped("tail", "line cut", found.cut)
        if found.plain:
            self._telemetry.dropped("tail", "not JSON, kept as text", found.plain)
        self.files.advance(file, data, skipping=unfinished)
