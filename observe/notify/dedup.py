"""Should we send? A pure function that answers with a reason, which log, metric, ledger and test all read."""

from dataclasses import dataclass
from functools import lru_cache

from observe.model import Alert, AlertState, Labels, Reason

Identity = str
"""``fingerprint@startsAt``: the same labels that fire again are a new alert."""


def identity(alert: Alert) -> Identity:
    return f"{_fingerprint(alert.labels)}@{alert.starts_at_ms}"


@lru_cache(maxsize=65_536)
def _fingerprint(labels: Labels) -> str:
    """Every evaluation names every firing alert again: hash each once."""
    return f"{labels.fingerprint:016x}"


@dataclass(frozen=True, slots=True)
class Sent:
    """What one receiver was last told of one group."""

    at_ms: int
    firing: frozenset[Identity]
    resolved: frozenset[Identity]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to send, and why or why not."""

    send: bool
    reason: Reason


def should_send(
    last: Sent | None, firing: frozenset[Identity], resolved: frozenset[Identity], repeat_ms: int, now_ms: int,
) -> Decision:
    """Compare what is with what was told. `resolved` of alerts that were never told as firing are not news."""
    if last is None or not last.firing:
        if not firing:
            return Decision(False, Reason.NEVER_SENT if last is None else Reason.UNCHANGED)
        return Decision(True, Reason.FIRST)
    if firing - last.firing:
        return Decision(True, Reason.NEW_ALERTS)
    news = (resolved & last.firing) - last.resolved
    if news:
        return Decision(True, Reason.SOME_RESOLVED if firing else Reason.ALL_RESOLVED)
    if firing and now_ms - last.at_ms >= repeat_ms:
        return Decision(True, Reason.REPEAT)
    return Decision(False, Reason.UNCHANGED)


def split(alerts: tuple[Alert, ...]) -> tuple[frozenset[Identity], frozenset[Identity]]:
    """Identities of the firing and of the resolved ones."""
    firing = frozenset(identity(alert) for alert in alerts if alert.state is AlertState.FIRING)
    return firing, frozenset(identity(alert) for alert in alerts if alert.state is AlertState.RESOLVED)
