"""The seams around bands: the threshold engine, what it says of points, and why."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from observe.model import Labels, Vector


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the threshold engine says of one evaluation. All arrays are [S], in the order of the vector judged."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    baseline: NDArray[np.float64]
    score: NDArray[np.float64]
    """NaN until ready; 1 is the edge of the band, in units of its half-width."""
    ready: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    """This point lies outside its band, in a direction that counts, by more than min_abs and min_rel."""
    firing: NDArray[np.bool_]
    """Triggered and not yet recovered (trigger, hysteresis and hold are the engine's)."""
    relearned: NDArray[np.bool_]
    """Firing ended at this point because `relearn_after` passed: the reason is `new level`."""


@dataclass(frozen=True, slots=True)
class Said:
    """The judgement of one series' last point; NaN where there is none."""

    value: float
    baseline: float
    lower: float
    upper: float
    score: float


class ExplainedBand(Protocol):
    """Why the band of one series is where it is."""

    @property
    def labels(self) -> Labels: ...

    @property
    def words(self) -> tuple[str, ...]:
        """Sentences for people."""

    def told(self, say: Callable[[float], str]) -> tuple[str, ...]:
        """The same with numbers as `say` says them: a page that knows the unit says "212 ms"."""


class BandEngine(Protocol):
    """The state of one rule's bands. Called from the data thread, in the order of time."""

    def step(self, vector: Vector) -> Judgement:
        """Judge the vector's points by what came before, then learn them. Series that are missing have a gap."""

    def forget(self, labels: Iterable[Labels]) -> None:
        """Free the state of series that are gone."""

    def explain(self, labels: Labels, said: Said | None = None) -> ExplainedBand | None:
        """Why this series' band is where it is; None where nothing is known of it. Safe from any thread.

        `said` is the judgement of its last point, where the caller has it.
        """

    def snapshot_chunks(self) -> Iterator[bytes]:
        """The state, versioned and checksummed, in pieces that take milliseconds; steps may happen in between.

        What is folded again from the tick of the first piece on makes up for the steps in between.
        """

    def snapshot(self) -> bytes:
        """All pieces at once."""

    def restore(self, state: bytes | memoryview) -> None:
        """Raises `StorageError` if torn or of another version: then fold again from the store."""


@dataclass(frozen=True, slots=True)
class OddSeries:
    """A series outside its band that does not alert (yet)."""

    rule: str
    labels: Labels
    value: float
    baseline: float
    lower: float
    upper: float
    score: float
    since_ms: int


@dataclass(frozen=True, slots=True)
class BandStart:
    """How a rule's bands started from history, or how far they are."""

    state: Literal["learning", "learned", "empty", "failed"]
    words: str
    """For people: "reading history: 3d of up to 14d", or why there is none."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A rule's `budget:`, and what its bands are expected to cost."""

    asked_pages: float
    per_ms: int
    expected_pages: float | None = None
    """In `per_ms`; None until history has told."""
    history_ms: int = 0
    """Length of the history that the expectation was read from."""
