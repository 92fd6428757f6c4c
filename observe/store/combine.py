"""One answer out of several: what blocks and the head hold of the same series, merged in the order of time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from observe.model import Labels, Samples
from observe.store import merge_kernels
from observe.store.head_kernels import NEVER

NOTHING = Samples((), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def combine(pieces: Sequence[Samples]) -> Samples:
    """Samples of several pieces, the older ones first. Of two samples at one time the first piece's is kept."""
    pieces = [piece for piece in pieces if len(piece)]
    if len(pieces) <= 1:
        return pieces[0] if pieces else NOTHING
    numbers: dict[Labels, int] = {}
    targets = [
        np.fromiter((numbers.setdefault(labels, len(numbers)) for labels in piece.labels), np.int64, len(piece))
        for piece in pieces
    ]
    return combine_as(tuple(numbers), pieces, targets)


def combine_as(labels: tuple[Labels, ...], pieces: Sequence[Samples], targets: Sequence[NDArray[np.int64]]) -> Samples:
    """Where series s of a piece is series ``target[s]`` of `labels`."""
    series = len(labels)
    counts = np.zeros(series, np.int64)
    for piece, target in zip(pieces, targets, strict=True):
        counts[target] += np.diff(piece.offsets)
    offsets = np.zeros(series + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    times, values = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.float64)
    raw = values.view(np.uint64)
    filled, until = offsets[:-1].copy(), np.full(series, NEVER)
    disorder = np.zeros(series, np.bool_)
    for piece, target in zip(pieces, targets, strict=True):
        merge_kernels.place_at(target, piece.offsets, piece.timestamps, piece.values.view(np.uint64), filled, until,
                              disorder, times, raw)
    if disorder.any():
        offsets = merge_kernels.mend(offsets, disorder, times, raw)
        times, values = times[: offsets[-1]], values[: offsets[-1]]
    return without_empty(labels, offsets, times, values)


def without_empty(
    labels: Sequence[Labels], offsets: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64],
) -> Samples:
    """The columns as `Samples`, less the series that have none."""
    some = offsets[1:] > offsets[:-1]
    if some.all():
        return Samples(tuple(labels), offsets, times, values)
    kept = tuple(labels[at] for at in np.flatnonzero(some).tolist())
    return Samples(kept, np.concatenate([offsets[:1], offsets[1:][some]]), times, values)
