"""Which exporters there are, with their options: a module here with one ``@exporter(...)`` line is one.

That line stands over a function that builds the exporter's collectors from its options.
"""

import importlib
import math
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from observe.errors import UsageError
from observe.exporters.collectors import Collector, Exporter


@dataclass(frozen=True, slots=True)
class Option:
    """One option of an exporter: ``--NAME VALUE`` on the command line, ``NAME: VALUE`` in observe.yml.

    A default of "false" makes it a switch. `check` raises ValueError with the reason for a value that cannot be used.
    """

    name: str
    default: str
    help: str
    check: Callable[[str], object] = str

    @property
    def is_switch(self) -> bool:
        return self.default == "false"


Build = Callable[[Mapping[str, str]], Sequence[Collector]]


@dataclass(frozen=True, slots=True)
class Registration:
    """What ``@exporter`` remembers."""

    name: str
    summary: str
    options: tuple[Option, ...]
    port: int
    build: Build


_registered: dict[str, Registration] = {}


def exporter(name: str, *, summary: str, port: int, options: Sequence[Option] = ()) -> Callable[[Build], Build]:
    """Make the function under it the exporter `name`; it must stand in the module of that name."""

    def register(build: Build) -> Build:
        _registered[name] = Registration(name, summary, tuple(options), port, build)
        return build

    return register


def registrations() -> list[Registration]:
    """Every exporter there is, by name."""
    import observe.exporters as package

    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"observe.exporters.{found.name}")
    return [_registered[name] for name in sorted(_registered)]


def names() -> list[str]:
    """The names that `create` knows."""
    return [one.name for one in registrations()]


def registration(name: str) -> Registration:
    """The exporter `name`. Raises UsageError with the known names."""
    known = {one.name: one for one in registrations()}
    if name not in known:
        raise UsageError(f"there is no exporter {name!r}; known are: {', '.join(known)}")
    return known[name]


def create(
    name: str, options: Mapping[str, str] | None = None, *, timer: Callable[[], float] = time.monotonic,
) -> Exporter:
    """The exporter `name` with `options` (all text, as typed). Nothing runs before `start` or `exposition`.

    Raises UsageError for an unknown name, an unknown option, or a value that cannot be used.
    """
    found = registration(name)
    return Exporter(name, found.build(checked_options(found, options or {})), timer)


def checked_options(found: Registration, given: Mapping[str, str]) -> dict[str, str]:
    """`given` over the defaults. Raises UsageError that names the option and, for an unknown one, the known ones."""
    known = {option.name: option for option in found.options}
    for key in given:
        if key not in known:
            raise UsageError(f"exporter {found.name} has no option {key!r}; known are: {', '.join(known) or 'none'}")
    values = {option.name: given.get(option.name, option.default) for option in found.options}
    for key, value in values.items():
        try:
            known[key].check(value)
        except (ValueError, OSError) as error:
            raise UsageError(f"exporter {found.name}: option {key}: {error}") from error
        if known[key].is_switch and value not in {"true", "false"}:
            raise UsageError(f"exporter {found.name}: option {key} is true or false, not {value!r}")
    return values


def seen_from(folder: Path, options: Mapping[str, str]) -> dict[str, str]:
    """`options` of a file in `folder`: those that name a file count from there.

    >>> seen_from(Path("/etc/observe"), {"config": "business.yml", "timeout": "3"})
    {'config': '/etc/observe/business.yml', 'timeout': '3'}
    """
    return {
        key: str(folder / value) if value and (key == "config" or key.endswith("-file")) else value
        for key, value in options.items()
    }


def seconds(text: str) -> float:
    """A positive number of seconds, for `Option.check`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise ValueError(f"{text!r} is not a positive number of seconds")
    return value


def listed(text: str) -> list[str]:
    """The words of a comma-separated option."""
    return [word.strip() for word in text.split(",") if word.strip()]
