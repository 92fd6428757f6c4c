"""Plain values out of a YAML file of Prometheus': what is wrong or not supported is collected, with its place."""

from collections.abc import Mapping
from typing import Any, Final

from observe.duration import parse_duration_ms
from observe.errors import Problem
from observe.yaml_file import Location, YamlFile

_UNITS: Final = {"B": 1, "KB": 1024, "KIB": 1024, "MB": 1024**2, "MIB": 1024**2, "GB": 1024**3, "GIB": 1024**3}


class ConfigValues:
    """What is there is given, what is missing is the default, and what is wrong is told and is the default too."""

    def __init__(self, source: YamlFile) -> None:
        self.source = source
        self.problems: list[Problem] = list(source.duplicates)
        self.unsupported: list[Problem] = []

    def mapping(self, raw: Any, at: Location) -> Mapping[str, Any]:
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            self.wrong(at, "a mapping is wanted here")
            return {}
        return {str(key): value for key, value in raw.items()}

    def items(self, raw: Any, at: Location) -> list[Any]:
        if raw is None:
            return []
        if not isinstance(raw, list | tuple):
            self.wrong(at, "a list is wanted here", fix="put the items into [ ]")
            return []
        return list(raw)

    def duration(self, raw: Mapping[str, Any], key: str, at: Location, default: int) -> int:
        if raw.get(key) is None:
            return default
        try:
            duration_ms = parse_duration_ms(str(raw[key]))
        except ValueError as error:
            self.wrong((*at, key), str(error))
            return default
        if duration_ms <= 0:
            self.wrong((*at, key), f"`{key}` must be longer than nothing")
            return default
        return duration_ms

    def flag(self, raw: Mapping[str, Any], key: str, at: Location, *, default: bool) -> bool:
        value = raw.get(key, default)
        if not isinstance(value, bool):
            self.wrong((*at, key), f"`{key}` must be true or false")
            return default
        return value

    def count(self, raw: Mapping[str, Any], key: str, at: Location) -> int:
        value = raw.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.wrong((*at, key), f"`{key}` must be a whole number, 0 for no limit")
            return 0
        return value

    def size(self, raw: Mapping[str, Any], key: str, at: Location) -> int:
        text = str(raw.get(key, 0)).strip()
        number = text.rstrip("BKMGbkmgi")
        unit = text[len(number) :].upper() or "B"
        if not number.isdigit() or unit not in _UNITS:
            self.wrong((*at, key), f"`{text}` is not a size", fix="write it as 10MB")
            return 0
        return int(number) * _UNITS[unit]

    def wrong(self, at: Location, what: str, *, why: str = "", fix: str = "", key: bool = False) -> None:
        self.problems.append(self.source.problem(at, what, why=why, fix=fix, key=key))

    def note(self, at: Location, what: str, instead: str) -> None:
        self.unsupported.append(self.source.problem(at, f"{what} is not supported", fix=instead, key=True))

    def remark(self, at: Location, what: str, why: str) -> None:
        """Not wrong, but perhaps not meant."""
        self.unsupported.append(self.source.problem(at, what, why=why))
