"""Civil time: which hour of the day and of the week people lived through, DST included.

Profiles are learned by civil time, so that a morning peak stays at nine o'clock when the clocks change.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_QUARTER_MS = 900_000
"""Offsets change on quarters of an hour at the finest, everywhere on earth since 1972."""


class CivilTime:
    """Local milliseconds (UTC plus the zone's offset then) for times in UTC."""

    def __init__(self, timezone: str = "UTC") -> None:
        self._zone = None if timezone in {"UTC", "Etc/UTC"} else ZoneInfo(timezone)
        self._quarter = -1
        self._offset_ms = 0

    def local_ms(self, time_ms: int) -> int:
        """``time_ms`` as read on the wall clock there."""
        if self._zone is None:
            return time_ms
        if time_ms // _QUARTER_MS != self._quarter:
            self._quarter = time_ms // _QUARTER_MS
            self._offset_ms = self._offset(self._quarter)
        return time_ms + self._offset_ms

    def local_times_ms(self, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """`local_ms` of many times, [T]."""
        if self._zone is None:
            return times_ms
        quarters, where = np.unique(times_ms // _QUARTER_MS, return_inverse=True)
        offsets = np.array([self._offset(int(quarter)) for quarter in quarters], np.int64)
        local: NDArray[np.int64] = times_ms + offsets[where]
        return local

    def _offset(self, quarter: int) -> int:
        moment = datetime.fromtimestamp(quarter * _QUARTER_MS / 1000, UTC).astimezone(self._zone)
        offset = moment.utcoffset()
        return 0 if offset is None else round(offset.total_seconds() * 1000)
