"""The routes, receivers and inhibitions in effect as an alertmanager.yml: what amtool shows and tries routes with."""

from typing import Any

import yaml

from observe.duration import format_duration
from observe.notify.receivers.webhook import masked
from observe.notify.routes import WATCHDOG
from observe.notify.settings import NotifySettings, Route

NOBODY = "nobody"
"""The receiver, in what Alertmanager's tools read, of alerts that no receiver of ours gets."""


def config_text(settings: NotifySettings) -> str:
    """YAML that Alertmanager's own tools parse; addresses without what is secret in them."""
    receivers: dict[str, tuple[str, ...]] = {NOBODY: ()}
    everyone = tuple(one.name for one in settings.receivers if one.name != settings.dead_man_receiver)
    root = _route(settings.route, everyone, receivers)
    root.setdefault("group_by", list(settings.group_by))
    for name, own in _times(settings).items():
        root.setdefault(name, own)
    dead_man = _named((settings.dead_man_receiver,) if settings.dead_man_receiver else (), receivers)
    watchdog = {"receiver": dead_man, "matchers": [f'alertname="{WATCHDOG}"'], "group_by": ["alertname"],
                "group_wait": "0s", "group_interval": format_duration(settings.dead_man_repeat_ms),
                "repeat_interval": format_duration(settings.dead_man_repeat_ms)}
    root["routes"] = [watchdog, *root.get("routes", [])]
    hooks = {one.name: {"url": masked(one.url), "send_resolved": one.send_resolved} for one in settings.receivers}
    told: dict[str, Any] = {
        "global": {"resolve_timeout": format_duration(settings.resolve_timeout_ms)},
        "route": root,
        "inhibit_rules": [
            {"source_matchers": [str(one) for one in rule.source], "target_matchers": [str(one) for one in rule.target],
             "equal": list(rule.equal)}
            for rule in settings.inhibitions
        ],
        "receivers": [
            {"name": name, **({"webhook_configs": [hooks[one] for one in each if one in hooks]} if each else {})}
            for name, each in receivers.items()
        ],
    }
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


def _route(route: Route, above: tuple[str, ...], receivers: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    mine = above if route.receivers is None else route.receivers
    told: dict[str, Any] = {"receiver": _named(mine, receivers)}
    if route.matchers:
        told["matchers"] = [str(one) for one in route.matchers]
    if route.group_by is not None:
        told["group_by"] = list(route.group_by)
    told.update(_times(route))
    if route.continue_:
        told["continue"] = True
    if route.routes:
        told["routes"] = [_route(below, mine, receivers) for below in route.routes]
    return told


def _times(given: Route | NotifySettings) -> dict[str, str]:
    """The times that are given, by Alertmanager's names."""
    found = {"group_wait": given.group_wait_ms, "group_interval": given.group_interval_ms,
             "repeat_interval": given.repeat_interval_ms}
    return {name: format_duration(value) for name, value in found.items() if value is not None}


def _named(names: tuple[str, ...], receivers: dict[str, tuple[str, ...]]) -> str:
    """One name for receivers that a route names together, as Alertmanager knows only one a route."""
    name = " + ".join(names) or NOBODY
    receivers[name] = names
    return name
