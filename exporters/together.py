"""Several exporters in one process: `/metrics/NAME` is the page of one, `/metrics` that of all.

The file says which, in the words of `exporters:` in observe.yml: a name, or ``NAME: {OPTION: VALUE}``.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from observe import yaml_file
from observe.errors import ConfigError, InvalidInput, UsageError
from observe.exporters.collectors import Exporter
from observe.exporters.page import Page
from observe.exporters.registry import create, seen_from

PORT: Final = 9209
EXAMPLE: Final = "exporters: [host, redis: {url: redis://127.0.0.1:6379/0}]"


class Together:
    """Exporters side by side, each with its own collectors and background readers. Use as a context manager."""

    def __init__(self, exporters: Mapping[str, Exporter]) -> None:
        self._exporters = dict(exporters)
        self.name = ", ".join(self._exporters)

    @classmethod
    def of(cls, chosen: Mapping[str, Mapping[str, str]]) -> Self:
        """The exporters of NAME -> options. Raises UsageError as `create` does."""
        with ExitStack() as made:
            exporters = {}
            for name, options in chosen.items():
                exporters[name] = create(name, options)
                made.callback(exporters[name].close)
            made.pop_all()
        return cls(exporters)

    def pages(self) -> dict[str, Callable[[], bytes]]:
        """Path -> what answers it."""
        alone = {f"/metrics/{name}": exporter.exposition for name, exporter in self._exporters.items()}
        return {"/metrics": self.exposition, **alone}

    def exposition(self) -> bytes:
        """The samples of all; metrics that several exporters share, such as `queue_depth`, stand under one heading."""
        page = Page()
        for exporter in self._exporters.values():
            page.merge(exporter.page())
        return page.text()

    def problems(self) -> dict[str, str]:
        """Why each failing collector failed last time, by its name."""
        return {name: why for exporter in self._exporters.values() for name, why in exporter.problems().items()}

    def close(self) -> None:
        for exporter in self._exporters.values():
            exporter.close()

    def __enter__(self) -> Self:
        for exporter in self._exporters.values():
            exporter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(path: Path) -> Together:
    """The exporters that the file names. Raises ConfigError with every problem and its line."""
    try:
        source = yaml_file.read(path)
    except InvalidInput as error:
        raise ConfigError(error.problems) from error
    return Together.of(_chosen(source))


def _chosen(source: yaml_file.YamlFile) -> dict[str, dict[str, str]]:
    listed = source.data.get("exporters") if isinstance(source.data, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ConfigError(source.problem((), "a list `exporters` is expected", fix=f"write, for example, {EXAMPLE}"))
    problems = list(source.duplicates)
    problems += [
        source.problem((key,), f"unknown key `{key}`", fix="`exporters` is the only one", key=True)
        for key in source.data if key != "exporters"
    ]
    chosen: dict[str, dict[str, str]] = {}
    for index, item in enumerate(listed):
        for name, options in ({item: {}} if isinstance(item, str) else item if isinstance(item, dict) else {}).items():
            at = ("exporters", index) if isinstance(item, str) else ("exporters", index, name)
            if name in chosen:
                problems.append(source.problem(
                    at, f"`{name}` is there twice", why="its metrics do not say which of the two they are of",
                    fix="give the second a process of its own", key=True,
                ))
            elif not isinstance(options, dict):
                problems.append(source.problem(at, f"the options of `{name}` are a mapping", fix=f"write {EXAMPLE}"))
            else:
                told = {str(key): _text(value) for key, value in options.items()}
                chosen[name] = seen_from(Path(source.name).parent, told)
                try:
                    Together.of({name: chosen[name]}).close()
                except UsageError as error:
                    problems.append(source.problem(at, str(error), key=True))
                except InvalidInput as error:
                    problems += error.problems  # of a file that an option names
        if not isinstance(item, str | dict):
            problems.append(source.problem(("exporters", index), "this names no exporter", fix=f"write {EXAMPLE}"))
    if problems:
        raise ConfigError(problems)
    return chosen


def _text(value: object) -> str:
    """An option as it would be typed: YAML makes numbers and truth values of some."""
    return str(value).lower() if isinstance(value, bool) else str(value)
