"""The `notify:` section of observe.yml. Routes, receivers and inhibitions are written as in alertmanager.yml."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from observe.config_parts import Duration, Section, Url, Wait
from observe.errors import InvalidInput


def _matcher(value: str) -> str:
    from observe.notify.matcher_text import parse_matchers  # RE2, which a reader of the file alone does not need

    try:
        found = parse_matchers(value)
    except InvalidInput as error:
        raise ValueError("; ".join(f"{one.what} ({one.fix})" for one in error.problems)) from error
    if not found:
        raise ValueError('an empty matcher: write severity="critical"')
    return value


def _group_by(value: tuple[str, ...]) -> tuple[str, ...]:
    if "..." in value and len(value) > 1:
        raise ValueError("'...' means every label: write it alone")
    return value


MatcherText = Annotated[str, AfterValidator(_matcher)]
"""``severity="critical"``; operators =, !=, =~, !~."""
GroupBy = Annotated[tuple[str, ...], AfterValidator(_group_by)]


class WebhookConfig(Section):
    """Where Alertmanager's v4 JSON is posted."""

    url: Url
    send_resolved: bool = True
    headers: dict[str, str] = Field(default_factory=dict)
    max_alerts: int = Field(default=100, ge=0)
    timeout: Duration = 10_000


class Webhook(WebhookConfig):
    """A receiver with one webhook."""

    name: str = ""


class ReceiverSection(Section):
    """A receiver as in alertmanager.yml."""

    name: str = Field(min_length=1)
    webhook_configs: tuple[WebhookConfig, ...] = Field(min_length=1)


class RouteSection(Section):
    """A route below the root. What is not given is as in the route above."""

    receiver: str | None = None
    matchers: tuple[MatcherText, ...] = ()
    group_by: GroupBy | None = None
    group_wait: Wait | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    continue_: bool = Field(default=False, alias="continue")
    routes: "tuple[RouteSection, ...]" = ()


class RootRoute(Section):
    """The route that every alert enters. Without `receiver` what no other route takes goes to every receiver."""

    receiver: str | None = None
    group_by: GroupBy | None = None
    group_wait: Wait | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    routes: tuple[RouteSection, ...] = ()


class InhibitRule(Section):
    """While an alert that matches the source fires, those that match the target and agree on `equal` are held back."""

    source_matchers: tuple[MatcherText, ...] = Field(min_length=1)
    target_matchers: tuple[MatcherText, ...] = Field(min_length=1)
    equal: tuple[str, ...] = ()


class Notify(Section):
    """Who is told, and how alerts are put together before."""

    webhooks: tuple[Webhook, ...] = ()
    receivers: tuple[ReceiverSection, ...] = ()
    route: RootRoute = RootRoute()
    inhibit_rules: tuple[InhibitRule, ...] | None = None
    """None: a critical alert holds back warnings of the same alertname and service."""
    group_by: GroupBy = ("alertname", "service")
    group_wait: Wait = 10_000
    group_interval: Duration = 60_000
    repeat_interval: Duration = 4 * 3_600_000
    resolve_timeout: Duration = 300_000
    """An alert that others push resolves when it was not pushed again for so long."""
    max_groups: int = Field(default=10_000, gt=0)
    max_alerts: int = Field(default=50_000, gt=0)
    dead_man: str = ""
    """Name of the receiver that gets the Watchdog, and nothing else."""

    @property
    def receiver_names(self) -> list[str]:
        """Of webhooks and receivers; a webhook without a name gets one."""
        return [*(webhook_name(hook.name, place) for place, hook in enumerate(self.webhooks)),
                *(one.name for one in self.receivers)]


def webhook_name(name: str, place: int) -> str:
    return name or (f"webhook-{place + 1}" if place else "webhook")


@dataclass(frozen=True, slots=True)
class Misdirected:
    """A name in `notify:` that stands for nobody, or for two."""

    at: tuple[str | int, ...]
    what: str
    why: str
    fix: str


def misdirected(notify: Any) -> Iterator[Misdirected]:
    """Every wrong name in a `notify:` as it was read, whatever else may be wrong with it."""
    if not isinstance(notify, Mapping):
        return
    known: dict[str, tuple[str | int, ...]] = {}
    for section in ("webhooks", "receivers"):
        for place, one in enumerate(_items(notify.get(section))):
            name = one.get("name") if isinstance(one, Mapping) else None
            text = webhook_name(str(name or ""), place) if section == "webhooks" else str(name or "")
            at: tuple[str | int, ...] = ("notify", section, place, "name")
            if text in known:
                yield Misdirected(at, f"two receivers are called `{text}`", "routes could not tell them apart",
                                  "give each a name of its own")
            elif text:
                known[text] = at
    dead_man = ("notify", "dead_man")
    for at, name in [*_named(notify.get("route"), ("notify", "route")), (dead_man, notify.get("dead_man"))]:
        if isinstance(name, str) and name and name not in known:
            there = ", ".join(known) or "none"
            yield Misdirected(at, f"no receiver is called `{name}`", f"there are: {there}",
                              "add it under `receivers:` or `webhooks:`, or correct the name")


def _named(route: Any, at: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if not isinstance(route, Mapping):
        return
    if "receiver" in route:
        yield (*at, "receiver"), route["receiver"]
    for place, below in enumerate(_items(route.get("routes"))):
        yield from _named(below, (*at, "routes", place))


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
