"""Kernels that read raw samples: look-back for instant selectors, staleness removal, subquery results as samples."""

import numpy as np
from numpy.typing import NDArray

from observe.jit import kernel
from observe.model.nans import STALE_NAN_BITS

_STALE = np.uint64(STALE_NAN_BITS)


@kernel
def look_back(
    timestamps: NDArray[np.int64], values: NDArray[np.float64], bits: NDArray[np.uint64], offsets: NDArray[np.int64],
    times: NDArray[np.int64], delta_ms: int, out: NDArray[np.float64], present: NDArray[np.bool_],
    sampled_at: NDArray[np.int64],
) -> None:
    """The newest sample in ``(time - delta, time]`` of each series at each of `times` (ascending), unless it is stale.

    `out`, `present` and `sampled_at` are [S, T].
    """
    for s in range(len(offsets) - 1):
        begin, end = offsets[s], offsets[s + 1]
        at = begin
        for t in range(len(times)):
            time = times[t]
            while at < end and timestamps[at] <= time:
                at += 1
            found = at > begin and timestamps[at - 1] > time - delta_ms and bits[at - 1] != _STALE
            present[s, t] = found
            if found:
                out[s, t] = values[at - 1]
                sampled_at[s, t] = timestamps[at - 1]
            else:
                out[s, t] = np.nan
                sampled_at[s, t] = 0


@kernel
def count_stale(bits: NDArray[np.uint64]) -> int:
    """How many staleness markers there are."""
    count = 0
    for i in range(len(bits)):
        if bits[i] == _STALE:
            count += 1
    return count


@kernel
def without_stale(
    timestamps: NDArray[np.int64], values: NDArray[np.float64], bits: NDArray[np.uint64], offsets: NDArray[np.int64],
    new_timestamps: NDArray[np.int64], new_values: NDArray[np.float64], new_offsets: NDArray[np.int64],
) -> None:
    """Copy all samples that are not staleness markers."""
    at = 0
    new_offsets[0] = 0
    for s in range(len(offsets) - 1):
        for i in range(offsets[s], offsets[s + 1]):
            if bits[i] != _STALE:
                new_timestamps[at] = timestamps[i]
                new_values[at] = values[i]
                at += 1
        new_offsets[s + 1] = at


@kernel
def as_samples(
    times: NDArray[np.int64], values: NDArray[np.float64], present: NDArray[np.bool_],
    timestamps: NDArray[np.int64], flat: NDArray[np.float64], offsets: NDArray[np.int64],
) -> None:
    """The present points of [S, T] as samples, series after series."""
    at = 0
    offsets[0] = 0
    for s in range(values.shape[0]):
        for t in range(values.shape[1]):
            if present[s, t]:
                timestamps[at] = times[t]
                flat[at] = values[s, t]
                at += 1
        offsets[s + 1] = at


def compile_all() -> None:
    offsets = np.array([0, 1], dtype=np.int64)
    times = np.array([1], dtype=np.int64)
    values = np.array([1.0])
    bits = values.view(np.uint64)
    block = np.zeros((1, 1))
    seen = np.zeros((1, 1), dtype=np.bool_)
    look_back(times, values, bits, offsets, times, 5, block, seen, np.zeros((1, 1), dtype=np.int64))
    count_stale(bits)
    without_stale(times, values, bits, offsets, times.copy(), values.copy(), offsets.copy())
    as_samples(times, block, seen, times.copy(), values.copy(), offsets.copy())
