"""One rule while it runs: the result of its expression in, observations for the state machine out.

`PlainJudge` has Prometheus' semantics (a series in the result is one whose condition holds); `BandJudge` asks the
threshold engine. Both are driven with time as an argument, so production, replay and rule tests are one path.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from observe.alert.states import Evidence, Observation, Seen
from observe.detect.band import NoData
from observe.model import Labels, Vector
from observe.protocols import BandEngine, ExplainedBand, Judgement, OddSeries, Said

FORGET_AFTER_MS = 24 * 3_600_000
"""A series that has been gone for so long loses its baseline: long enough for a night without traffic."""

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
        self._rule = rule
        self._find_missing = find_missing
        self._forget_missing = forget
        self._no_data = no_data
        self._labels: tuple[Labels, ...] = ()
        self._places: dict[Labels, int] = {}
        self._columns = _empty(0)
        self._missing: dict[Labels, int] = {}
        self._outside_since: dict[Labels, int] = {}
        self._odd: tuple[OddSeries, ...] = ()

    def observe(self, vector: Vector, active: Collection[Labels], now_ms: int) -> dict[Labels, Observation]:
        self._align(vector, now_ms)
        columns = self._columns
        with np.errstate(invalid="ignore"):
            fresh = vector.sampled_at_ms > columns.sampled_at_ms
        # A real NaN is a gap: the engine says so itself, it only needs to see it.
        self.judged = self._judge(vector, fresh)
        observations = {
            self._labels[place]: Observation(Seen.MET, self._evidence(place))
            for place in np.flatnonzero(columns.firing).tolist()
        }
        for series in active:
            place = self._places.get(series)
            if place is not None and series not in observations:
                seen = Seen.CLEAR if columns.ready[place] else Seen.UNKNOWN
                observations[series] = Observation(seen, self._evidence(place), bool(columns.relearned[place]))
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
        columns = self._columns
        columns.sampled_at_ms[where] = new.sampled_at_ms
        columns.value[where] = new.values
        for name in ("lower", "upper", "baseline", "score", "ready", "outside", "firing", "relearned"):
            getattr(columns, name)[where] = getattr(judgement, name)
        return Judged(self._labels, where, judgement)

    def _align(self, vector: Vector, now_ms: int) -> None:
        """Keep what was last said in the order of this vector; note who left and who came back."""
        if vector.labels is self._labels or vector.labels == self._labels:
            self._expire(now_ms)
            return
        before, old = self._places, self._columns
        self._labels = vector.labels
        self._places = dict(zip(vector.labels, range(len(vector.labels)), strict=True))
        self._columns = _empty(len(vector.labels))
        source = np.fromiter(map(before.get, vector.labels, repeat(-1)), np.intp, len(vector.labels))
        to = np.flatnonzero(source >= 0)
        for name in _COLUMNS:
            getattr(self._columns, name)[to] = getattr(old, name)[source[to]]
        back = [labels for labels in self._missing if labels in self._places]
        for labels in back:
            del self._missing[labels]
        self._forget_missing(back)
        for labels in before.keys() - self._places.keys():
            self._missing.setdefault(labels, now_ms)
        self._expire(now_ms)

    def _expire(self, now_ms: int) -> None:
        over = [labels for labels, since in self._missing.items() if now_ms - since > FORGET_AFTER_MS]
        if over:
            self.engine.forget(over)
            self._forget_missing(over)
            for labels in over:
                del self._missing[labels]

    def _evidence(self, place: int) -> Evidence:
        columns = self._columns
        return Evidence(*(
            _finite(column[place])
            for column in (columns.value, columns.baseline, columns.lower, columns.upper, columns.score)
        ))

    def _note_outside(self, now_ms: int) -> None:
        columns = self._columns
        places = np.flatnonzero(columns.outside | columns.firing).tolist()
        self._outside_since = {
            self._labels[place]: self._outside_since.get(self._labels[place], now_ms) for place in places
        }
        self._odd = tuple(
            OddSeries(
                self._rule, self._labels[place], float(columns.value[place]), float(columns.baseline[place]),
                float(columns.lower[place]), float(columns.upper[place]), float(columns.score[place]),
                self._outside_since[self._labels[place]],
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
        columns, place = self._columns, self._places.get(series)
        if place is None or place >= len(columns.value):  # the data thread is taking a new vector in
            return self.engine.explain(series)
        return self.engine.explain(series, Said(*(
            float(column[place])
            for column in (columns.value, columns.baseline, columns.lower, columns.upper, columns.score)
        )))

    def odd(self, firing: Collection[Labels]) -> list[OddSeries]:
        """Series outside their band that do not alert (yet). Safe from any thread: it reads one finished tuple."""
        return [one for one in self._odd if one.labels not in firing]

    @property
    def counts(self) -> tuple[int, int]:
        """How many series, and how many of them have a baseline."""
        return len(self._labels), int(self._columns.ready.sum())

    def memory(self) -> dict[str, list[tuple[Labels, int]]]:
        """What a snapshot keeps beside the engine: last samples (so that a repeat stays known) and who is missing."""
        sampled = self._columns.sampled_at_ms.tolist()
        return {
            "sampled": list(zip(self._labels, sampled, strict=True)),
            "missing": list(self._missing.items()),
        }

    def recall(self, sampled: Mapping[Labels, int], missing: Mapping[Labels, int]) -> None:
        """The opposite of `memory`."""
        self._labels = tuple(sampled)
        self._places = {labels: place for place, labels in enumerate(self._labels)}
        self._columns = _empty(len(self._labels))
        self._columns.sampled_at_ms[:] = list(sampled.values())
        self._missing = dict(missing)


@dataclass(frozen=True, slots=True)
class _Columns:
    sampled_at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    baseline: NDArray[np.float64]
    score: NDArray[np.float64]
    ready: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    firing: NDArray[np.bool_]
    relearned: NDArray[np.bool_]


_COLUMNS = tuple(_Columns.__dataclass_fields__)


def _empty(count: int) -> _Columns:
    def nothing() -> NDArray[np.float64]:
        return np.full(count, np.nan)

    def no() -> NDArray[np.bool_]:
        return np.zeros(count, dtype=np.bool_)

    return _Columns(
        np.full(count, np.iinfo(np.int64).min, dtype=np.int64), nothing(), nothing(), nothing(), nothing(), nothing(),
        no(), no(), no(), no(),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
