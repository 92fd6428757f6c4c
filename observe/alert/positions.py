"""YAML that remembers where each word stood, so that a problem can point at it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from observe.errors import Problem
from observe.nearest import nearest


@dataclass
class Source:
    """One YAML file and the problems found in it."""

    name: str
    text: str
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] | None = None
    """Where to tell what is not done although Prometheus does it; None: that is a problem."""
    _lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.text.splitlines()

    def compose(self) -> yaml.Node | None:
        """The file as nodes; None when it is empty or not YAML (which is then a problem)."""
        try:
            return yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line if mark else 0
            self.at(
                line, mark.column if mark else 0, 1, "this is not YAML", why=error.problem or "it does not parse",
                fix="look at the indentation and the quotes here and on the line before",
            )
        except yaml.YAMLError as error:
            self.problems.append(Problem("this is not YAML", where=self.name, why=str(error)))
        return None

    def at(self, line: int, column: int, width: int, what: str, *, why: str = "", fix: str = "") -> None:
        """Add a problem at a place that counts from 0."""
        source = self._lines[line] if line < len(self._lines) else ""
        self.problems.append(Problem(
            what, where=self.name, line=line + 1, column=column + 1, width=max(1, min(width, len(source) - column)),
            source=source, why=why, fix=fix,
        ))

    def on(self, node: yaml.Node, what: str, *, why: str = "", fix: str = "") -> None:
        """Add a problem that points at a whole node (its first line)."""
        start, end = node.start_mark, node.end_mark
        width = end.column - start.column if end.line == start.line else 10_000
        self.at(start.line, start.column, width, what, why=why, fix=fix)

    def inside(self, node: yaml.Node, found: Problem) -> None:
        """Add a problem found in the text of a scalar; its line and column count within that text."""
        line, column = self.place_in(node, (found.line or 1) - 1, (found.column or 1) - 1)
        if found.column is None:
            self.on(node, found.what, why=found.why, fix=found.fix)
        else:
            self.at(line, column, found.width, found.what, why=found.why, fix=found.fix)

    def place_in(self, node: yaml.Node, line: int, column: int) -> tuple[int, int]:
        """Where character `column` of line `line` of a scalar's text stands in the file (all from 0)."""
        start = node.start_mark
        style = getattr(node, "style", None)
        if style in {"|", ">"}:
            first = start.line + 1
            while first < len(self._lines) and not self._lines[first].strip():
                first += 1
            at = min(first + line, len(self._lines) - 1)
            indent = len(self._lines[first]) - len(self._lines[first].lstrip()) if first < len(self._lines) else 0
            return at, indent + column
        if line == 0:
            return start.line, start.column + column + (1 if style in {"'", '"'} else 0)
        at = min(start.line + line, len(self._lines) - 1)
        return at, len(self._lines[at]) - len(self._lines[at].lstrip()) + column


@dataclass
class Entry:
    """One key of a mapping with its value."""

    key: yaml.Node
    value: yaml.Node

    @property
    def text(self) -> str:
        """The value as the file spells it; empty unless it is a scalar."""
        return str(self.value.value) if isinstance(self.value, yaml.ScalarNode) else ""


def mapping(source: Source, node: yaml.Node, what: str, known: tuple[str, ...] | None) -> dict[str, Entry]:
    """The entries of a mapping; a key that is unknown or there twice is a problem."""
    if not isinstance(node, yaml.MappingNode):
        source.on(node, f"{what} must be a mapping", fix="write it as `key: value` lines")
        return {}
    entries: dict[str, Entry] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in entries:
            source.on(key, f"`{name}` is there twice in {what}", why="the second would silently win",
                      fix="keep one of them")
        elif known is not None and name not in known:
            near = nearest(name, known)
            source.on(key, f"unknown key `{name}` in {what}", why="a typo would silently change what is alerted on",
                      fix=(f"did you mean `{near}`?" if near else "use one of: " + ", ".join(known)))
        else:
            entries[name] = Entry(key, value)
    return entries


def sequence(source: Source, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
    """The items of a list."""
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif not (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
        source.on(node, f"{what} must be a list", fix="start each item with `- `")


def plain(node: yaml.Node) -> Any:
    """The node as ordinary Python values."""
    return yaml.SafeLoader("").construct_object(node, deep=True)

