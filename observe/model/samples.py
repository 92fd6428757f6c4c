"""Samples as they pass: frames on their way in, rows and dense blocks on their way out. Columns, never objects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from observe.model.labels import Labels


@dataclass(frozen=True, slots=True)
class Frame:
    """Samples on the way into the store: a dense block of T times by N series.

    `values[t, n]` is `ABSENT_NAN` (by bits) where series n has no sample at time t.
    """

    timestamps: NDArray[np.int64]
    """[T] ms, ascending."""
    ids: NDArray[np.uint32]
    """[N] ids given by the store that the frame is for."""
    values: NDArray[np.float64]
    """[T, N]."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw samples read from a store, series after series (compressed rows).

    Samples of series s are ``timestamps[offsets[s]:offsets[s + 1]]`` and the same slice of `values`: ascending in time,
    staleness markers included (by bits), absent samples left out.
    """

    labels: tuple[Labels, ...]
    """[S]."""
    offsets: NDArray[np.int64]
    """[S + 1]."""
    timestamps: NDArray[np.int64]
    """[total] ms."""
    values: NDArray[np.float64]
    """[total]."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Vector:
    """The result of an expression at one time: one value a series."""

    time_ms: int
    labels: tuple[Labels, ...]
    """[S]."""
    values: NDArray[np.float64]
    """[S]."""
    sampled_at_ms: NDArray[np.int64]
    """[S] for a bare selector the time of the sample that answered, else `time_ms`: so a repeat is known as one."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The result of an expression over a range: dense, NaN-by-`ABSENT_NAN`-bits where a series has no point."""

    times_ms: NDArray[np.int64]
    """[T] start, start + step, ..."""
    labels: tuple[Labels, ...]
    """[S]."""
    values: NDArray[np.float64]
    """[S, T]."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A single observation behind a sample, with the trace that made it."""

    series: Labels
    labels: Labels
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    """What a target says about a metric by ``# TYPE``, ``# HELP`` and ``# UNIT``."""

    type: str = "unknown"
    """counter, gauge, histogram, summary, info, stateset, gaugehistogram or unknown."""
    help: str = ""
    unit: str = ""
