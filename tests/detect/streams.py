"""Drive an engine with plain numbers: the small language of the detection tests."""

from dataclasses import dataclass

import numpy as np

from observe.detect.engine import Engine, create
from observe.model import Labels, Vector

INTERVAL_MS = 60_000
START_MS = 1_700_000_040_000


def name(number):
    return Labels({"__name__": "m", "i": str(number)})


@dataclass
class Run:
    """Judgements over time: every array is [T, S]."""

    lower: np.ndarray
    upper: np.ndarray
    baseline: np.ndarray
    score: np.ndarray
    ready: np.ndarray
    outside: np.ndarray
    firing: np.ndarray
    relearned: np.ndarray

    @property
    def half(self):
        return (self.upper - self.lower) / 2


FIELDS = ("lower", "upper", "baseline", "score", "ready", "outside", "firing", "relearned")


def fold(engine: Engine, values, labels=None, start=0, interval_ms=INTERVAL_MS):
    """Step `engine` through values [T] or [T, S]; absent points are None or left out by a NaN."""
    table = np.asarray(values, float)
    table = table[:, None] if table.ndim == 1 else table
    labels = labels or tuple(name(n) for n in range(table.shape[1]))
    kept = {field: [] for field in FIELDS}
    for row, point in enumerate(table):
        now = START_MS + (start + row) * interval_ms
        judged = engine.step(Vector(now, labels, point, np.full(len(labels), now)))
        for field in FIELDS:
            kept[field].append(getattr(judged, field).copy())
    return Run(**{field: np.array(rows) for field, rows in kept.items()})


def run(band, values, interval_ms=INTERVAL_MS):
    return fold(create(band, interval_ms), values, interval_ms=interval_ms)
