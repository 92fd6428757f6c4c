"""YAML that knows where everything stands, so that an error can point at it.

`read` gives plain data and, for every mapping key and list item, its line and column; a key given twice is a problem,
because YAML would silently keep the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from observe.errors import InvalidInput, Problem

Location = tuple[str | int, ...]
"""The way to a value: mapping keys and list indices from the root."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """Parsed YAML and the place of each of its parts. Lines and columns count from 1."""

    name: str
    data: Any
    lines: tuple[str, ...]
    keys: Mapping[Location, tuple[int, int]] = field(default_factory=dict)
    values: Mapping[Location, tuple[int, int]] = field(default_factory=dict)
    duplicates: tuple[Problem, ...] = ()

    def problem(
        self, at: Sequence[str | int], what: str, *, why: str = "", fix: str = "", key: bool = False,
    ) -> Problem:
        """A problem with the value at `at` (or with its key), or with the nearest part above that exists."""
        places = self.keys if key else self.values
        location = tuple(at)
        while location and location not in places and location not in self.values:
            location = location[:-1]
        line, column = places.get(location) or self.values.get(location) or (1, 1)
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        word = str(location[-1]) if key and location else ""
        named = word and source[column - 1 :].startswith(word)
        width = len(word) if named else max(1, len(source.rstrip()) - column + 1)
        return Problem(what, self.name, line, column, width, source.rstrip(), why, fix)

    def line(self, at: Sequence[str | int]) -> int:
        """The line of the value at `at`; 1 where it is not there."""
        return self.values.get(tuple(at), (1, 1))[0]


def read(path: Path) -> YamlFile:
    """Read a file. Raises InvalidInput when it cannot be read or is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            Problem(f"cannot read {path}", why=error.strerror or str(error), fix="check the path and its permissions"),
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(Problem(f"{path} is not UTF-8 text", why=str(error))) from error
    return parse(text, str(path))


def parse(text: str, name: str) -> YamlFile:
    """Parse `text`; `name` stands in messages. Raises InvalidInput when it is not YAML."""
    lines = tuple(text.splitlines())
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        source = lines[line - 1] if line <= len(lines) else ""
        fix = ("indent with spaces: YAML takes no tabs" if source[column - 1 : column] == "\t" else
               "look at the indentation, the quotes and the brackets, here and on the lines before")
        problem = Problem("not valid YAML", name, line, column, 1, source, error.problem or "", fix)
        raise InvalidInput(problem) from error
    except yaml.YAMLError as error:
        raise InvalidInput(Problem("not valid YAML", name, why=str(error))) from error
    keys: dict[Location, tuple[int, int]] = {}
    values: dict[Location, tuple[int, int]] = {}
    duplicates: list[Problem] = []
    if root is not None:
        _walk(root, (), keys, values, duplicates, name, lines)
    return YamlFile(name, yaml.safe_load(text), lines, keys, values, tuple(duplicates))


def _walk(
    node: yaml.Node, at: Location, keys: dict[Location, tuple[int, int]], values: dict[Location, tuple[int, int]],
    duplicates: list[Problem], name: str, lines: tuple[str, ...],
) -> None:
    values[at] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            word = str(key.value)
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if word in seen:
                duplicates.append(Problem(
                    f"`{word}` is given twice", name, line, column, len(word), lines[line - 1],
                    "only the last one would count", "remove one of the two",
                ))
            seen.add(word)
            keys[(*at, word)] = (line, column)
            _walk(value, (*at, word), keys, values, duplicates, name, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*at, index), keys, values, duplicates, name, lines)
