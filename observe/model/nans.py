"""Three NaNs, told apart by their bits alone: any arithmetic loses the difference, copies keep it."""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

STALE_NAN_BITS: Final = 0x7FF0_0000_0000_0002
"""Prometheus' staleness marker: the series ended here."""
NORMAL_NAN_BITS: Final = 0x7FF8_0000_0000_0001
"""Prometheus' ordinary NaN: the target really said NaN."""
ABSENT_NAN_BITS: Final = 0x7FF8_0000_0000_AB5E
"""Ours, inside a dense block only: this series has no sample at this time."""

STALE_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
ABSENT_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", ABSENT_NAN_BITS))[0]


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where `values` holds the staleness marker; same shape."""
    return np.equal(values.view(np.uint64), np.uint64(STALE_NAN_BITS))


def is_absent(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a dense block has no sample at all; same shape."""
    return np.equal(values.view(np.uint64), np.uint64(ABSENT_NAN_BITS))
