"""`auto` and `seasonal` with a first stage: until a series has the history they need, a robust band of few watches.

Only for a rule that says from which deviation on somebody should look (`min_abs` or `min_rel`): of a plain band, thirty
points know too little to wake anybody. An alert of the first stage is ended by the first stage, however long it lasts.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band, Quorum
from observe.detect.budget import Spending, Waits
from observe.detect.engine import Engine
from observe.detect.explain import Explanation
from observe.detect.fit import Fit, fit_seasons
from observe.detect.history import History
from observe.detect.slots import SlotTable
from observe.detect.snapshot import expect_end
from observe.errors import StorageError
from observe.model import Labels, Vector
from observe.protocols import Judgement, Said

_K = {"low": 5.0, "normal": 4.0, "high": 3.0}
_FIELDS = ("lower", "upper", "baseline", "score", "ready", "outside", "firing", "relearned")
_MAGIC = b"OBSTAGE2"


def first_stage(band: Band) -> Band:
    """The band of series that are young: the rule's own settings where they mean the same there.

    It speaks after `window` points, and then looks back further and further: seven minutes alone would follow a rise.
    What is `seasonal`'s default was not chosen for a window of few points: there, `robust`'s own stand.
    """
    usual = Band(detector=band.detector)
    own = Quorum(0, 0)  # what `robust` takes where nothing is given
    young = replace(
        band, detector="robust", window_grows=True, budget=None,
        trigger=own if band.trigger == usual.trigger else band.trigger,
    )
    if band.detector != "auto":
        return replace(young, k=0.0 if band.k == usual.k else band.k)
    return replace(
        young, k=_K[band.sensitivity], recover=own if band.recover == usual.recover else band.recover,
        relearn_after_ms=-1 if band.relearn_after_ms == usual.relearn_after_ms else band.relearn_after_ms,
    )


class StagedEngine:
    """The bands of one rule (`observe.protocols.BandEngine`), young series by one engine, the others by another."""

    def __init__(self, band: Band, interval_ms: int) -> None:
        self._grown = Engine(band, interval_ms)
        self._young = self._first()
        self._watched = _Mark(self._grown.slots)
        """Series that the first stage knows."""
        self._held = _Mark(self._grown.slots)
        """Series whose alert began in the first stage."""

    @property
    def spending(self) -> Spending | None:
        return self._grown.spending

    def spend(self, spending: Spending) -> None:
        self._grown.spend(spending)
        self._widen()

    def _first(self) -> Engine:
        return Engine(first_stage(self._grown.band), self._grown.interval_ms, self._young_factor)

    def _widen(self) -> None:
        self._young.widen(self._young_factor)

    @property
    def _young_factor(self) -> float:
        """A budget that wants wider bands wants them for young series too; more eager than usual these never are."""
        return max(1.0, self.spending.factor) if self.spending is not None else 1.0

    def learn(
        self, history: History, fit: Fit = fit_seasons, going: Callable[[], None] = lambda: None,
        waits: Waits | None = None,
    ) -> None:
        self._grown.learn(history, fit, going, waits)
        self._widen()

    def step(self, vector: Vector) -> Judgement:
        judged = self._grown.step(vector)
        slots = self._grown.slots.planned
        young = ~judged.ready | self._held.at(slots) | self._unripe(vector, slots)
        where = np.flatnonzero(young)
        if len(where):
            self._watch(vector, where, slots[where], judged)
        if len(self._young) > len(where):
            of_age = np.flatnonzero(~young & self._watched.at(slots))  # not those that are only away
            self._young.forget(_names(vector.labels, of_age))
            self._watched.put(slots[of_age], np.zeros(len(of_age), np.bool_))
            if not len(self._young):  # all are of age: give the memory back
                self._young = self._first()
        return judged

    def _unripe(self, vector: Vector, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Watched series that are judged already, but by a detector that wants more history for a verdict.

        One that began from history or from a sibling's state was never watched.
        """
        watched = self._watched.at(slots)
        if watched.any():
            for part in self._grown.slots.plan(vector.labels):
                block = self._grown.slots.blocks[part.block]
                watched[part.positions] &= self._grown.detector.unripe(block, part.offsets, vector.time_ms)
        return watched

    def _watch(self, vector: Vector, where: NDArray[np.intp], slots: NDArray[np.int64], judged: Judgement) -> None:
        """Judge the points at `where`, whose series have these slots, by the first stage, into `judged`."""
        part = vector if len(where) == len(vector.labels) else Vector(
            vector.time_ms, _names(vector.labels, where), vector.values[where], vector.sampled_at_ms[where],
        )
        said = self._young.step(part)
        told = said.ready | ~judged.ready[where]  # a first stage that knows nothing yet takes no word from `auto`
        for name in _FIELDS:
            getattr(judged, name)[where[told]] = getattr(said, name)[told]
        self._watched.put(slots, np.ones(len(slots), np.bool_))
        self._held.put(slots, said.firing & told)

    def forget(self, labels: Iterable[Labels]) -> None:
        gone = tuple(labels)
        self._grown.forget(gone)
        self._young.forget(gone)

    def explain(self, labels: Labels, said: Said | None = None) -> Explanation | None:
        grown, young = self._grown.explain(labels, said), self._young.explain(labels, said)
        if young is None or grown is None:  # of age
            return grown
        to_go = max((grown.parts.points_needed - grown.parts.points) * grown.interval_ms,
                    self._grown.detector.ripe_ms - grown.parts.history_ms, 0)
        return replace(young, later_ms=to_go)

    def snapshot_chunks(self) -> Iterator[bytes]:
        """The state in pieces, each good at the tick it was taken: steps may happen in between."""
        yield _MAGIC
        yield from self._grown.snapshot_chunks()
        yield from self._young.snapshot_chunks()

    def snapshot(self) -> bytes:
        return b"".join(self.snapshot_chunks())

    def restore(self, state: bytes | memoryview) -> None:
        """Take over a state that was saved. Raises `StorageError`, and stays as it is, if it cannot be trusted."""
        view = memoryview(state)
        if view[: len(_MAGIC)] != _MAGIC:
            raise StorageError("the saved bands have no first stage; they are learned again from the store")
        grown, end = self._grown.read(view, len(_MAGIC))
        young, end = self._young.read(view, end)
        expect_end(view, end)
        self._grown.take(grown)
        self._young.take(young)
        self._widen()
        self._watched, self._held = _Mark(self._grown.slots), _Mark(self._grown.slots)
        for mark, names in ((self._watched, list(self._young.slots.slot_of)), (self._held, self._young.firing())):
            slots = self._grown.slots.slot_of.find(names)
            mark.put(slots[slots >= 0], np.ones(int((slots >= 0).sum()), np.bool_))


class _Mark:
    """A yes or no for every slot, which ends with its series: it says of which generation it is."""

    def __init__(self, slots: SlotTable) -> None:
        self._slots = slots
        self._generations = np.empty(0, np.uint32)

    def put(self, slots: NDArray[np.int64], marked: NDArray[np.bool_]) -> None:
        now = self._slots.generation
        if len(self._generations) < len(now):
            more = np.zeros(len(now) - len(self._generations), np.uint32)
            self._generations = np.concatenate([self._generations, more])
        self._generations[slots] = np.where(marked, now[slots], 0)

    def at(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[S] of series that live at these slots now."""
        marked = np.zeros(len(slots), np.bool_)
        known = slots < len(self._generations)
        marked[known] = np.equal(self._generations[slots[known]], self._slots.generation[slots[known]])
        return marked


def _names(labels: tuple[Labels, ...], where: NDArray[np.intp]) -> tuple[Labels, ...]:
    return tuple(map(labels.__getitem__, where.tolist()))


def create(band: Band, interval_ms: int) -> Engine | StagedEngine:
    """The engine of a rule in production."""
    if band.detector in {"auto", "seasonal"} and (band.min_abs > 0 or band.min_rel > 0):
        return StagedEngine(band, interval_ms)
    return Engine(band, interval_ms)
