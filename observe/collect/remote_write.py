"""Remote write 1.0, receiving: what other Prometheus servers send becomes frames of the store.

A series comes with the same label bytes every time: they are looked up as they are. Samples are decoded by a kernel and
go on in as few frames as their times allow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as columns_of
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observe.collect import remote_write_kernels as kernels
from observe.collect.protobuf import block, double, fields, signed, string
from observe.errors import LimitExceeded, MalformedData
from observe.model import Exemplar, Frame, Labels, MetricMetadata
from observe.protocols import NO_SERIES, Appended, SampleSink
from observe.telemetry import Telemetry

_WORDS: Final = {
    kernels.TRUNCATED: "the message is cut short, or is no WriteRequest",
    kernels.WIRE_TYPE: "the message is no WriteRequest",
    kernels.SCATTERED: "the labels of a series do not stand together",
}
_TYPES: Final = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")
OWNER: Final = "remote write"


@dataclass(frozen=True, slots=True)
class RemoteWriteSettings:
    """Bounds of the receiver."""

    max_body_bytes: int = 32 * 1024 * 1024
    """As sent, compressed."""
    max_inflated_bytes: int = 128 * 1024 * 1024
    max_waiting: int = 64
    """Requests that wait for the data thread; beyond them the sender is asked to come back (503)."""
    known_series: int = 1_000_000
    """Series whose label bytes are remembered."""
    retry_after_s: int = 1


@dataclass(frozen=True, slots=True)
class Columns:
    """A decoded WriteRequest."""

    data: bytes
    labels: NDArray[np.int64]
    """[S, 2] where the labels of each series are in `data`."""
    offsets: NDArray[np.int64]
    """[S + 1]."""
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    exemplars: NDArray[np.int64]
    """[E, 3] series, begin, end."""
    metadata: NDArray[np.int64]
    """[M, 2]."""
    histograms: int


def decode(data: bytes) -> Columns:
    """The columns of an uncompressed WriteRequest. Raises `MalformedData`."""
    view = np.frombuffer(data, np.uint8)
    counts = np.zeros(5, np.int64)
    sizes = counts
    for fill in (False, True):
        series, samples, exemplars, metadata, _ = sizes.tolist()
        labels, offsets = np.empty((series, 2), np.int64), np.zeros(series + 1, np.int64)
        times, bits = np.empty(samples, np.int64), np.empty(samples, np.uint64)
        places, told = np.empty((exemplars, 3), np.int64), np.empty((metadata, 2), np.int64)
        status = kernels.walk(view, fill, labels, offsets, times, bits, places, told, counts)
        if status != kernels.OK:
            raise MalformedData(_WORDS[status])
        sizes = counts.copy()
    return Columns(data, labels, offsets, times, bits.view(np.float64), places, told, int(counts[kernels.HISTOGRAMS]))


def inflate(body: bytes, limit: int) -> bytes:
    """Undo the snappy block, never beyond `limit` bytes."""
    import cramjam

    size = shift = 0
    for byte in body[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if size > limit:
        raise LimitExceeded(f"the body has {size} bytes once decompressed, {limit} are allowed; send smaller batches",
                            "max_inflated_bytes")
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except Exception as error:
        raise MalformedData(f"the body is not a snappy block: {error}", "snappy") from error


class RemoteWriteStore:
    """Keeps decoded requests. Used by the data thread alone."""

    def __init__(self, sink: SampleSink, settings: RemoteWriteSettings, telemetry: Telemetry) -> None:
        self._sink = sink
        self._settings = settings
        self._telemetry = telemetry
        self._ids: dict[bytes, int] = {}
        self._samples = telemetry.counter(
            "observe_remote_write_received_samples_total", "Samples received by remote write.",
        )

    def keep(self, body: bytes) -> Appended:
        """Decompress, decode and store one request; what became of its samples."""
        columns = decode(inflate(body, self._settings.max_inflated_bytes))
        done = self._append(columns)
        if done.unknown:  # series that were silent for long have lost their ids: ask again, once
            self._ids.clear()
            done = replace(self._append(columns), duplicate=0)
        if columns.histograms:
            self._telemetry.dropped("remote write", "native histogram", columns.histograms)
        if len(columns.metadata):
            self._sink.append_metadata(dict(_metadata(columns)))
        self._samples.inc(len(columns.times))
        return done

    def _append(self, columns: Columns) -> Appended:
        ids = self._ids_of(columns)
        done = [self._sink.append(frame) for frame in frames(columns, ids)]
        counts = np.diff(columns.offsets)
        refused = int(counts[ids == NO_SERIES].sum())
        if refused:
            done.append(Appended(over_limit=refused))
        if len(columns.exemplars):
            self._sink.append_exemplars(list(_exemplars(columns)))
        return _sum(done)

    def _ids_of(self, columns: Columns) -> NDArray[np.uint32]:
        data, known = columns.data, self._ids
        places = columns.labels.tolist()
        find = known.get
        ids = np.fromiter((find(data[begin:end], -1) for begin, end in places), np.int64, len(places))
        missing = np.flatnonzero(ids < 0).tolist()
        if missing:
            keys = {at: data[places[at][0] : places[at][1]] for at in missing}
            named = {key: read_labels(key) for key in keys.values()}
            given = self._sink.series_ids(list(named.values()), OWNER)
            if len(known) + len(named) > self._settings.known_series:
                known.clear()
            fresh = dict(zip(named, given.tolist(), strict=True))
            known.update((key, number) for key, number in fresh.items() if number != NO_SERIES)
            for at in missing:
                ids[at] = fresh[keys[at]]
        return ids.astype(np.uint32)


def frames(columns: Columns, ids: NDArray[np.uint32]) -> Iterator[Frame]:
    """The samples as dense blocks: series that have the same times together."""
    counts = np.diff(columns.offsets)
    wanted = np.flatnonzero((ids != NO_SERIES) & (counts > 0))
    while len(wanted):
        now, wanted = _each_once(wanted, ids)
        for count in np.flatnonzero(np.bincount(counts[now])).tolist():
            series = now[counts[now] == count]
            slots = columns.offsets[series][:, None] + np.arange(count)
            yield from _same_count(columns.times[slots], columns.values[slots], ids[series])


def _each_once(wanted: NDArray[np.intp], ids: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places whose series differ, and those left: a series twice in a request goes one after the other."""
    inorder = np.sort(ids[wanted])
    if (inorder[1:] != inorder[:-1]).all():
        return wanted, wanted[:0]
    _, first = np.unique(ids[wanted], return_index=True)
    now = wanted[np.sort(first)]
    return now, np.setdiff1d(wanted, now, assume_unique=True)


def _same_count(
    times: NDArray[np.int64], values: NDArray[np.float64], ids: NDArray[np.uint32],
) -> Iterator[Frame]:
    """Frames of series with equally many samples: `times` and `values` are [S, T]."""
    if times.shape[1] > 1 and not (np.diff(times, axis=1) > 0).all():
        for column in range(times.shape[1]):  # not in the order of time: one by one
            yield from _same_count(times[:, column : column + 1], values[:, column : column + 1], ids)
        return
    if (times == times[0]).all():
        yield Frame(times[0].copy(), ids, np.ascontiguousarray(values.T))
        return
    order = np.lexsort(times.T[::-1]) if times.shape[1] > 1 else np.argsort(times[:, 0], kind="stable")
    rows = times[order]
    starts = np.flatnonzero(np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)]))
    for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        some = order[begin:end]
        yield Frame(rows[begin].copy(), ids[some], np.ascontiguousarray(values[some].T))


def read_labels(data: bytes) -> Labels:
    """Labels as they stand in a TimeSeries."""
    pairs = []
    for _, part in fields(data):
        if not isinstance(part, bytes):
            raise MalformedData("a label is no message")
        name = value = ""
        for number, text in fields(part):
            if number == 1:
                name = string(text)
            elif number == 2:
                value = string(text)
        if not name:
            raise MalformedData("a label has no name")
        pairs.append((name, value))
    if len({name for name, _ in pairs}) != len(pairs):
        raise MalformedData(f"a label is given twice in {pairs}")
    labels = Labels(pairs)
    if not labels.pairs:
        raise MalformedData("a series has no labels")
    return labels


def _exemplars(columns: Columns) -> Iterator[Exemplar]:
    for series, begin, end in columns.exemplars.tolist():
        first, last = columns.labels[series].tolist()
        labels, value, time_ms = b"", 0.0, 0
        for number, part in fields(columns.data[begin:end]):
            if number == 1 and isinstance(part, bytes):
                labels += block(1, part)
            elif number == 2:
                value = double(part)
            elif number == 3:
                time_ms = signed(part)
        of = read_labels(columns.data[first:last])
        yield Exemplar(of, read_labels(labels) if labels else Labels(), value, time_ms)


def _metadata(columns: Columns) -> Iterator[tuple[str, MetricMetadata]]:
    for begin, end in columns.metadata.tolist():
        said: dict[int, Any] = dict(fields(columns.data[begin:end]))
        kind = said.get(1, 0)
        yield string(said.get(2, b"")), MetricMetadata(
            _TYPES[kind] if isinstance(kind, int) and kind < len(_TYPES) else "unknown", string(said.get(4, b"")),
            string(said.get(5, b"")),
        )


def _sum(parts: Sequence[Appended]) -> Appended:
    return Appended(**{
        column.name: sum(getattr(part, column.name) for part in parts) for column in columns_of(Appended)
    })
