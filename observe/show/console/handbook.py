"""Runbooks inside the console's frame: the link in a page works at 3 a.m. without anybody else's web site."""

from markupsafe import Markup
from starlette.routing import BaseRoute

from observe.show.console.page import Ask, Desk, Page
from observe.show.console.standing import stand
from observe.show.problems import NotFound
from observe.show.runbooks import FOLDER, runbook


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context

    def one(ask: Ask) -> Page:
        name = ask.names["name"]
        found = runbook(name)
        if found is None:
            raise NotFound(f"there is no runbook {name[:60]!r}; /runbooks lists those that there are")
        title, body = found
        active = context.alerts.active() if context.alerts else []
        mine = [a for a in active if a.annotations.get("runbook_url", "").rstrip("/").endswith(f"/runbooks/{name}")]
        return Page("runbook.html", title, {
            # Our own files, rendered from escaped text.
            "body": Markup(body),  # noqa: S704
            "firing": [stand(context, alert, ask.now_ms) for alert in mine[:10]],
        })

    def every(ask: Ask) -> Page:  # noqa: ARG001
        found = [(path.stem, read[0]) for path in sorted(FOLDER.glob("*.md")) if (read := runbook(path.stem))]
        return Page("runbooks.html", "Runbooks", {"found": found})

    return [desk.page("/runbooks", every), desk.page("/runbooks/{name}", one)]
