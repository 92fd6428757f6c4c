"""What Grafana reads today, made of what grafanalib writes.

grafanalib is quiet and writes an old schema version with empty fields: here the version is raised, what is empty or
unknown to Grafana today is left out, and panels that it lacks get their present form.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from grafanalib import core
from grafanalib._gen import DashboardEncoder

SCHEMA_VERSION: Final = 41
"""Grafana 12; older ones read what they know, newer ones migrate it."""

METRICS: Final = {"type": "prometheus", "uid": "${datasource}"}
LOGS: Final = {"type": "elasticsearch", "uid": "${logs}"}
SPANS: Final = {"type": "elasticsearch", "uid": "${spans}"}

Panel: TypeAlias = Any
"""A grafanalib panel; it publishes no types."""

_OLD_KEYS: Final = frozenset(
    {
        "rows",
        "style",
        "hideControls",
        "sharedCrosshair",
        "gnetId",
        "inputs",
        "cacheTimeout",
        "error",
        "height",
        "minSpan",
        "span",
        "hideTimeOverride",
        "useTags",
        "tagsQuery",
        "tagValuesQuery",
        "auto",
        "auto_min",
        "auto_count",
        "step",
        "intervalFactor",
        "metric",
        "target",
        "__inputs",
        "repeatDirection",
        "maxPerRow",
    }
)
_KEPT_EMPTY: Final = frozenset({"steps", "list", "panels", "options", "values", "calcs", "bucketAggs"})


class ModernPanel(core.Panel):  # type: ignore[misc]  # grafanalib publishes no types
    """A panel of a type that grafanalib does not know in its present form."""

    def __init__(
        self,
        kind: str,
        options: dict[str, Any],
        defaults: dict[str, Any],
        overrides: Sequence[dict[str, Any]] = (),
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self._body = {
            "type": kind,
            "options": options,
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        }

    def to_json_data(self) -> Any:
        return self.panel_json(self._body)


def json_of(made: core.Dashboard) -> dict[str, Any]:
    """The board as Grafana's JSON."""
    body: dict[str, Any] = _pruned(json.loads(json.dumps(made.to_json_data(), cls=DashboardEncoder, sort_keys=True)))
    return body


def _pruned(value: Any, name: str = "") -> Any:
    """Without nulls, keys of old schemas, and lists that say nothing."""
    if isinstance(value, dict):
        kept = {
            key: _pruned(inner, key) for key, inner in value.items() if inner is not None and key not in _OLD_KEYS
        }
        return {
            key: inner
            for key, inner in kept.items()
            if not (isinstance(inner, list) and not inner and key not in _KEPT_EMPTY) and inner not in ("", {})
        }
    if isinstance(value, list):
        if name == "steps":
            return [{"color": step["color"], "value": step.get("value")} for step in value]
        return [_pruned(inner) for inner in value]
    return value
