"""Who is told what, when: receivers, routes, inhibitions. The effective settings of the notify stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from observe.model import Matcher


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """One webhook receiver."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request; values are secrets and never shown."""
    timeout_s: float = 10.0
    send_resolved: bool = True
    max_alerts: int = 100
    """Most alerts in one message; how many were cut is said in `truncatedAlerts`."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which alerts go to whom, and how they are grouped. The first child that matches wins, unless it says `continue`.

    None means: as the route above.
    """

    receivers: tuple[str, ...] | None = None
    matchers: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] | None = None
    """Label names; ``("...",)`` is every label, so each alert is its own group."""
    group_wait_ms: int | None = None
    group_interval_ms: int | None = None
    repeat_interval_ms: int | None = None
    continue_: bool = False
    routes: "tuple[Route, ...]" = ()


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert that matches `source` fires, those that match `target` and agree on `equal` are held back."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()


DEFAULT_INHIBITIONS = (
    Inhibition(
        (Matcher("severity", "=", "critical"),), (Matcher("severity", "=~", "warning|info"),), ("alertname", "service"),
    ),
)


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """The notify stage as it runs."""

    receivers: tuple[WebhookSettings, ...] = ()
    route: Route = Route()
    """The root; without `receivers` it means all of them."""
    group_by: tuple[str, ...] = ("alertname", "service")
    group_wait_ms: int = 10_000
    """How long the first page of a group waits for more of it."""
    group_interval_ms: int = 60_000
    """Least time between two messages about changes of one group."""
    repeat_interval_ms: int = 4 * 3_600_000
    """How often an unchanged group is told again."""
    inhibitions: tuple[Inhibition, ...] = DEFAULT_INHIBITIONS
    external_url: str = ""
    """Where people reach this installation: the links of every page start with it."""
    dead_man_receiver: str | None = None
    """Who gets the Watchdog; nobody else ever does."""
    dead_man_repeat_ms: int = 60_000
    resolve_timeout_ms: int = 300_000
    """An alert pushed through the API without an end resolves when it was not pushed again for so long."""
    retry_first_ms: int = 1_000
    retry_most_ms: int = 300_000
    concurrency: int = 4
    """Messages on their way to one receiver at once."""
    evidence_timeout_s: float = 5.0
    """A page waits no longer for its traces."""
    max_groups: int = 10_000
    max_alerts: int = 50_000
    """Open alerts that are kept; more are refused and counted."""
    retention_ms: int = 120 * 24 * 3_600_000
    """How long the ledger remembers what has ended."""
