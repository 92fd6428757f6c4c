"""Small real sinks for tests of collection: they keep what they are given."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from observe.model import STALE_NAN_BITS, Exemplar, Frame, Labels, LogRecord, MetricMetadata, Span, is_absent
from observe.protocols import NO_SERIES, Appended


@dataclass
class KeptSamples:
    """A `SampleSink` in dictionaries; `limit` series at most. Who reads it meanwhile finds frames whole."""

    limit: int = 1_000_000
    ids: dict[Labels, int] = field(default_factory=dict)
    samples: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    exemplars: list[Exemplar] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    metadata: dict[str, MetricMetadata] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def series_ids(self, labels: Sequence[Labels], owner: str = "") -> NDArray[np.uint32]:
        with self.lock:
            self.owners.add(owner)
            given = [
                self.ids.setdefault(each, len(self.ids))
                if each in self.ids or len(self.ids) < self.limit else NO_SERIES for each in labels
            ]
        return np.array(given, np.uint32)

    def append(self, frame: Frame) -> Appended:
        assert frame.values.shape == (len(frame.timestamps), len(frame.ids))
        absent = is_absent(frame.values)
        with self.lock:
            self.frames.append(frame)
            for t, time_ms in enumerate(frame.timestamps.tolist()):
                for n, series_id in enumerate(frame.ids.tolist()):
                    assert series_id != NO_SERIES
                    if not absent[t, n]:
                        self.samples.setdefault(series_id, []).append((time_ms, float(frame.values[t, n])))
        return Appended(stored=int((~absent).sum()))

    def append_exemplars(self, exemplars: Sequence[Exemplar]) -> None:
        self.exemplars.extend(exemplars)

    def append_metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        self.metadata.update(metadata)

    def of(self, **labels: str) -> list[tuple[int, float | str]]:
        """Samples of the one series with these labels (and maybe more), the marker shown as "stale"."""
        with self.lock:
            found = [(name, at) for name, at in self.ids.items() if labels.items() <= dict(name).items()]
            assert len(found) == 1, [str(name) for name, _ in found]
            kept = list(self.samples.get(found[0][1], []))
        return [
            (time_ms, "stale" if np.float64(value).view(np.uint64) == STALE_NAN_BITS else value)
            for time_ms, value in kept
        ]

    def names(self) -> set[str]:
        with self.lock:
            return {str(labels) for labels in self.ids}


@dataclass
class KeptSignals:
    """A `SignalSink` in lists; raises what `refuse` says instead of keeping."""

    logs: list[LogRecord] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    refuse: Exception | None = None

    def append(self, logs: Sequence[LogRecord], spans: Sequence[Span]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.logs.extend(logs)
        self.spans.extend(spans)
