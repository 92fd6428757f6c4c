"""A store in a temporary folder on a clock that stands still until told."""

from pathlib import Path

import numpy as np
import pytest

from observe.model import ABSENT_NAN, Frame, Labels, Matcher
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock

NOW = 1_700_000_000_000


class Bench:
    """A store, and the words a test uses to fill and read it."""

    def __init__(self, folder: Path, clock: ManualClock, settings: MetricSettings) -> None:
        self.folder, self.clock, self.settings = folder, clock, settings
        self.telemetry = Telemetry()
        self.store = MetricStore(folder, settings, clock, self.telemetry)

    def put(self, name, samples, **labels):
        """Append samples ``(ms after NOW, value)`` of one series, each in a frame of its own."""
        ids = self.store.series_ids([Labels({"__name__": name, **labels})])
        return [self.store.append(Frame(np.array([NOW + at]), ids, np.array([[value]]))) for at, value in samples]

    def frame(self, rows, *, at, names, job="a"):
        """Append values ``rows[t][n]`` (None: absent) at ``NOW + at[t]``."""
        ids = self.store.series_ids([Labels({"__name__": name, "job": job}) for name in names])
        values = np.array([[ABSENT_NAN if value is None else value for value in row] for row in rows])
        return self.store.append(Frame(np.array(at, np.int64) + NOW, ids, values))

    def read(self, *matchers, start=-10**9, end=10**9):
        """Samples by series name: ``{str(labels): [(ms after NOW, value), ...]}``."""
        found = self.store.select([parse(matcher) for matcher in matchers], NOW + start, NOW + end)
        return {
            str(labels): [(int(time) - NOW, float(value)) for time, value in zip(
                found.timestamps[low:high], found.values[low:high], strict=True)]
            for labels, low, high in zip(found.labels, found.offsets, found.offsets[1:], strict=False)
        }

    def reopen(self):
        """As after kill -9: nothing is closed or synced, another store opens the folder."""
        self.store = MetricStore(self.folder, self.settings, self.clock, self.telemetry)
        return self.store


def parse(text):
    """``job=~a|b`` as a `Matcher`."""
    for op in ("=~", "!~", "!=", "="):
        name, found, value = text.partition(op)
        if found:
            return Matcher(name, op, value)
    raise ValueError(text)


@pytest.fixture
def make(tmp_path):
    def build(**settings):
        return Bench(tmp_path / "metrics", ManualClock(NOW), MetricSettings(**settings))

    return build


@pytest.fixture
def bench(make):
    return make()
