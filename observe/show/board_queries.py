"""What a board asks: its panels, their expressions, and its variables as Grafana fills them in for a reader."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_BUILT_IN: Final = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
    "__interval_ms": "15000",
    "__range_s": "3600",
}
_CHOICES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::\w+)?\}|(?P<bare>[A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True)
class Expression:
    """One query of one panel, its variables filled in."""

    board: str
    panel: str
    expr: str
    legend: str = ""
    """The template of its series' names."""


def panels(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something: rows are titles."""
    return [panel for panel in body.get("panels", ()) if panel.get("type") != "row"]


def expressions(body: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> list[Expression]:
    """Every PromQL expression of a board, with `variables` filled in (``.+`` where none is given; see `chosen`)."""
    return [
        Expression(
            str(body.get("title", "")), str(panel.get("title", "")), _filled(target["expr"], variables or {}),
            str(target.get("legendFormat", "")),
        )
        for panel in panels(body)
        for target in panel.get("targets", ())
        if target.get("expr")
    ]


def chosen(
    body: Mapping[str, Any], label_values: Callable[[str, str], Sequence[str]], picked: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables of a board as Grafana fills them in for who opens it: the first value, or all where many may be.

    `label_values` gives the values of a label of the series that a selector selects. `picked` are those that the reader
    chose; others may depend on them.
    """
    values = dict(picked or {})
    for variable in body.get("templating", {}).get("list", ()):
        name, asked = variable["name"], _CHOICES.fullmatch(str(variable.get("query", "")))
        if name in values or variable.get("type") != "query":
            continue
        if asked is None:
            values[name] = str(variable.get("allValue", ".+"))
            continue
        found = sorted(label_values(_filled(asked["selector"], values), asked["label"]))
        if variable.get("multi"):
            values[name] = f"({'|'.join(_literal(one) for one in found)})"
        elif found:
            values[name] = found[0]
    return values


def _literal(text: str) -> str:
    """A label's value within a pattern within a quoted string, as Grafana writes it."""
    return re.escape(text).replace("\\-", "-").replace("\\", "\\\\")


def _filled(text: str, variables: Mapping[str, str]) -> str:
    values = {**_BUILT_IN, **variables}
    return _VARIABLE.sub(lambda match: values.get(match["braced"] or match["bare"], ".+"), text)
