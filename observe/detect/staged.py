"""`auto` and `seasonal` with a first stage: until a series has the points they need, a robust band of few watches.

Only for a rule that says from which deviation on somebody should look (`min_abs` or `min_rel`): of a plain band, thirty
points know too little to wake anybody. An alert of the first stage is ended by the first stage, however long it lasts.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from observe.detect.band import Band, Quorum
from observe.detect.budget import Spending
from observe.detect.engine import Engine
from observe.detect.explain import Explanation
from observe.detect.fit import Fit, fit_seasons
from observe.detect.history import History
from observe.errors import StorageError
from observe.model import Labels, Vector
from observe.protocols import Judgement, Said

_K = {"low": 5.0, "normal": 4.0, "high": 3.0}
_RELEARN_MS = 7_200_000
_FIELDS = ("lower", "upper", "baseline", "score", "ready", "outside", "firing", "relearned")
_HEAD = struct.Struct("<8sQ")
_MAGIC = b"OBSTAGE1"


def first_stage(band: Band) -> Band:
    """The band of series that are young: the rule's own settings where they mean the same there.

    What is `seasonal`'s default was not chosen for a window of few points: there, `robust`'s own stand.
    """
    young = replace(band, detector="robust", budget=None)
    if band.detector != "auto":
        usual = Band(detector=band.detector)
        return replace(
            young, k=0.0 if band.k == usual.k else band.k,
            trigger=Quorum(0, 0) if band.trigger == usual.trigger else band.trigger,
        )
    return replace(
        young, k=_K[band.sensitivity], trigger=Quorum(3, 5), recover=Quorum(5, 5), relearn_after_ms=_RELEARN_MS,
    )


class StagedEngine:
    """The bands of one rule (`observe.protocols.BandEngine`), young series by one engine, the others by another."""

    def __init__(self, band: Band, interval_ms: int) -> None:
        self._grown = Engine(band, interval_ms)
        self._young = Engine(first_stage(band), interval_ms)
        self._held: frozenset[Labels] = frozenset()
        """Series whose alert began in the first stage."""
        self._looked_at: tuple[Labels, ...] = ()
        self._away = 0
        """Young series that are not among `_looked_at`."""

    @property
    def spending(self) -> Spending | None:
        return self._grown.spending

    def spend(self, spending: Spending) -> None:
        self._grown.spend(spending)

    def learn(
        self, history: History, fit: Fit = fit_seasons, going: Callable[[], None] = lambda: None,
    ) -> None:
        self._grown.learn(history, fit, going)

    def step(self, vector: Vector) -> Judgement:
        judged = self._grown.step(vector)
        young = ~judged.ready
        if self._held:
            young |= np.fromiter((name in self._held for name in vector.labels), np.bool_, len(vector.labels))
        where = np.flatnonzero(young)
        if len(where):
            self._watch(vector, where, judged)
        if len(self._young) > len(where):
            self._release(vector.labels, where)
        return judged

    def _release(self, labels: tuple[Labels, ...], where: np.ndarray[tuple[int], np.dtype[np.intp]]) -> None:
        """Forget the first stage of series that are of age; not of those that are only away."""
        watched = self._held.union(labels[place] for place in where.tolist())
        rest = self._young.slots.slot_of.keys() - watched
        if labels is self._looked_at and len(rest) == self._away:
            return
        of_age = rest.intersection(labels)
        self._young.forget(of_age)
        self._looked_at, self._away = labels, len(rest) - len(of_age)

    def _watch(self, vector: Vector, where: np.ndarray[tuple[int], np.dtype[np.intp]], judged: Judgement) -> None:
        """Judge the points at `where` by the first stage, into `judged`."""
        part = vector if len(where) == len(vector.labels) else Vector(
            vector.time_ms, tuple(vector.labels[place] for place in where.tolist()), vector.values[where],
            vector.sampled_at_ms[where],
        )
        said = self._young.step(part)
        for name in _FIELDS:
            getattr(judged, name)[where] = getattr(said, name)
        firing = (part.labels[place] for place in np.flatnonzero(said.firing).tolist())
        self._held = self._held.difference(part.labels).union(firing)

    def forget(self, labels: Iterable[Labels]) -> None:
        gone = tuple(labels)
        self._grown.forget(gone)
        self._young.forget(gone)
        self._held = self._held.difference(gone)

    def explain(self, labels: Labels, said: Said | None = None) -> Explanation | None:
        grown, young = self._grown.explain(labels, said), self._young.explain(labels, said)
        if young is None or grown is None:  # of age
            return grown
        return replace(young, later=(grown.parts.points, grown.parts.points_needed))

    def snapshot(self) -> bytes:
        grown, young = self._grown.snapshot(), self._young.snapshot()
        return _HEAD.pack(_MAGIC, len(grown)) + grown + young

    def restore(self, state: bytes) -> None:
        if len(state) < _HEAD.size or not state.startswith(_MAGIC):
            raise StorageError("the saved bands have no first stage; they are learned again from the store")
        _, size = _HEAD.unpack_from(state)
        self._grown.restore(state[_HEAD.size : _HEAD.size + size])
        self._young.restore(state[_HEAD.size + size :])
        self._held = frozenset(self._young.firing())


def create(band: Band, interval_ms: int) -> Engine | StagedEngine:
    """The engine of a rule in production."""
    if band.detector in {"auto", "seasonal"} and (band.min_abs > 0 or band.min_rel > 0):
        return StagedEngine(band, interval_ms)
    return Engine(band, interval_ms)
