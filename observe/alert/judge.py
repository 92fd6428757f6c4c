"""One rule while it runs: the result of its expression in, observations for the state machine out.

`PlainJudge` has Prometheus' semantics (a series in the result is one whose condition holds); `BandJudge` asks the
threshold engine. Both are driven with time as an argument, so production, replay and rule tests are one path.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from observe.alert.places import Places
from observe.alert.states import Evidence, Observation, Seen
from observe.detect.band import NoData
from observe.model import Labels, Vector
from observe.protocols import BandEngine, ExplainedBand, Judgement, OddSeries, Said

FORGET_AFTER_MS = 24 * 3_600_000
"""A series that has been gone for so long loses its baseline: long enough for a night without traffic."""

GONE_KEPT = 100_000
"""So many series that are gone keep their baseline, or twice as many as there are: the state of names that change all
the time is bounded."""
_FORGOTTEN_AT_ONCE = 10_000
"""Series forgotten in one evaluation at most: about 10 ms."""

MOST_ODD = 1000
"""How many odd series are listed; a console that shows more helps nobody."""

FindMissing = Callable[[Collection[Labels], int], dict[Labels, Seen]]


class Judge(Protocol):
    def observe(self, vector: Vector, active: Collection[Labels], now_ms: int) -> dict[Labels, Observation]:
        """What this evaluation says of each series that matters; `active` are the pending and firing ones."""


class PlainJudge:
    """A rule without a band."""

    def observe(self, vector: Vector, active: Collection[Labels], now_ms: int) -> dict[Labels, Observation]:  # noqa: ARG002
        return {
            labels: Observation(Seen.MET, Evidence(value=float(value)))
            for labels, value in zip(vector.labels, vector.values, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """The points of one evaluation that were new, with their bands: what is written back as series."""

    series: tuple[Labels, ...]
    """[S] all series of the result; the same tuple for as long as they are the same."""
    where: NDArray[np.intp]
    """[F] which of them had a new point."""
    judgement: Judgement
    """Of those, [F]."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a snapshot keeps beside the engine."""

    sampled: tuple[Labels, ...]
    """[S] series whose last sample is known, so that a repeat stays known as one."""
    sampled_at_ms: NDArray[np.int64]
    """[S]."""
    missing: Mapping[Labels, int]
    """Series that are gone, since when."""


class BandJudge:
    """A rule with a band: bands, memory of what was last said of each series, and of which are missing."""

    def __init__(
        self, rule: str, engine: BandEngine, find_missing: FindMissing, no_data: NoData = "hold",
        forget: Callable[[Collection[Labels]], None] = lambda _: None,
    ) -> None:
        self.engine = engine
        self.judged: Judged | None = None
        self.replaying = False
        """While the past is folded, what is missing proves nothing: nobody may have been looking."""
        self.listener: Callable[[Vector], None] | None = None
        """Told the points of each evaluation that were new: an engine that is learning follows them."""
        self.crowded_out = 0
        """Series forgotten before their time, because very many were gone; whoever counts them sets it back."""
        self._rule = rule
        self._find_missing = find_missing
        self._forget_missing = forget
        self._no_data = no_data
        self._labels: tuple[Labels, ...] = ()
        self._places = Places()
        self._last = _Last.of_none(0)
        self._missing: dict[Labels, int] = {}
        self._outside_since: dict[Labels, int] = {}
        self._odd: tuple[OddSeries, ...] = ()

    def observe(self, vector: Vector, active: Collection[Labels], now_ms: int) -> dict[Labels, Observation]:
        self._align(vector, now_ms)
        last = self._last
        with np.errstate(invalid="ignore"):
            fresh = vector.sampled_at_ms > last.sampled_at_ms
        # A real NaN is a gap: the engine says so itself, it only needs to see it.
        self.judged = self._judge(vector, fresh)
        observations = {
            self._labels[place]: Observation(Seen.MET, self._evidence(place))
            for place in np.flatnonzero(last.said.firing).tolist()
        }
        for series in active:
            place = self._places.get(series)
            if place is not None and series not in observations:
                seen = Seen.CLEAR if last.said.ready[place] else Seen.UNKNOWN
                observations[series] = Observation(seen, self._evidence(place), bool(last.said.relearned[place]))
        asked = set(self._missing).union(active) if self._no_data == "alert" else active
        missing = [series for series in asked if series not in self._places]
        if self.replaying:
            observations.update(dict.fromkeys(missing, Observation(Seen.UNKNOWN)))
        elif missing:
            found = self._find_missing(missing, now_ms)
            observations.update({series: Observation(seen) for series, seen in found.items()})
        self._note_outside(now_ms)
        return observations

    def _judge(self, vector: Vector, fresh: NDArray[np.bool_]) -> Judged | None:
        if not fresh.any():
            return None
        if fresh.all():
            new, where = replace(vector, labels=self._labels), np.arange(len(vector.labels))
        else:
            where = np.flatnonzero(fresh)
            new = Vector(
                vector.time_ms, tuple(vector.labels[place] for place in where.tolist()), vector.values[where],
                vector.sampled_at_ms[where],
            )
        if self.listener is not None:
            self.listener(new)
        judgement = self.engine.step(new)
        last = self._last
        last.sampled_at_ms[where] = new.sampled_at_ms
        last.value[where] = new.values
        for name in _SAID:
            getattr(last.said, name)[where] = getattr(judgement, name)
        return Judged(self._labels, where, judgement)

    def _align(self, vector: Vector, now_ms: int) -> None:
        """Keep what was last said in the order of this vector; note who left and who came back."""
        if vector.labels is self._labels or vector.labels == self._labels:
            self._expire(now_ms)
            return
        moved, old = self._places.move(vector.labels), self._last
        self._labels = vector.labels
        self._last = _Last.of_none(len(vector.labels))
        to = np.flatnonzero(moved.source >= 0)
        for column, known in zip(self._last.columns(), old.columns(), strict=True):
            column[to] = known[moved.source[to]]
        back = [labels for labels in moved.came if labels in self._missing]
        for labels in back:
            del self._missing[labels]
        self._forget_missing(back)
        for labels in moved.left:
            self._missing.setdefault(labels, now_ms)
        self._expire(now_ms)

    def _expire(self, now_ms: int) -> None:
        """Forget who is gone for long, and of very many the first that went: a bounded number at a time."""
        crowd = len(self._missing) - max(GONE_KEPT, 2 * len(self._labels))
        over: list[Labels] = []
        for labels, since in self._missing.items():  # in the order in which they went
            early = now_ms - since <= FORGET_AFTER_MS
            if len(over) == _FORGOTTEN_AT_ONCE or (early and len(over) >= crowd):
                break
            self.crowded_out += early
            over.append(labels)
        if over:
            self.engine.forget(over)
            self._forget_missing(over)
            for labels in over:
                del self._missing[labels]

    def _evidence(self, place: int) -> Evidence:
        return Evidence(*map(_finite, self._last.numbers(place)))

    def _note_outside(self, now_ms: int) -> None:
        last, said = self._last, self._last.said
        places = np.flatnonzero(said.outside | said.firing).tolist()
        self._outside_since = {
            self._labels[place]: self._outside_since.get(self._labels[place], now_ms) for place in places
        }
        self._odd = tuple(
            OddSeries(
                self._rule, self._labels[place], *last.numbers(place), self._outside_since[self._labels[place]],
            )
            for place in places[:MOST_ODD]
        )

    def explain(self, labels: Mapping[str, str], limit: int) -> list[ExplainedBand]:
        """Why the bands of the series that have these labels are where they are."""
        told: list[ExplainedBand] = []
        for series in self._labels:
            if len(told) >= limit:
                break
            if all(series.get(name) == value for name, value in labels.items()):
                found = self.explain_series(series)
                if found is not None:
                    told.append(found)
        return told

    def explain_series(self, series: Labels) -> ExplainedBand | None:
        """Why the band of one series is where it is; also of one that has no points just now."""
        last, place = self._last, self._places.get(series)
        if place is None or place >= len(last.value):  # the data thread is taking a new vector in
            return self.engine.explain(series)
        return self.engine.explain(series, Said(*last.numbers(place)))

    def odd(self, firing: Collection[Labels]) -> list[OddSeries]:
        """Series outside their band that do not alert (yet). Safe from any thread: it reads one finished tuple."""
        return [one for one in self._odd if one.labels not in firing]

    @property
    def counts(self) -> tuple[int, int]:
        """How many series, and how many of them have a baseline."""
        return len(self._labels), int(self._last.said.ready.sum())

    def memory(self) -> Memory:
        """As it is now: what is judged later does not change it."""
        return Memory(self._labels, self._last.sampled_at_ms.copy(), dict(self._missing))

    def recall(self, memory: Memory) -> None:
        """The opposite of `memory`."""
        self._labels = memory.sampled
        self._places = Places(memory.sampled)
        self._last = _Last.of_none(len(self._labels))
        self._last.sampled_at_ms[:] = memory.sampled_at_ms
        self._missing = dict(memory.missing)


_SAID = tuple(Judgement.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class _Last:
    """The last point of each series and what was said of it, [S]."""

    sampled_at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    said: Judgement

    @classmethod
    def of_none(cls, count: int) -> Self:
        """Of so many series that had no point yet."""
        never = np.full(count, np.iinfo(np.int64).min, dtype=np.int64)
        value, *numbers = (np.full(count, np.nan) for _ in range(5))
        return cls(never, value, Judgement(*numbers, *(np.zeros(count, dtype=np.bool_) for _ in range(4))))

    def columns(self) -> list[NDArray[Any]]:
        return [self.sampled_at_ms, self.value, *(getattr(self.said, name) for name in _SAID)]

    def numbers(self, place: int) -> tuple[float, float, float, float, float]:
        """Value, baseline, lower, upper and score of one series."""
        said = self.said
        return (float(self.value[place]), float(said.baseline[place]), float(said.lower[place]),
                float(said.upper[place]), float(said.score[place]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
