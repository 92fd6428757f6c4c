"""The state machine of alerts: one pure function, driven alike by production, restart, replay, backtest and rule tests.

::

    inactive ──condition met──▶ pending ──held for `for`──▶ firing ──cleared, `keep_firing_for` over──▶ resolved
                                   └──cleared──▶ inactive

Time is an argument, nothing is read from outside, and each transition carries its reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from observe.detect.band import NoData
from observe.model import AlertState, Labels, Reason, lies_inside


class Seen(Enum):
    """What one evaluation says of one series."""

    MET = "the condition holds"
    CLEAR = "the condition does not hold"
    UNKNOWN = "not ready: neither fires nor resolves"
    DOWN = "its target is down"
    GONE = "the series is gone from a successful scrape, or its target from discovery"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The numbers behind an observation; None where there are none."""

    value: float | None = None
    baseline: float | None = None
    lower: float | None = None
    upper: float | None = None
    score: float | None = None

    @property
    def inside(self) -> bool:
        return lies_inside(self.value, self.lower, self.upper)


@dataclass(frozen=True, slots=True)
class Observation:
    """One series in one evaluation."""

    seen: Seen
    evidence: Evidence = Evidence()
    relearned: bool = False
    """With CLEAR: the band has learned the new level, so this is no recovery."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One alert that is pending or firing."""

    series: Labels
    """The result series it belongs to."""
    state: AlertState
    active_at_ms: int
    """Since when the condition holds."""
    fired_at_ms: int | None = None
    clear_since_ms: int | None = None
    """Firing still, but the condition has not held since then."""
    clear_reason: Reason | None = None
    reason: Reason = Reason.CONDITION_MET
    evidence: Evidence = Evidence()
    """What was seen last."""
    wrong: Evidence = Evidence()
    """What was seen last that was wrong. The alert's texts are about that, also while it is kept on and at its end."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What of a rule the state machine needs."""

    for_ms: int = 0
    keep_firing_for_ms: int = 0
    no_data: NoData = "hold"
    clear_reason: Reason = Reason.CONDITION_CLEARED
    """Why an alert of this rule ends when its condition no longer holds (bands: recovered)."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of one alert."""

    instance: Instance
    before: AlertState
    after: AlertState
    reason: Reason
    at_ms: int

    def __str__(self) -> str:
        since = f", active for {(self.at_ms - self.instance.active_at_ms) / 1000:g} s"
        return f"{self.before.upper()} -> {self.after.upper()}: {self.reason}{since}"


State = Mapping[Labels, Instance]


def advance(
    state: State, result: Mapping[Labels, Observation], rule: Timing, now_ms: int,
) -> tuple[State, tuple[Transition, ...]]:
    """One evaluation: the new state, and what changed.

    A series that is in `state` but not in `result` is clear: that is how a filter such as ``x > 5`` says no.
    """
    after: dict[Labels, Instance] = {}
    changes: list[Transition] = []
    for series, instance in state.items():
        kept = _step(instance, result.get(series, _CLEAR), rule, now_ms, changes)
        if kept is not None:
            after[series] = kept
    for series, observation in result.items():
        if series in state:
            continue
        reason = begins(observation, rule)
        if reason is None:
            continue
        seen = observation.evidence
        begun = Instance(series, AlertState.PENDING, now_ms, reason=reason, evidence=seen, wrong=seen)
        if rule.for_ms > 0:
            changes.append(Transition(begun, AlertState.INACTIVE, AlertState.PENDING, reason, now_ms))
        else:
            begun = _fire(begun, reason, now_ms, AlertState.INACTIVE, changes)
        after[series] = begun
    return after, tuple(changes)


def remove(state: State, reason: Reason, now_ms: int) -> tuple[Transition, ...]:
    """End every alert of a rule that is no more. What was only pending ends without a word."""
    return tuple(
        Transition(replace(instance, reason=reason), AlertState.FIRING, AlertState.RESOLVED, reason, now_ms)
        for instance in state.values() if instance.state is AlertState.FIRING
    )


_CLEAR = Observation(Seen.CLEAR)


def begins(observation: Observation, rule: Timing) -> Reason | None:
    """Why an alert is on by this observation alone; None where it is not."""
    if observation.seen is Seen.MET:
        return Reason.CONDITION_MET
    if observation.seen is Seen.DOWN and rule.no_data == "alert":
        return Reason.NO_DATA
    return None


def _step(
    instance: Instance, observation: Observation, rule: Timing, now_ms: int, changes: list[Transition],
) -> Instance | None:
    if begins(observation, rule) is not None:
        return _goes_on(instance, observation, rule, now_ms, changes)
    if observation.seen is Seen.UNKNOWN or (observation.seen is Seen.DOWN and rule.no_data == "hold"):
        return instance
    reason = _why_clear(observation, rule)
    if instance.state is AlertState.PENDING:
        changes.append(Transition(instance, AlertState.PENDING, AlertState.INACTIVE, reason, now_ms))
        return None
    since = instance.clear_since_ms if instance.clear_since_ms is not None else now_ms
    # The reason of a new level is told at one point only: it must outlive `keep_firing_for`.
    told = instance.clear_reason if instance.clear_reason is Reason.NEW_LEVEL else reason
    if now_ms - since < rule.keep_firing_for_ms:
        seen = observation.evidence if observation.evidence.value is not None else instance.evidence
        return replace(instance, clear_since_ms=since, clear_reason=told, evidence=seen)
    ended = replace(instance, clear_since_ms=since, reason=told)
    if observation.evidence.value is not None:
        ended = replace(ended, evidence=observation.evidence)
    changes.append(Transition(ended, AlertState.FIRING, AlertState.RESOLVED, told, now_ms))
    return None


def _goes_on(
    instance: Instance, observation: Observation, rule: Timing, now_ms: int, changes: list[Transition],
) -> Instance:
    seen = observation.evidence
    # A band's alert goes on for some points inside before it ends: they are not what is wrong.
    on = replace(instance, evidence=seen, wrong=instance.wrong if seen.inside else seen, clear_since_ms=None,
                 clear_reason=None)
    if on.state is AlertState.PENDING and now_ms - on.active_at_ms >= rule.for_ms:
        reason = Reason.HELD_FOR if on.reason is Reason.CONDITION_MET else on.reason
        return _fire(on, reason, now_ms, AlertState.PENDING, changes)
    return on


def _fire(
    instance: Instance, reason: Reason, now_ms: int, before: AlertState, changes: list[Transition],
) -> Instance:
    fired = replace(instance, state=AlertState.FIRING, fired_at_ms=now_ms, reason=reason)
    changes.append(Transition(fired, before, AlertState.FIRING, reason, now_ms))
    return fired


def _why_clear(observation: Observation, rule: Timing) -> Reason:
    if observation.seen is Seen.GONE:
        return Reason.SERIES_GONE
    if observation.seen is Seen.DOWN:
        return Reason.NO_DATA
    return Reason.NEW_LEVEL if observation.relearned else rule.clear_reason
