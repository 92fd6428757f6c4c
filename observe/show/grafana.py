"""Boards into a Grafana, through its HTTP API, with the token of a service account."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from observe.errors import ConfigError, Problem, Unavailable


def push(
    url: str, token: str, bodies: Iterable[Mapping[str, Any]], folder: str = "observe", timeout_s: float = 20.0
) -> list[str]:
    """Send boards to a Grafana; returns their addresses there. Raises `Unavailable` or `ConfigError`."""
    import httpx

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    pushed = []
    with httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s) as grafana:
        folder_uid = _folder(grafana, folder)
        for body in bodies:
            answer = _asked(
                grafana,
                "POST",
                "/api/dashboards/db",
                {"dashboard": body, "overwrite": True, "folderUid": folder_uid, "message": "observe boards push"},
            )
            pushed.append(url.rstrip("/") + str(answer.get("url", f"/d/{body['uid']}")))
    return pushed


def _folder(grafana: Any, title: str) -> str:
    uid = re.sub(r"[^a-z0-9-]+", "-", title.lower()).strip("-") or "observe"
    if _has(grafana, f"/api/folders/{uid}"):
        return uid
    return str(_asked(grafana, "POST", "/api/folders", {"title": title, "uid": uid}).get("uid", uid))


def _has(grafana: Any, path: str) -> bool:
    """Whether Grafana knows the thing at `path`."""
    return _status(grafana, "GET", path, None)[0] == 200


def _asked(grafana: Any, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = _status(grafana, method, path, body)
    if status in {401, 403}:
        raise ConfigError(
            Problem(
                f"Grafana refuses the token ({status})",
                where=str(grafana.base_url),
                why=str(answer.get("message", "")),
                fix="give one of a service account with the role Editor, in GRAFANA_TOKEN or --token-file",
            )
        )
    if status >= 400:
        raise Unavailable(
            f"Grafana at {grafana.base_url} answered {status} to {method} {path}: {answer.get('message', '')}",
            retryable=status >= 500 or status == 429,
        )
    return answer


def _status(grafana: Any, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
    import httpx

    try:
        answer = grafana.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise Unavailable(f"cannot reach Grafana at {grafana.base_url}: {error}") from error
    try:
        told = answer.json()
    except ValueError:
        told = {"message": answer.text[:200]}
    return answer.status_code, told if isinstance(told, dict) else {}
