"""One kind of record on its way to a cluster: accepted on disk, sent in bulks, each document followed to its end.

A document ends in one of three ways: the cluster took it, it had it already (409: we send again after every doubt), or
it will never take it (then it is set aside in a file, with the reason). Everything else, 429 and 5xx and a cluster that
is down, is tried again with growing pauses, while the spool takes what comes. The position up to which all has ended is
on disk, so a restart goes on from there.
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from observe import durable
from observe.clock import Clock
from observe.errors import ObserveError, StorageError, Unavailable
from observe.store import elastic_setup
from observe.store.elastic_link import ElasticSettings, is_other_version, translated
from observe.store.elastic_schema import encoded, index_name
from observe.store.spool import Spool
from observe.telemetry import Telemetry

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

logger = logging.getLogger(__name__)

_SWEEP_EVERY_MS: Final = 3_600_000
_OURS_TO_MEND: Final = frozenset({401, 403, 404})
"""Item statuses that say nothing about the document: rights, or an index that may not be created."""
_CLUSTER_ERRORS: Final = frozenset({"validation_exception", "cluster_block_exception", "index_closed_exception"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record as the cluster gets it."""

    seq: int
    index: str
    ident: str
    body: bytes

    @property
    def action(self) -> bytes:
        """Index names and ids are ours: nothing in them needs an escape."""
        return f'{{"create":{{"_index":"{self.index}","_id":"{self.ident}"}}}}'.encode()


Prepare = Callable[[bytes, int, str], tuple[int, str, dict[str, Any]]]
"""(entry of the spool, its number, our node's name) -> (time in ns, document id, document)."""


class Feed:
    """The spool of one kind and the thread that empties it."""

    def __init__(
        self, folder: Path, kind: str, settings: ElasticSettings, client: "Elasticsearch", prepare: Prepare,
        clock: Clock, telemetry: Telemetry,
    ) -> None:
        self.kind = kind
        self.spool = Spool(folder / kind, settings.queue(kind), clock, telemetry, f"elastic {kind}")
        self._folder = folder / kind
        self._settings = settings
        self._client = client
        self._prepare = prepare
        self._clock = clock
        self._telemetry = telemetry
        self._documents = telemetry.counter(
            "observe_elastic_documents_total", "Documents by how they ended.", ("kind", "outcome"))
        self._seconds = telemetry.histogram(
            "observe_elastic_bulk_seconds", "Duration of bulk requests.", ("kind",)).labels(kind)
        self._up = telemetry.gauge(
            "observe_elastic_up", "Whether the cluster took the last bulk.", ("kind",)).labels(kind)
        self._retries = telemetry.counter(
            "observe_elastic_retries_total", "Attempts that have to be made again.", ("kind", "reason"))
        self._node = self._own_name()
        self._position = self._load_position()
        self._ready = False
        self._has_policy = False
        self._swept_ms = 0
        self._failures = 0
        self._reader = ThreadPoolExecutor(1, f"elastic-{kind}-read")
        self._ahead: tuple[int, Future[list[Prepared]]] | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"elastic-{kind}", daemon=True)
        self._thread.start()

    def append(self, entries: Sequence[bytes], keys: NDArray[np.uint64], times_ns: NDArray[np.int64]) -> None:
        """Durable when it returns."""
        self.spool.append(entries, keys, times_ns)
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------ what survives a restart

    def _own_name(self) -> str:
        """Makes the ids of records without an identity ours alone."""
        path = self._folder / "node"
        if not path.exists():
            durable.write_file(path, uuid.uuid4().hex.encode())
        return path.read_text()

    def _load_position(self) -> int:
        try:
            return int(json.loads((self._folder / "position").read_bytes())["seq"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0  # everything again: the cluster knows what it has

    def _move_to(self, seq: int) -> None:
        durable.write_file(self._folder / "position", json.dumps({"seq": seq}).encode())
        with self._changed:
            self._position = seq
            self._changed.notify_all()
        for segment in self.spool.segments[:-1]:
            if segment.end_seq <= seq:
                self.spool.discard(segment, "")

    # ------------------------------------------------------------ the thread

    @property
    def behind(self) -> bool:
        """Something on the disk has not ended yet. An empty segment has numbers but no entries."""
        segments = self.spool.segments
        return any(segment.entries and segment.end_seq > self._position for segment in segments)

    def wait_sent(self, timeout_s: float) -> bool:
        """Wait until everything accepted has ended somewhere; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.behind, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.behind or self._stopping, 600)
                if self._stopping:
                    return
            try:
                asked = self._settle()
                if self.behind:
                    self._send(self._gather())
                    asked = True
                if asked:
                    self._succeeded()
            except Unavailable as error:
                self._failed(error)
            except (OSError, StorageError) as error:
                self._failed(Unavailable(f"cannot write under {self._folder}: {error}; make room on that disk, or give "
                                         "this user the right to write there", reason="disk"))
            except Exception as error:
                logger.exception("elastic %s: sending failed", self.kind)
                self._failed(Unavailable(str(error), reason="bug"))

    def _settle(self) -> bool:
        """Once after a start, and hourly, what the cluster has to be told; whether it was asked anything."""
        asked = not self._ready
        if not self._ready:
            self._has_policy = elastic_setup.prepare(self._client, self._settings, self.kind)
            self._ready = True
        now_ms = self._clock.now_ms()
        if not self._has_policy and now_ms - self._swept_ms >= _SWEEP_EVERY_MS:
            elastic_setup.sweep(self._client, self._settings, self.kind, now_ms)
            self._swept_ms = now_ms
            asked = True
        return asked

    def _succeeded(self) -> None:
        if self._failures:
            logger.info("elastic %s: the cluster takes documents again", self.kind)
        self._failures = 0
        self._up.set(1)

    def _failed(self, error: Unavailable) -> None:
        self._failures += 1
        self._up.set(0)
        self._retries.labels(self.kind, error.reason).inc()
        pause = min(self._settings.longest_pause_s, 0.25 * 2 ** min(self._failures, 12))
        if self._failures in {1, 10} or self._failures % 100 == 0:
            logger.error("elastic %s: %s (attempt %d; lines wait in %s, next attempt in %.1f s)", self.kind, error,
                         self._failures, self._folder, pause)
        self._rest(pause)

    def _rest(self, pause_s: float) -> bool:
        """Real time, whatever the clock: this is about the other side. True when stopping."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, pause_s)

    # ------------------------------------------------------------ sending

    def _gather(self) -> list[Prepared]:
        """The next documents, as many as one bulk takes; waits a little for company."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == self._position and (found := ahead[1].result()):
            return found
        readable = self.spool.end_seq  # before reading: what is appended meanwhile is no damage
        found = self._read(self._position)
        if len(found) < self._settings.bulk_documents // 4 and self._failures == 0 and not self._stopping:
            self._rest(self._settings.flush_every_s)
            readable = self.spool.end_seq
            found = self._read(self._position)
        if not found and readable > self._position:
            self._move_to(readable)  # only damage was left
        return found

    def _read(self, from_seq: int) -> list[Prepared]:
        found: list[Prepared] = []
        size, now_ms = 0, self._clock.now_ms()
        for chunk in self.spool.read(from_seq):
            for place, entry in enumerate(chunk.entries):
                one = self._prepared(entry, chunk.first_seq + place, now_ms)
                if one is None:
                    continue
                found.append(one)
                size += len(one.body) + 120
                if size >= self._settings.bulk_bytes or len(found) >= self._settings.bulk_documents:
                    return found
        return found

    def _prepared(self, entry: bytes, seq: int, now_ms: int) -> Prepared | None:
        try:
            time_ns, ident, document = self._prepare(entry, seq, self._node)
            index = index_name(self._settings.prefix, self.kind, time_ns, now_ms)
            return Prepared(seq, index, ident, encoded(document))
        except Exception as error:
            logger.error("elastic %s: record %d cannot be read: %s", self.kind, seq, error)  # noqa: TRY400
            self._telemetry.dropped(f"elastic {self.kind}", "not readable")
            return None

    def _send(self, documents: list[Prepared]) -> None:
        """Follow every document to its end, then move on."""
        if not documents:
            return
        remaining, attempt, following = documents, 0, documents[-1].seq + 1
        if len(documents) >= self._settings.bulk_documents // 2:  # a backlog: prepare the next while this one is sent
            self._ahead = following, self._reader.submit(self._read, following)
        while remaining:
            remaining = self._bulk(remaining)
            if remaining:
                attempt += 1
                self._up.set(0)
                if self._rest(min(self._settings.longest_pause_s, 0.1 * 2 ** min(attempt, 12))):
                    return  # not moved on: sent again after the restart
        self._move_to(following)

    def _bulk(self, documents: list[Prepared]) -> list[Prepared]:
        """One request; returns the documents that have to be sent again."""
        from elasticsearch import ApiError

        lines: list[bytes] = []
        for one in documents:
            lines += (one.action, one.body)
        with translated(self._settings), self._seconds.time():
            try:
                answer = self._client.bulk(
                    operations=lines,  # type: ignore[arg-type]  # the client passes bytes through, as its docs say
                    filter_path=["errors", "items.create.status", "items.create.error"],
                ).body
            except ApiError as error:
                if error.status_code not in {400, 413} or is_other_version(error):
                    raise
                return self._split(documents, error.status_code, str(error))
        if not _tells_of_each(answer, len(documents)):  # a proxy, or cut short: nothing is known of the documents
            raise Unavailable("the cluster's answer to a bulk does not tell what became of its documents",
                              reason="malformed")
        if not answer["errors"]:
            self._documents.labels(self.kind, "stored").inc(len(documents))
            return []
        return self._sorted(documents, answer["items"])

    def _split(self, documents: list[Prepared], status: int, reason: str) -> list[Prepared]:
        """The request as a whole was too large or not understood: find the document that is to blame."""
        if len(documents) == 1:
            self._set_aside(documents[0], status, reason)
            return []
        half = len(documents) // 2
        return self._bulk(documents[:half]) + self._bulk(documents[half:])

    def _sorted(self, documents: list[Prepared], items: Sequence[Any]) -> list[Prepared]:
        again: list[Prepared] = []
        for one, item in zip(documents, items, strict=True):
            ended = item["create"]
            status, error = int(ended["status"]), ended.get("error", {})
            if status < 300:
                self._documents.labels(self.kind, "stored").inc()
            elif status == 409:
                self._documents.labels(self.kind, "repeat").inc()
            elif status in _OURS_TO_MEND or error.get("type") in _CLUSTER_ERRORS:
                raise Unavailable(f"the cluster refuses to write {one.index}: {error.get('reason', status)}",
                                  reason=f"item {status}")
            elif status == 429 or status >= 500:
                again.append(one)
            else:
                self._set_aside(one, status, _told(error))
        if again:
            self._retries.labels(self.kind, "busy").inc(len(again))
        return again

    def _set_aside(self, one: Prepared, status: int, reason: str) -> None:
        """Keep what the cluster will never take where a person can mend and send it."""
        self._documents.labels(self.kind, "rejected").inc()
        self._telemetry.dropped(f"elastic {self.kind}", f"rejected {status}")
        path = self._folder / "rejected.ndjson"
        row = b'{"status":%d,"reason":%s,"index":%s,"id":%s,"document":%s}\n' % (
            status, json.dumps(reason[:1000]).encode(), json.dumps(one.index).encode(), json.dumps(one.ident).encode(),
            one.body)
        try:
            if path.exists() and path.stat().st_size + len(row) > self._settings.rejected_bytes // 2:
                path.replace(path.with_name("rejected.1.ndjson"))
                logger.warning("elastic %s: %s was full and is now rejected.1.ndjson; an older one is gone",
                               self.kind, path)
            with path.open("ab") as file:
                file.write(row)
        except OSError as error:
            raise Unavailable(f"cannot write {path}: {error}", reason="disk") from error
        logger.error("elastic %s: the cluster rejects a document (%d, %s); it is set aside in %s", self.kind, status,
                     reason[:300], path)

    def close(self) -> None:
        """Stop sending; what was not sent waits on the disk."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        self._reader.shutdown()
        self.spool.close()


def _tells_of_each(answer: Any, documents: int) -> bool:
    if not isinstance(answer, dict) or not isinstance(answer.get("errors"), bool):
        return False
    items = answer.get("items")
    return not answer["errors"] or (isinstance(items, list) and len(items) == documents)


def _told(error: Any) -> str:
    """An item's error with its causes: the first says which field, the last says why."""
    parts: list[str] = []
    while isinstance(error, dict) and len(parts) < 4:
        parts.append(f"{error.get('type')}: {error.get('reason')}")
        error = error.get("caused_by")
    return "; because ".join(parts)


def close_all(feeds: Sequence[Feed]) -> None:
    for feed in feeds:
        try:
            feed.close()
        except ObserveError as error:
            logger.error("closing %s failed: %s", feed.kind, error)  # noqa: TRY400
