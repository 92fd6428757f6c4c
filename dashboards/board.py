"""A board: rows of panels over variables, with firing alerts marked on all of them.

Widths share the 24 columns of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafanalib import core

from observe.dashboards.grafana_json import METRICS, SCHEMA_VERSION, Panel, json_of

_ROW_HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
    height: int = _ROW_HEIGHT


def chosen_by(label: str, metric: str, *, title: str = "", every: bool = True, within: str = "") -> core.Template:
    """A variable: the values of a label of a metric."""
    query = f"label_values({metric}{{{within}}}, {label})" if within else f"label_values({metric}, {label})"
    return core.Template(
        name=label,
        label=title or label,
        query=query,
        dataSource=METRICS,
        includeAll=every,
        multi=every,
        refresh=2,
        allValue=".+" if every else None,
        default="All" if every else None,
        sort=1,
    )


def named(name: str, pattern: str, *, title: str) -> core.Template:
    """A variable: the names of metrics that match."""
    return core.Template(
        name=name,
        label=title,
        query=f"metrics({pattern})",
        dataSource=METRICS,
        includeAll=True,
        multi=True,
        refresh=2,
        allValue=pattern,
        default="All",
        sort=1,
    )


def board(
    title: str,
    uid: str,
    description: str,
    rows: Sequence[Row],
    *,
    variables: Sequence[core.Template] = (),
    tags: Sequence[str] = (),
    with_logs: bool = False,
) -> dict[str, Any]:
    """The board as Grafana's JSON, ready to be written."""
    sources = [
        core.Template(name="datasource", label="Metrics", query="prometheus", type="datasource", dataSource=None)
    ]
    if with_logs:
        sources = [
            core.Template(name="logs", label="Logs", query="elasticsearch", type="datasource", dataSource=None),
            core.Template(name="spans", label="Spans", query="elasticsearch", type="datasource", dataSource=None),
            core.Template(
                name="console",
                label="Console of observe",
                query="http://localhost:9900",
                type="textbox",
                dataSource=None,
            ),
            *sources,
        ]
    made = core.Dashboard(
        title=title,
        uid=uid,
        description=description,
        tags=["observe", *tags],
        schemaVersion=SCHEMA_VERSION,
        refresh="30s",
        time=core.Time("now-1h", "now"),
        timezone="browser",
        panels=_placed(rows),
        graphTooltip=1,
        editable=True,
        templating=core.Templating(list=[*sources, *variables]),
        annotations=core.Annotations(list=_alerts()),
    )
    body = json_of(made)
    for variable in body["templating"]["list"]:
        chosen = {"selected": True, "text": ["All"], "value": ["$__all"]} if variable["includeAll"] else {}
        if variable["name"] in {"logs", "spans"}:  # who has no source with this uid gets the first one to choose from
            chosen = {"selected": False, "text": variable["label"], "value": f"observe-{variable['name']}"}
        variable["current"] = chosen  # grafanalib writes a value "All", which Grafana takes for a label's value
    return body


def _placed(rows: Sequence[Row]) -> list[Panel]:
    placed, y, number = [], 0, 1
    for row in rows:
        placed.append(
            core.RowPanel(title=row.title, gridPos=core.GridPos(h=1, w=24, x=0, y=y), id=number, collapsed=False)
        )
        y, number, x = y + 1, number + 1, 0
        width = 24 // len(row.panels)
        for panel in row.panels:
            panel.gridPos, panel.id = core.GridPos(h=row.height, w=width, x=x, y=y), number
            placed.append(panel)
            x, number = x + width, number + 1
        y += row.height
    return placed


def _alerts() -> list[dict[str, Any]]:
    """Firing bands as marks over every panel."""
    return [
        {
            "name": "Alerts",
            "datasource": METRICS,
            "enable": True,
            "iconColor": "red",
            "titleFormat": "{{alertname}}",
            "expr": 'ALERTS{alertstate="firing", alertname!="Watchdog"}',
            "step": "30s",
            "textFormat": "{{service}} {{endpoint}}",
            "target": {"expr": 'ALERTS{alertstate="firing", alertname!="Watchdog"}', "refId": "Anno"},
        }
    ]
