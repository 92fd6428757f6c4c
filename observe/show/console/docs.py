"""/docs: the HTTP API, written out from the OpenAPI description. No CDN, no script."""

from collections.abc import Callable
from typing import Any

from starlette.routing import BaseRoute

from observe.show.console.page import Ask, Desk, Page


def routes(desk: Desk, schema: Callable[[], dict[str, Any]]) -> list[BaseRoute]:
    def docs(ask: Ask) -> Page:  # noqa: ARG001
        described = schema()
        by_tag: dict[str, list[dict[str, Any]]] = {}
        for path, operations in described["paths"].items():
            first = next(iter(operations.values()))
            form = first.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded", {})
            needed = form.get("schema", {}).get("required", [])
            parameters = first.get("parameters") or [
                {"name": name, "required": name in needed, "description": body.get("description", "")}
                for name, body in form.get("schema", {}).get("properties", {}).items()
            ]
            by_tag.setdefault((first.get("tags") or ["Other"])[0], []).append({
                "path": path, "methods": [method.upper() for method in operations], "summary": first.get("summary", ""),
                "parameters": parameters, "example": first.get("x-example", ""),
            })
        return Page("docs.html", "HTTP API", {"by_tag": by_tag, "version": described["info"]["version"]})

    return [desk.page("/docs", docs)]
