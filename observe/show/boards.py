"""Grafana boards: built from `*.dashboard.py`, checked, listed for the console, pushed to a Grafana.

Only `build` loads the panel library; a running server reads the generated JSON alone.
"""

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import observe.dashboards
from observe.durable import write_file
from observe.errors import ConfigError, ObserveError, Problem, QueryError, Unavailable
from observe.promql.parse import parse
from observe.show.context import BoardFile

SOURCES: Final = Path(observe.dashboards.__file__).parent
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


def generated_folder(sources: Path = SOURCES) -> Path:
    return sources / "generated"


def build(sources: Path = SOURCES) -> dict[str, dict[str, Any]]:
    """Every board by its name: runs each `NAME.dashboard.py` and takes its `dashboard`."""
    built: dict[str, dict[str, Any]] = {}
    for path in sorted(sources.glob("*.dashboard.py")):
        name = path.name.removesuffix(".dashboard.py")
        spec = importlib.util.spec_from_file_location(f"observe_board_{name}", path)
        if spec is None or spec.loader is None:
            raise ConfigError(Problem("this is no Python file", where=str(path)))
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            built[name] = module.dashboard
        except ObserveError:
            raise
        except Exception as error:
            raise ConfigError(
                Problem(
                    f"the board cannot be built: {type(error).__name__}: {error}",
                    where=str(path),
                    fix="it must set `dashboard = board(...)`",
                )
            ) from error
    return built


def text_of(body: Mapping[str, Any]) -> bytes:
    """The JSON as it is committed."""
    return (json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write(sources: Path = SOURCES) -> list[Path]:
    """Build all and write those that changed; files without a source are removed. Returns what was touched."""
    folder = generated_folder(sources)
    folder.mkdir(exist_ok=True)
    built, touched = build(sources), []
    for name, body in built.items():
        path, data = folder / f"{name}.json", text_of(body)
        if not path.exists() or path.read_bytes() != data:
            write_file(path, data)
            touched.append(path)
    for path in folder.glob("*.json"):
        if path.stem not in built:
            path.unlink()
            touched.append(path)
    return touched


def check(sources: Path = SOURCES) -> list[Problem]:
    """What is wrong with the boards: stale files, unreadable expressions, panels without unit or description."""
    problems: list[Problem] = []
    folder, built = generated_folder(sources), build(sources)
    for name, body in built.items():
        path = folder / f"{name}.json"
        if not path.exists() or path.read_bytes() != text_of(body):
            problems.append(
                Problem("the generated board is not fresh", where=str(path), fix="run `observe boards build`")
            )
        problems.extend(_panel_problems(name, body))
    problems.extend(
        Problem("this board has no source any more", where=str(path), fix="run `observe boards build`")
        for path in sorted(folder.glob("*.json"))
        if path.stem not in built
    )
    seen: dict[str, str] = {}
    for name, body in built.items():
        other = seen.setdefault(body["uid"], name)
        if other != name:
            problems.append(
                Problem(
                    f"the uid {body['uid']!r} is used twice",
                    where=f"{name}.dashboard.py",
                    why=f"{other} has it too, and Grafana keeps one",
                )
            )
    return problems


def _panel_problems(name: str, body: Mapping[str, Any]) -> Iterator[Problem]:
    where = f"{name}.dashboard.py"
    for panel in panels(body):
        title = panel.get("title", "untitled")
        if not panel.get("description"):
            yield Problem(f"the panel {title!r} has no description", where=where)
        if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
            yield Problem(f"the panel {title!r} has no unit", where=where)
    for found in expressions(body):
        try:
            parse(found.expr)
        except QueryError as error:
            yield Problem(
                f"the panel {found.panel!r} has an expression that cannot be read", where=where, why=str(error)
            )


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


def listed(sources: Path = SOURCES) -> list[BoardFile]:
    """The generated boards, for the console."""
    found = []
    for path in sorted(generated_folder(sources).glob("*.json")):
        body = json.loads(path.read_text("utf-8"))
        found.append(
            BoardFile(
                body["title"],
                body["uid"],
                body.get("description", ""),
                len(panels(body)),
                str(path),
                tuple(body.get("tags", ())),
            )
        )
    return found


def push(
    url: str, token: str, folder: str = "observe", sources: Path = SOURCES, timeout_s: float = 20.0
) -> list[str]:
    """Send every generated board to a Grafana; returns their addresses there. Raises `Unavailable` or `ConfigError`."""
    import httpx

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    pushed = []
    with httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s) as grafana:
        folder_uid = _folder(grafana, folder)
        for path in sorted(generated_folder(sources).glob("*.json")):
            body = json.loads(path.read_text("utf-8"))
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
    if grafana_has(grafana, f"/api/folders/{uid}"):
        return uid
    return str(_asked(grafana, "POST", "/api/folders", {"title": title, "uid": uid}).get("uid", uid))


def grafana_has(grafana: Any, path: str) -> bool:
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
