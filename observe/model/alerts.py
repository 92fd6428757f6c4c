"""An alert, its state, and why it is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from observe.model.labels import Labels


class AlertState(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Reason(StrEnum):
    """Why an alert changed its state, or why a page was or was not sent. Also a metric label."""

    # transitions
    CONDITION_MET = "condition met"
    HELD_FOR = "condition held for `for`"
    CONDITION_CLEARED = "condition cleared"
    RECOVERED = "recovered"
    NEW_LEVEL = "new level"
    SERIES_GONE = "series gone"
    RULE_REMOVED = "rule removed"
    NO_DATA = "no data"
    # deliveries
    FIRST = "first notification"
    NEW_ALERTS = "new alerts added"
    SOME_RESOLVED = "some alerts resolved"
    ALL_RESOLVED = "all alerts resolved"
    REPEAT = "repeat interval elapsed"
    # held back
    UNCHANGED = "nothing new since the last notification"
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    NEVER_SENT = "resolved before it was ever sent"


def lies_inside(value: float | None, lower: float | None, upper: float | None) -> bool:
    """Whether a value lies in its band; False where there is no band, or no value."""
    if value is None or (lower is None and upper is None):
        return False
    return (lower is None or value >= lower) and (upper is None or value <= upper)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as everything after the state machine sees it.

    Identity is `labels` (alertname and rule labels included) together with `starts_at_ms`.
    """

    labels: Labels
    annotations: Mapping[str, str]
    state: AlertState
    starts_at_ms: int
    """When it began to fire (pending: became active)."""
    ends_at_ms: int | None
    """When it was resolved; None while it is on."""
    updated_at_ms: int
    reason: Reason
    rule: str
    """`group/alert`, the rule that made it."""
    expr: str = ""
    value: float | None = None
    baseline: float | None = None
    lower: float | None = None
    upper: float | None = None
    score: float | None = None
    generator_url: str = ""
    clear_since_ms: int | None = None
    """Its condition has not held since: it is on by `keep_firing_for` alone. None while it holds."""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def back_inside(self) -> bool:
        """Whether it is only kept on, and its value lies in its band again."""
        return self.clear_since_ms is not None and lies_inside(self.value, self.lower, self.upper)

    @property
    def fingerprint(self) -> str:
        return f"{self.labels.fingerprint:016x}"
