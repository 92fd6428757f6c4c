"""Bands that start from history: read and folded beside the ticks, taken over by the data thread when they are there.

A rule whose bands start empty goes on as it is, warming up. Meanwhile a thread of its own reads what the store (or a
file, or another server) knows of its expression, lets a second engine learn it, and then steps it through the points
that were judged in the meantime. Between two ticks the data thread puts that engine in the place of the young one: it
is what a fold over all of the history would have come to.

Two replicas read from the same midnight, so they learn the same.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from observe.alert.past import Reading, read_past
from observe.alert.rules import Rule
from observe.clock import Clock
from observe.detect.band import Band
from observe.detect.budget import Spending, Waits, calibrate
from observe.detect.fit import Season
from observe.detect.fit_process import fit_elsewhere
from observe.detect.history import History, joined, read_file
from observe.duration import format_duration
from observe.errors import ObserveError, Unavailable
from observe.model import Vector
from observe.protocols import BandEngine, BandStart, QueryEngine
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_MOST_WAITING = 512
"""Evaluations kept for an engine that learns; one that takes longer is given up."""


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """How bands start from history."""

    reading: Reading = field(default_factory=Reading)
    reach_ms: int = 14 * _DAY_MS
    """How far back `auto` looks; `seasonal` and budgets twice as far, other detectors as far as an alert may last."""
    retry_ms: int = 60_000
    attempts: int = 30
    """While the server with the history is down."""


def reach_of(band: Band, interval_ms: int, settings: LearnSettings) -> int:
    """How far back (ms) it is worth to look for this band."""
    # What was normal before a fault that may still be held: else a lost snapshot would end its alert.
    held = (band.relearn_after_ms or _DAY_MS) if band.hold else 0
    reach = {"auto": settings.reach_ms, "seasonal": 2 * settings.reach_ms}.get(
        band.detector, 4 * (band.window_ms or band.window * interval_ms) + held)
    return max(interval_ms, reach, 2 * settings.reach_ms if band.budget is not None else 0)


def read_until(
    sources: Sequence[QueryEngine], rule: Rule, interval_ms: int, until_ms: int, settings: LearnSettings,
    told: Callable[[int, int], None] = lambda _back, _reach: None,
) -> History | None:
    """All that is known of a rule's expression up to `until_ms`: its file, then the sources; None if that is nothing.

    `told` is called with how far back has been read, and how far it may go; it may raise to stop.
    """
    assert rule.band is not None
    reach = reach_of(rule.band, interval_ms, settings)
    first = until_ms - reach
    if reach >= _DAY_MS:
        first = first // _DAY_MS * _DAY_MS  # from midnight: replicas that start today learn the same
    first = until_ms - (until_ms - first) // interval_ms * interval_ms
    found = read_file(Path(rule.file).parent / rule.band.history) if rule.band.history else None
    for source in sources:
        stored = read_past(source, rule.expr, first, until_ms, interval_ms, settings.reading,
                           lambda back: told(back, reach))
        found = stored if found is None else found if stored is None else joined(found, stored)
    return found


def days_over(until_ms: int, interval_ms: int) -> int:
    """Days (since 1970, UTC) of which every point is there, where `until_ms` is the last one's time."""
    return (until_ms + interval_ms) // _DAY_MS


def waits_of(rule: Rule) -> Waits:
    """What makes a page of a firing band."""
    return Waits(rule.for_ms, rule.keep_firing_for_ms)


class LearningEngine(BandEngine, Protocol):
    """What the threshold engine can do beyond a tick."""

    @property
    def spending(self) -> Spending | None: ...

    def learn(self, history: History, fit: Callable[[History, str], Sequence[Season | None]],
              going: Callable[[], None], waits: Waits) -> None: ...

    def spend(self, spending: Spending) -> None: ...


MakeLearningEngine = Callable[[Band, int], LearningEngine]


class _Stopped(Exception):
    """The process is about to end, or the rule is gone."""


class Learning:
    """One rule on its way from history to the present. The data thread makes and takes it; the learner fills it."""

    def __init__(self, rule: Rule, band: Band, interval_ms: int, until_ms: int, *, only_budget: bool = False) -> None:
        self.rule = rule
        self.band = band
        self.interval_ms = interval_ms
        self.until_ms = until_ms
        """The last time to read from history; what is judged later comes by `judged`."""
        self.only_budget = only_budget
        self.state: Literal["waiting", "running", "retry", "ready", "done"] = "waiting"
        self.start = BandStart("learning", "waiting for its turn to read history")
        self.engine: LearningEngine | None = None
        self.spending: Spending | None = None
        self.retry_at_ms = 0
        self.attempts = 0
        self.dropped = False
        self._judged: deque[Vector] = deque(maxlen=_MOST_WAITING)
        self._overflowed = False

    def judged(self, vector: Vector) -> None:
        """Points that were judged while it learns. On the data thread."""
        self._overflowed |= len(self._judged) == _MOST_WAITING
        self._judged.append(vector)

    def catch_up(self) -> None:
        """Step its engine through what was judged in the meantime."""
        assert self.engine is not None
        if self._overflowed:
            raise ObserveError(f"reading the history took longer than {_MOST_WAITING} evaluations; aggregate more in "
                               "`expr`, or evaluate it less often")
        while self._judged:
            vector = self._judged.popleft()
            if vector.time_ms > self.until_ms:
                self.engine.step(vector)

    def again(self, until_ms: int) -> None:
        """Start over with what is known now."""
        self.until_ms, self.engine, self.state = until_ms, None, "waiting"
        self._judged.clear()
        self._overflowed = False

    def end(self, state: Literal["learned", "empty", "failed"], words: str) -> None:
        self.start = BandStart(state, words)


class Learner:
    """Learns one rule after the other on a thread of its own."""

    def __init__(
        self, sources: Sequence[QueryEngine], make_engine: MakeLearningEngine, clock: Clock, telemetry: Telemetry,
        settings: LearnSettings | None = None,
    ) -> None:
        """`sources` know the past; of a time that several know, the last one's points count."""
        self.settings = settings or LearnSettings()
        self._sources = sources
        self._make_engine = make_engine
        self._clock = clock
        self._ended = telemetry.counter(
            "observe_rule_history_reads_total", "Bands that were to start from history, by what came of it.",
            ("result",))
        self._stop = threading.Event()
        self._thread: ThreadPoolExecutor | None = None

    def begin(self, one: Learning) -> "Future[None]":
        """Learn it in turn. From the data thread."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="learn")
        return self._thread.submit(self._run, one)

    def close(self) -> None:
        """Stop at the next piece; nothing is half taken over."""
        self._stop.set()
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _run(self, one: Learning) -> None:
        one.state, one.attempts = "running", one.attempts + 1
        try:
            history = self._history(one)
            if history is None:
                one.end("empty", "there is no history of it: its bands warm up from the points that come")
            elif one.only_budget:
                one.spending = calibrate(
                    one.band, one.interval_ms, history, waits_of(one.rule), lambda: self._going(one))
                one.end("learned", f"from {_span(history)} of history")
            else:
                self._learn(one, history)
            one.state = "ready"
        except _Stopped:
            one.state = "done"
        except Unavailable as error:
            self._put_off(one, error)
        except ObserveError as error:
            self._fail(one, str(error))
        except Exception as error:
            _log.exception("%s: its history could not be learned", one.rule.id)
            self._fail(one, f"unexpected {type(error).__name__}: {error}")
        if one.state == "ready":
            self._ended.labels(one.start.state).inc()

    def _learn(self, one: Learning, history: History) -> None:
        engine = self._make_engine(one.band, one.interval_ms)
        doubts: list[str] = []

        def fit(past: History, timezone: str) -> Sequence[Season | None]:
            one.start = BandStart("learning", f"fitting the season of {_span(past)} of history")
            try:
                return fit_elsewhere(past, timezone)
            except ObserveError as error:
                _log.warning("%s: %s", one.rule.id, error)
                doubts.append(str(error))
                return [None] * len(past.labels)

        one.start = BandStart("learning", f"learning {_span(history)} of history")
        engine.learn(history, fit, lambda: self._going(one), waits_of(one.rule))
        one.engine = engine
        one.catch_up()
        one.end("learned", "; ".join([f"from {_span(history)} of history", *doubts]))

    def _history(self, one: Learning) -> History | None:
        def told(back_ms: int, reach_ms: int) -> None:
            self._going(one)
            done, all_of_it = (format_duration(span // 60_000 * 60_000) for span in (back_ms, reach_ms))
            one.start = BandStart("learning", f"reading history: {done} of up to {all_of_it}")

        return read_until(self._sources, one.rule, one.interval_ms, one.until_ms, self.settings, told)

    def _going(self, one: Learning) -> None:
        if self._stop.is_set() or one.dropped:
            raise _Stopped

    def _put_off(self, one: Learning, error: Unavailable) -> None:
        if not error.retryable or one.attempts >= self.settings.attempts:
            self._fail(one, str(error))
            return
        one.start = BandStart("learning", f"its history cannot be read now, it is tried again: {error}")
        one.retry_at_ms = self._clock.now_ms() + self.settings.retry_ms
        one.state = "retry"

    def _fail(self, one: Learning, why: str) -> None:
        _log.warning("%s: its bands start without history: %s", one.rule.id, why)
        one.end("failed", f"its bands warm up from the points that come: {why}")
        one.engine, one.state = None, "ready"


def _span(history: History) -> str:
    span = history.span_ms
    return format_duration(span // 3_600_000 * 3_600_000 if span >= 2 * _DAY_MS else max(1000, span // 1000 * 1000))
