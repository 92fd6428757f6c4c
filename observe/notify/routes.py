"""From an alert to the groups that it belongs to: the route tree, flattened where it matches."""

from dataclasses import dataclass

from observe.model import Labels
from observe.notify.matching import matches
from observe.notify.settings import NotifySettings, Route

WATCHDOG = "Watchdog"


@dataclass(frozen=True, slots=True)
class Leg:
    """One receiver of one matching route, with the effective times."""

    receiver: str
    path: str
    """Names the route, so that two routes to one receiver group apart."""
    group_by: tuple[str, ...]
    group_wait_ms: int
    group_interval_ms: int
    repeat_interval_ms: int

    def group(self, labels: Labels) -> tuple[str, Labels]:
        """The key and the labels of the group that an alert falls into."""
        shared = labels if self.group_by == ("...",) else labels.only(self.group_by)
        return f"{self.path}:{shared}", shared


def legs(settings: NotifySettings, labels: Labels) -> list[Leg]:
    """Where an alert with these labels goes. Empty: to nobody."""
    if labels.get("alertname") == WATCHDOG:
        # The dead-man's switch proves by arriving that pages arrive; on-call's own channel is not the place for it.
        if settings.dead_man_receiver is None:
            return []
        return [Leg(settings.dead_man_receiver, "{dead man}", ("alertname",), 0, settings.dead_man_repeat_ms,
                    settings.dead_man_repeat_ms)]
    everyone = tuple(receiver.name for receiver in settings.receivers if receiver.name != settings.dead_man_receiver)
    top = Leg("", "{}", settings.group_by, settings.group_wait_ms, settings.group_interval_ms,
              settings.repeat_interval_ms)
    found: dict[tuple[str, str], Leg] = {}
    for leg in _walk(settings.route, labels, top, everyone, "{}"):
        found[leg.receiver, leg.path] = leg
    return list(found.values())


def _walk(route: Route, labels: Labels, above: Leg, receivers: tuple[str, ...], path: str) -> list[Leg]:
    if not matches(route.matchers, labels):
        return []
    mine = Leg(
        "", path,
        above.group_by if route.group_by is None else route.group_by,
        above.group_wait_ms if route.group_wait_ms is None else route.group_wait_ms,
        above.group_interval_ms if route.group_interval_ms is None else route.group_interval_ms,
        above.repeat_interval_ms if route.repeat_interval_ms is None else route.repeat_interval_ms,
    )
    receivers = receivers if route.receivers is None else route.receivers
    found: list[Leg] = []
    for child in route.routes:
        below = f"{path}/{{{','.join(map(str, child.matchers))}}}"
        deeper = _walk(child, labels, mine, receivers, below)
        found.extend(deeper)
        if deeper and not child.continue_:
            break
    if found:
        return found
    return [
        Leg(name, path, mine.group_by, mine.group_wait_ms, mine.group_interval_ms, mine.repeat_interval_ms)
        for name in receivers
    ]
