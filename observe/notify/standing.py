"""Why was I (not) paged? How it stands with telling each receiver of one alert, in words."""

from collections.abc import Sequence

from observe.model import Alert, AlertState, Reason
from observe.notify.cluster_api import There
from observe.notify.dedup import Sent, identity
from observe.notify.groups import Group
from observe.notify.routes import WATCHDOG, Leg
from observe.protocols import PageState, PageStatus, Silence

THEIRS = "Alertmanager"
"""Who hears of alerts where a cluster is attached."""

_URGENCY = (
    PageState.RETRYING, PageState.NO_RECEIVER, PageState.WAITS, PageState.INHIBITED, PageState.SILENCED,
    PageState.PENDING, PageState.HANDED_OVER, PageState.TOLD,
)
"""What a person must know first."""


def nobody(alert: Alert, *, receivers: int) -> PageStatus:
    """Why no receiver is meant to hear of this alert."""
    if alert.name == WATCHDOG:
        why = "the Watchdog goes to the receiver that `notify: dead_man:` names, and none is named"
    elif not receivers:
        why = "no receiver is configured; add one under `notify:`"
    else:
        why = "no route sends it to a receiver"
    return PageStatus("", PageState.NO_RECEIVER, why)


def pending(alert: Alert) -> PageStatus:
    return PageStatus("", PageState.PENDING, f"its condition has not held for long enough to fire ({alert.reason})")


def silenced(receiver: str, silences: Sequence[Silence]) -> PageStatus:
    """By silences that are active; the page comes when the last of them ends."""
    words = ", ".join(f"{one.created_by or 'somebody'}: {one.comment}" for one in silences)
    return PageStatus(receiver, PageState.SILENCED, f"by {words}", max(one.ends_at_ms for one in silences))


def inhibited(receiver: str, by: Sequence[str]) -> PageStatus:
    """By other alerts that fire, named."""
    return PageStatus(receiver, PageState.INHIBITED, "while " + ", ".join(by) + " fires")


def of_group(alert: Alert, leg: Leg, group: Group | None, sent: Sent | None, now_ms: int) -> PageStatus:
    """What the receiver of this leg knows of an alert that nothing holds back."""
    one = identity(alert)
    over = alert.state is AlertState.RESOLVED
    told = sent is not None and one in (sent.resolved if over else sent.firing)
    if group is not None and group.attempts and not told and one in group.alerts:
        return PageStatus(leg.receiver, PageState.RETRYING, f"attempt {group.attempts} failed: {group.problem}",
                          group.due_ms)
    if told and sent is not None:
        return PageStatus(leg.receiver, PageState.TOLD, "resolved" if over else "firing", sent.at_ms)
    if over:
        return PageStatus(leg.receiver, PageState.TOLD, str(Reason.NEVER_SENT), alert.ends_at_ms)
    if group is not None and group.in_flight:
        return PageStatus(leg.receiver, PageState.WAITS, "it is on its way", now_ms)
    due_ms = group.due_ms if group is not None else now_ms
    first = group is None or group.flushed_ms is None
    return PageStatus(
        leg.receiver, PageState.WAITS,
        "its group waits for more (group_wait)" if first else "its group was told a moment ago (group_interval)",
        max(now_ms, due_ms))


def of_places(
    alert: Alert, places: Sequence[tuple[Leg, Group | None, Sent | None]], silences: Sequence[Silence],
    inhibiting: Sequence[Alert], now_ms: int,
) -> list[PageStatus]:
    """What each receiver knows, and what holds the alert back now."""
    found = [of_group(alert, leg, group, sent, now_ms) for leg, group, sent in places]
    if alert.state is AlertState.FIRING and (silences or inhibiting):
        held = silenced("", silences) if silences else inhibited("", [one.name for one in inhibiting])
        found = [held, *(one for one in found if one.state is PageState.TOLD)]
    return in_order(found)


def of_cluster(there: There | None, silences: Sequence[Silence], problems: str, at_ms: int) -> list[PageStatus]:
    """What an attached cluster does with an alert that it was told. `problems`: what its other members answered."""
    lacking = f" ({problems})" if problems else ""
    if there is None:
        return [PageStatus(THEIRS, PageState.WAITS, "the cluster does not show it as firing" + lacking, at_ms)]
    if silences:
        return [silenced("", silences)]
    if there.inhibited_by:
        return [inhibited("", there.inhibited_by)]
    if there.silenced_by:
        return [PageStatus("", PageState.SILENCED, "by " + ", ".join(there.silenced_by))]
    return [PageStatus(name, PageState.HANDED_OVER, "Alertmanager routes and sends it" + lacking, at_ms)
            for name in there.receivers or (THEIRS,)]


def in_order(found: Sequence[PageStatus]) -> list[PageStatus]:
    """The most urgent first."""
    return sorted(found, key=lambda one: (_URGENCY.index(one.state), one.receiver))
