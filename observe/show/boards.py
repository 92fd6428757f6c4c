"""Grafana boards: built from `*.dashboard.py`, checked, listed for the console.

Only `build` loads the panel library; a running server reads the generated JSON alone.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import observe.dashboards
from observe.durable import write_file
from observe.errors import ConfigError, ObserveError, Problem, QueryError
from observe.promql.parse import parse
from observe.show.board_queries import expressions, panels
from observe.show.context import BoardFile

SOURCES: Final = Path(observe.dashboards.__file__).parent


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


def generated(sources: Path = SOURCES) -> dict[Path, dict[str, Any]]:
    """The generated boards by their files."""
    files = sorted(generated_folder(sources).glob("*.json"))
    return {path: json.loads(path.read_text("utf-8")) for path in files}


def listed(sources: Path = SOURCES) -> list[BoardFile]:
    """The generated boards, for the console."""
    return [
        BoardFile(
            body["title"],
            body["uid"],
            body.get("description", ""),
            len(panels(body)),
            str(path),
            tuple(body.get("tags", ())),
        )
        for path, body in generated(sources).items()
    ]
