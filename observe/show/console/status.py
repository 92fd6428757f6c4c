"""What the house itself looks like: rules, targets, boards, and why something is not ready."""

import json
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from starlette.responses import Response
from starlette.routing import BaseRoute

from observe.protocols import RuleStatus, TargetHealth
from observe.show.boards import listed
from observe.show.console.lateness import is_late
from observe.show.console.page import Ask, Desk, Page
from observe.show.console.parts import attempt_list
from observe.show.problems import NotFound

_MOST_TARGETS = 300


@dataclass(frozen=True, slots=True)
class Job:
    """The targets of one scrape job, as many as the page lists, and how many there are."""

    name: str
    total: int
    up: int
    rows: list[TargetHealth]


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context

    known_boards = context.boards or listed

    def rules(ask: Ask) -> Page:
        found = attempt_list(lambda: context.alerts.rules() if context.alerts else [])
        wanted = ask.get("q").lower()
        shown = [r for r in found.value if wanted in f"{r.group} {r.name} {r.expr} {r.file}".lower()]
        return Page("rules.html", "Rules", {
            "wanted": ask.get("q"), "problem": found.problem, "total": len(found.value),
            "groups": _grouped(shown), "failing": sum(r.health == "err" for r in found.value),
            "banded": [r for r in found.value if r.band is not None],
        }, live=True)

    def targets(ask: Ask) -> Page:
        found = attempt_list(context.targets)
        only, wanted = ask.get("show"), ask.get("q").lower()
        chosen = [
            t for t in found.value
            if (only != "down" or t.up is False) and wanted in f"{t.job} {t.url} {t.labels} {t.last_error}".lower()
        ]
        by_job = {job: list(rows) for job, rows in groupby(sorted(chosen, key=_by_job), key=lambda t: t.job)}
        jobs = [Job(job, len(rows), sum(t.up is True for t in rows), rows) for job, rows in by_job.items()]
        return Page("targets.html", "Targets", {
            "jobs": _cut(sorted(jobs, key=lambda job: all(t.up is not False for t in job.rows))),  # trouble first
            "late": lambda target: is_late(target, ask.now_ms),
            "chosen": len(chosen), "most": _MOST_TARGETS, "wanted": ask.get("q"),
            "problem": found.problem, "total": len(found.value), "only": only,
            "up": sum(t.up is True for t in found.value), "down": sum(t.up is False for t in found.value),
            "unknown": sum(t.up is None for t in found.value), "samples": sum(t.samples for t in found.value),
        }, live=True)

    def boards(ask: Ask) -> Page:  # noqa: ARG001
        return Page("boards.html", "Boards", {"found": attempt_list(known_boards)})

    def board(ask: Ask) -> Response:
        wanted = ask.names["uid"]
        found = next((b for b in known_boards() if b.uid == wanted), None)
        if found is None:
            raise NotFound(f"there is no board {wanted[:60]!r}")
        body = json.loads(Path(found.path).read_text("utf-8"))
        return Response(
            json.dumps(body, indent=2), media_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{wanted}.json"'},
        )

    return [
        desk.page("/rules", rules), desk.page("/targets", targets), desk.page("/boards", boards),
        desk.page("/boards/{uid}.json", board),
    ]


def _grouped(rules: list[RuleStatus]) -> list[tuple[str, str, list[RuleStatus]]]:
    ordered = sorted(enumerate(rules), key=lambda pair: (pair[1].file, pair[1].group, pair[0]))
    return [
        (group, "/".join(file.split("/")[-2:]), [rule for _, rule in rows])
        for (file, group), rows in groupby(ordered, key=lambda pair: (pair[1].file, pair[1].group))
    ]


def _cut(jobs: list[Job]) -> list[Job]:
    """The first targets, so that a page stays one that a phone can hold; of each job those that are down come first."""
    shown, left = [], _MOST_TARGETS
    for job in jobs:
        if left > 0:
            shown.append(replace(job, rows=job.rows[:left]))
        left -= len(job.rows)
    return shown


def _by_job(target: TargetHealth) -> tuple[str, bool, str]:
    return target.job, target.up is not False, target.labels.get("instance", target.url)
