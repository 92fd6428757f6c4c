"""The seams around alerts: where their events go, and what the rules say now."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from observe.model import Alert, Labels
from observe.protocols.bands import BandStart, BudgetStatus, ExplainedBand, OddSeries


class AlertSink(Protocol):
    """Where alert events go: the ledger with its own delivery, or an Alertmanager cluster."""

    def accept(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Firing and just-resolved alerts of one evaluation. Durable when it returns."""


@dataclass(frozen=True, slots=True)
class RuleStatus:
    """One rule as the console and `/api/v1/rules` show it."""

    group: str
    file: str
    name: str
    kind: Literal["alerting", "recording"]
    expr: str
    interval_ms: int
    labels: Labels
    annotations: Mapping[str, str]
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    band: Mapping[str, str] | None = None
    """The effective `band:` settings as text, or None for a plain rule."""
    health: Literal["ok", "err", "unknown"] = "unknown"
    last_error: str = ""
    last_evaluation_ms: int | None = None
    last_duration_s: float = 0.0
    series_total: int = 0
    series_ready: int = 0
    ready_in_ms: int | None = None
    """How long until the youngest baseline is ready, where that is known."""
    alerts: tuple[Alert, ...] = ()
    """Pending and firing."""
    limit: int = 0
    """Most series or alerts that its group allows a rule; 0 is no limit."""
    start: BandStart | None = None
    """None: its bands were taken from a snapshot, or it has none."""
    budget: BudgetStatus | None = None


class AlertBook(Protocol):
    """What the rules say now, and what they said. Safe from any thread."""

    def rules(self) -> list[RuleStatus]: ...

    def active(self) -> list[Alert]:
        """Pending and firing alerts, worst first."""

    def odd(self) -> list[OddSeries]: ...

    def explain(self, rule: str, labels: Mapping[str, str], limit: int = 5) -> list[ExplainedBand]:
        """Why the bands of this rule's series with these labels are where they are. `rule` is its id or its name."""

    def explain_alert(self, alert: Alert, say: Callable[[float], str] | None = None) -> tuple[str, ...]:
        """Why this alert's band is where it is, sentence by sentence; empty for a rule without a band.

        `say` says numbers with their unit.
        """

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        """Alerts that fired since then, the newest first, from the ledger: ended ones too."""
