"""The YAML file of the `business` exporter: read, checked, and every problem told at once with its line."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from observe.duration import parse_duration_ms
from observe.errors import ConfigError, Problem
from observe.exporters.fetch import check_url
from observe.exporters.page import Kind, Metric

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_LABEL: Final = re.compile(r"[a-z_][a-z0-9_]*")
_PASSWORD: Final = re.compile(r"(://[^/@:]*:)[^/@]+@")
RESERVED_LABELS: Final = frozenset(("le", "quantile", "job", "instance"))
"""Of histograms, and those that a scrape gives."""
UNITS: Final = ("seconds", "bytes", "ratio", "celsius", "watts", "joules", "hertz")
SOURCE_KEYS: Final = frozenset(("name", "sql", "http", "log", "every", "timeout", "max_rows", "metrics"))
METRIC_KEYS: Final = frozenset(
    ("name", "type", "unit", "help", "value", "good", "total", "labels", "each", "scale", "contains", "where"),
)
KIND_KEYS: Final = {
    "sql": frozenset(("url", "query", "password_file", "password_env")),
    "http": frozenset(("url", "headers", "user", "password_file", "password_env", "ca_file")),
    "log": frozenset(("path", "from")),
}


class Marked(dict[str, Any]):
    """A mapping that knows its line, and its keys' lines."""

    line = 0

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One metric of a source, and where its value is found."""

    metrics: tuple[Metric, ...]
    """One; or good and total of a success rate."""
    values: tuple[str, ...]
    """Column, JMESPath or (of a log) nothing, for each of `metrics`."""
    labels: Mapping[str, str]
    """Label -> column, JMESPath or field."""
    scale: float = 1.0
    """What a value is multiplied by: 0.001 makes seconds of milliseconds."""
    each: str = ""
    """JMESPath of the list whose items are asked for value and labels."""
    contains: str = ""
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    kind: Literal["sql", "http", "log"]
    settings: Mapping[str, Any]
    every_s: float
    timeout_s: float
    max_rows: int
    wanted: tuple[Wanted, ...]


def load(path: Path) -> list[Source]:
    """The sources in `path`. Raises ConfigError with all problems."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(Problem(
            f"cannot be read: {error.strerror}", str(path), fix="name a file with --config that this user can read",
        )) from error
    return parse(text, str(path))


def parse(text: str, where: str) -> list[Source]:
    """The sources that `text` declares."""
    import yaml

    try:
        root = _marked(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise ConfigError(Problem(f"not YAML: {getattr(error, 'problem', error)}", where, line)) from error
    reader = _Reader(where, text.splitlines())
    sources = reader.sources(root)
    if reader.problems:
        raise ConfigError(reader.problems)
    return sources


def _marked(node: Any) -> Any:
    """The values of a YAML tree, with lines kept for mappings."""
    import yaml

    if node is None:
        return None
    if isinstance(node, yaml.MappingNode):
        made = Marked()
        made.line = node.start_mark.line + 1
        for key, value in node.value:
            made[str(key.value)] = _marked(value)
            made.lines[str(key.value)] = key.start_mark.line + 1
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_marked(item) for item in node.value]
    return yaml.safe_load(yaml.serialize(node))


class _Reader:
    """Walks the tree and gathers problems instead of stopping at the first."""

    def __init__(self, where: str, lines: list[str]) -> None:
        self._where, self._lines = where, lines
        self.problems: list[Problem] = []
        self._names: set[str] = set()

    def _problem(self, line: int, what: str, fix: str = "") -> None:
        source = _PASSWORD.sub(r"\1***@", self._lines[line - 1]) if 0 < line <= len(self._lines) else ""
        self.problems.append(Problem(what, self._where, line, source=source.rstrip(), fix=fix))

    def _unknown(self, made: Marked, known: frozenset[str], what: str) -> None:
        for key in made:
            if key not in known:
                self._problem(made.lines[key], f"{what} has no key {key!r}", f"known are: {', '.join(sorted(known))}")

    def sources(self, root: Any) -> list[Source]:
        if not isinstance(root, Marked) or not isinstance(root.get("sources"), list) or not root["sources"]:
            self._problem(1, "a list `sources` is expected at the top", "see docs/exporters/business.md for an example")
            return []
        self._unknown(root, frozenset(("sources",)), "the file")
        found = [self._source(one, root.lines["sources"]) for one in root["sources"]]
        names = [source.name for source in found if source is not None]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._problem(root.lines["sources"], f"two sources are called {name!r}")
        return [source for source in found if source is not None]

    def _source(self, made: Any, above: int) -> Source | None:
        if not isinstance(made, Marked):
            self._problem(above, "a source is a mapping with name, one of sql/http/log, and metrics")
            return None
        before = len(self.problems)
        self._unknown(made, SOURCE_KEYS, "a source")
        name = made.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._problem(made.lines.get("name", made.line), f"name {name!r} is not lower-case letters, digits and _")
        kinds = [kind for kind in KIND_KEYS if kind in made]
        if len(kinds) != 1 or not isinstance(made.get(kinds[0]), Marked):
            self._problem(made.line, f"source {name!r} needs exactly one of sql, http and log, with settings")
            return None
        kind = kinds[0]
        settings: Marked = made[kind]
        self._unknown(settings, KIND_KEYS[kind], kind)
        self._settings(kind, settings)
        wanted = made.get("metrics")
        if not isinstance(wanted, list) or not wanted:
            self._problem(made.line, f"source {name!r} needs a list `metrics`")
            wanted = []
        every, timeout = self._seconds(made, "every", 30.0), self._seconds(made, "timeout", 5.0)
        rows = made.get("max_rows", 100)
        if not isinstance(rows, int) or isinstance(rows, bool) or not 0 < rows <= 10_000:
            self._problem(made.lines["max_rows"], "max_rows is a number from 1 to 10000")
        metrics = tuple(one for item in wanted if (one := self._wanted(item, kind, made.line)) is not None)
        if len(self.problems) > before:
            return None
        return Source(str(name), kind, settings, every, timeout, rows, metrics)  # type: ignore[arg-type]

    def _settings(self, kind: str, settings: Marked) -> None:
        for key in {"sql": ("url", "query"), "http": ("url",), "log": ("path",)}[kind]:
            if not isinstance(settings.get(key), str) or not settings[key].strip():
                self._problem(settings.line, f"{kind} needs {key}")
        if kind == "sql" and isinstance(settings.get("query"), str):
            why = why_not_read_only(settings["query"])
            if why:
                self._problem(settings.lines["query"], f"query {why}", "only one SELECT (or WITH ... SELECT) is run")
        if "password" in str(settings.get("url", "")).lower() and "@" not in str(settings.get("url", "")):
            self._problem(settings.lines["url"], "a password stands in the URL", "use password_file or password_env")
        if _PASSWORD.search(str(settings.get("url", ""))):
            self._problem(settings.lines["url"], "a password stands in the URL", "use password_file or password_env")
        if kind == "http" and str(settings.get("url", "")).strip():
            try:
                check_url(str(settings["url"]))
            except ValueError as error:
                self._problem(settings.lines["url"], str(error))
        if kind == "log" and settings.get("from", "end") not in {"start", "end"}:
            self._problem(settings.lines["from"], "from is start or end")

    def _seconds(self, made: Marked, key: str, default: float) -> float:
        if key not in made:
            return default
        try:
            value = parse_duration_ms(str(made[key])) / 1000
        except ValueError as error:
            self._problem(made.lines[key], str(error))
            return default
        if value <= 0:
            self._problem(made.lines[key], f"{key} must be more than 0")
        return value

    def _wanted(self, made: Any, kind: str, above: int) -> Wanted | None:
        if not isinstance(made, Marked):
            self._problem(above, "a metric is a mapping with name, type, help and value")
            return None
        self._unknown(made, METRIC_KEYS, "a metric")
        name, type_, unit = made.get("name"), made.get("type", "gauge"), made.get("unit", "")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._problem(made.line, f"metric name {name!r} is not lower-case letters, digits and _")
            return None
        if name == "up" or name.startswith("exporter_") or name == "business_rows_left_out":
            self._problem(made.line, f"metric name {name!r} is taken", "choose another")
        if type_ not in {"gauge", "counter"}:
            self._problem(made.lines["type"], f"type {type_!r} is neither gauge nor counter")
            return None
        if not isinstance(made.get("help"), str) or not made["help"].strip():
            self._problem(made.line, f"metric {name} has no help", "say in one sentence what it counts, and of what")
        if unit and unit not in UNITS:
            self._problem(made.lines["unit"], f"unit {unit!r} is no base unit", f"one of {', '.join(UNITS)}, or none")
        if unit and unit not in name.split("_"):
            self._problem(made.line, f"metric {name} does not say its unit {unit}", f"call it {name}_{unit}")
        labels = made.get("labels", {})
        if not isinstance(labels, dict) or any(not _LABEL.fullmatch(label) for label in labels):
            self._problem(made.lines["labels"], "labels is a mapping from a label to a column, path or field")
            return None
        for label in labels:
            if label in RESERVED_LABELS or label.startswith("__"):
                self._problem(made.lines["labels"], f"label {label!r} has a meaning of its own", "choose another")
        if type_ == "counter" and "good" not in made and not name.endswith("_total"):
            self._problem(made.line, f"counter {name} does not end in _total", f"call it {name}_total")
        scale = made.get("scale", 1.0)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale) or not scale:
            self._problem(made.lines["scale"], "scale is a number, such as 0.001")
            return None
        parts = self._parts(made, kind, name, type_)
        if parts is None:
            return None
        for full in (metric for metric, _ in parts):
            if full in self._names:
                self._problem(made.line, f"metric {full} stands here twice")
            self._names.add(full)
        for key in ("value", "good", "total", "each"):
            if kind == "http" and key in made:
                self._path(made, key)
        help_text = str(made.get("help", "")).strip()
        return Wanted(
            tuple(Metric(full, self._kind(type_), unit, help_text, tuple(labels)) for full, _ in parts),
            tuple(value for _, value in parts), {label: str(of) for label, of in labels.items()},
            float(scale), str(made.get("each", "")), str(made.get("contains", "")),
            {key: str(value) for key, value in (made.get("where") or {}).items()},
        )

    def _parts(self, made: Marked, kind: str, name: str, type_: str) -> list[tuple[str, str]] | None:
        """(metric name, where its value is) of one metric, or of the two that a success rate is made of."""
        if kind == "log":
            if not made.get("contains") and not made.get("where"):
                self._problem(made.line, f"metric {name} needs contains or where, to know which lines count")
            if type_ != "counter":
                self._problem(made.line, f"metric {name} counts lines, so its type is counter")
            return [(name, "")]
        if "good" in made or "total" in made:
            if "good" not in made or "total" not in made or "value" in made:
                self._problem(made.line, f"success rate {name} needs good and total, and no value")
                return None
            ending = "_total" if type_ == "counter" else ""
            base = name.removesuffix("_total")
            return [(f"{base}_good{ending}", str(made["good"])), (f"{base}_all{ending}", str(made["total"]))]
        if not isinstance(made.get("value"), str | int):
            self._problem(made.line, f"metric {name} needs value: a column or a JMESPath", "or good and total")
            return None
        return [(name, str(made["value"]))]

    def _kind(self, type_: str) -> Kind:
        return "counter" if type_ == "counter" else "gauge"

    def _path(self, made: Marked, key: str) -> None:
        try:
            import jmespath
        except ImportError:
            self._problem(made.lines[key], "JMESPath is not installed", "pip install 'observe-stack[exporters]'")
            return
        try:
            jmespath.compile(str(made[key]))
        except jmespath.exceptions.JMESPathError as error:
            self._problem(made.lines[key], f"{key} is not a JMESPath: {str(error).splitlines()[0]}")


def why_not_read_only(query: str) -> str:
    """Why `query` may change data, or empty. The database is told to forbid it too; this catches it before.

    >>> why_not_read_only("DELETE FROM orders")
    'begins with DELETE'
    """
    bare = re.sub(r"--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL).strip().rstrip(";").strip()
    words = bare.split()
    first = words[0].upper() if words else ""
    if first not in {"SELECT", "WITH", "VALUES", "TABLE"}:
        return f"begins with {first}" if first else "is empty"
    if ";" in re.sub(r"'(?:[^']|'')*'", "", bare):
        return "has more than one statement"
    return ""
