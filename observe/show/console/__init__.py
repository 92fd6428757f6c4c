"""The console: server-rendered pages, no CDN, readable without a script, useful at 3 a.m."""

from collections.abc import Callable
from typing import Any

from starlette.routing import BaseRoute

from observe.show.auth import Gatekeeper
from observe.show.console import (
    alert_page,
    alerts,
    docs,
    explore,
    handbook,
    home,
    logs,
    lookup,
    service,
    sign_in,
    silencing,
    status,
)
from observe.show.console import traces as traces_page
from observe.show.console.page import Desk
from observe.show.console.static import static_routes

__all__ = ["Desk", "console_routes"]


def console_routes(
    desk: Desk, keeper: Gatekeeper, schema: Callable[[], dict[str, Any]]
) -> list[BaseRoute]:
    """Every page. `schema` gives the OpenAPI description that /docs shows."""
    return [
        *static_routes(),
        *home.routes(desk),
        *silencing.routes(desk),
        *alerts.routes(desk),
        *alert_page.routes(desk),
        *logs.routes(desk),
        *traces_page.routes(desk),
        *explore.routes(desk),
        *service.routes(desk),
        *status.routes(desk),
        *handbook.routes(desk),
        *lookup.routes(desk),
        *docs.routes(desk, schema),
        *sign_in.routes(desk, keeper),
    ]
