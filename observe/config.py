"""observe.yml -> a validated `Config`. Every problem at once, each with file:line, cause and what to do.

Defaults are right for a laptop: without a file at all, `observe up` watches this machine. Sections `attach.*` replace
an embedded part by a system that a team already runs; nothing else changes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError, field_validator

from observe import yaml_file
from observe.config_parts import Duration, Exporter, Listen, Section, Url
from observe.config_sections import Attach, Auth, History, Logs, Query, Scrape, Storage
from observe.errors import ConfigError, InvalidInput, Problem
from observe.exporters.registry import seen_from
from observe.listening import LOOPBACK, parse_address
from observe.nearest import nearest
from observe.notify_config import Notify, misdirected


class Config(Section):
    """All of observe.yml."""

    listen: Listen = "127.0.0.1:9900"
    external_url: Url | None = None
    data: Path = Path("observe-data")
    exporters: tuple[Exporter, ...] = ("host", "jvm")
    """Exporters that run inside this process: a name, or ``NAME: {OPTION: VALUE}``."""
    evaluation_interval: Duration = 15_000
    replica: str = ""
    """Added to bands (never to alerts) where several observe judge the same series."""
    rules: tuple[str, ...] = ("builtin",)
    """Rule files or globs; `builtin` is the set that ships with observe."""
    prometheus_config: Path | None = None
    """An existing prometheus.yml whose scraping and rule files are run as they are."""
    scrape: Scrape = Scrape()
    logs: Logs = Logs()
    storage: Storage = Storage()
    query: Query = Query()
    notify: Notify = Notify()
    auth: Auth = Auth()
    attach: Attach = Attach()
    history: History = History()

    @field_validator("exporters")
    @classmethod
    def _each_once(cls, chosen: tuple[Exporter, ...]) -> tuple[Exporter, ...]:
        names = [name for one in chosen for name in ([one] if isinstance(one, str) else one)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"`{twice}` is there twice, and runs once in here; run the other one by "
                             f"`observe export {twice} --listen …` and scrape it")
        return chosen

    @property
    def address(self) -> tuple[str, int]:
        return parse_address(self.listen)

    @property
    def exporter_options(self) -> dict[str, dict[str, str]]:
        """Name -> options of every exporter that runs inside."""
        chosen: dict[str, dict[str, str]] = {}
        for one in self.exporters:
            chosen.update({one: {}} if isinstance(one, str) else one)
        return chosen

    @property
    def is_loopback(self) -> bool:
        return self.address[0] in LOOPBACK


def load(
    path: Path | None, overrides: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None,
) -> Config:
    """Read `path` (None: nothing) over `defaults`, and the command line's `overrides` over it. Raises ConfigError."""
    if path is None:
        source = yaml_file.parse("", "observe.yml")
    else:
        try:
            source = yaml_file.read(path)
        except InvalidInput as error:
            raise ConfigError(error.problems) from error
    data = {} if source.data is None else source.data
    if not isinstance(data, dict):
        raise ConfigError(source.problem((), "the file must be a mapping", fix="start it with `listen:` or `scrape:`"))
    problems = list(source.duplicates)
    config = None
    merged = _laid_over(_laid_over(defaults or {}, data), overrides or {})
    problems.extend(source.problem(one.at, one.what, why=one.why, fix=one.fix)
                    for one in misdirected(merged.get("notify")))
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems.extend(_problem(source, dict(detail)) for detail in _first_hand(error))
    if problems or config is None:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    if path is not None:
        config = _relative_to(path.resolve().parent, config, overrides or {})
    return config


def _first_hand(error: ValidationError) -> Iterable[Any]:
    """What is wrong, without what only follows: a list is not too short because its items are wrong."""
    details = error.errors()
    inner = {detail["loc"][:-1] for detail in details}
    return (one for one in details if one["type"] != "too_short" or one["loc"] not in inner)


def _laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` wins; mappings are merged, lists put one after the other."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _laid_over(below, value)
        elif isinstance(value, list) and isinstance(below, list):
            merged[key] = [*below, *value]
        else:
            merged[key] = value
    return merged


def check_exposure(config: Config) -> None:
    """Refuse to listen beyond this machine without authentication. Raises ConfigError."""
    if not config.is_loopback and not config.auth.configured:
        raise ConfigError(Problem(
            f"listening on {config.listen} without authentication is refused",
            why="anybody who reaches this port could read the logs and silence alerts",
            fix="add `auth: {token_file: FILE}` (lines `role name secret`), or listen on 127.0.0.1",
        ))


def _relative_to(folder: Path, config: Config, overrides: Mapping[str, Any]) -> Config:
    """Paths in the file count from the file's folder, those of the command line from where one stands."""
    update: dict[str, Any] = {
        "rules": rules_from(folder, config.rules),
        "logs": config.logs.model_copy(update={
            "files": tuple(file.model_copy(update={"path": str(folder / file.path)}) for file in config.logs.files),
        }),
        "auth": _from_folder(folder, config.auth, "token_file", "jwt.key_file"),
        "exporters": tuple(
            one if isinstance(one, str) else {name: seen_from(folder, options) for name, options in one.items()}
            for one in config.exporters
        ),
        "attach": _from_folder(
            folder, config.attach, *(f"elasticsearch.{name}_file" for name in ("api_key", "ca", "password")),
        ),
    }
    if "data" not in overrides and "data" in config.model_fields_set:
        update["data"] = folder / config.data
    if config.prometheus_config:
        update["prometheus_config"] = folder / config.prometheus_config
    return config.model_copy(update=update)


def rules_from(folder: Path, patterns: Iterable[str]) -> tuple[str, ...]:
    """The entries of `rules:` as seen from anywhere."""
    return tuple(rule if rule == "builtin" else str(folder / rule) for rule in patterns)


def _from_folder(folder: Path, section: Section, *names: str) -> Section:
    """`section` with the files of these settings seen from `folder`; those that are not given stay so."""
    update: dict[str, Any] = {}
    for name in names:
        first, _, rest = name.partition(".")
        value = update.get(first, getattr(section, first))
        if value is not None:
            update[first] = _from_folder(folder, value, rest) if rest else folder / value
    return section.model_copy(update=update)


def _meant(at: tuple[str | int, ...]) -> str:
    """The key that an unknown one at `at` most resembles, or nothing."""
    section: Any = Config
    for step in at[:-1]:
        if isinstance(step, str):
            field = section.model_fields.get(step)
            kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
            section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
            if section is None:
                return ""
    return nearest(str(at[-1]), section.model_fields)


_WANTED = {
    "string_type": "a text is wanted; put it in quotes",
    "int_type": "a whole number is wanted", "int_parsing": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted", "float_parsing": "a number is wanted",
    "bool_type": "true or false is wanted", "bool_parsing": "true or false is wanted",
    "list_type": "a list is wanted; start each item with `- `",
    "tuple_type": "a list is wanted; start each item with `- `",
    "dict_type": "keys with values are wanted", "model_type": "keys with values are wanted",
    "model_attributes_type": "keys with values are wanted",
    "too_short": "at least one is wanted",
    "literal_error": "use {expected}", "enum": "use {expected}",
    "greater_than": "a number above {gt} is wanted", "greater_than_equal": "a number of at least {ge} is wanted",
    "less_than": "a number below {lt} is wanted", "less_than_equal": "a number of at most {le} is wanted",
}
"""What pydantic's kinds of errors want, in our words."""

_FIXES = {"extra_forbidden": "remove it, or see docs/configuration.md for the keys there are", "missing": "add it"}


def _problem(source: yaml_file.YamlFile, detail: dict[str, Any]) -> Problem:
    at = tuple(detail["loc"])
    name = ".".join(str(part) for part in at)
    kind, message = str(detail["type"]), str(detail["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        meant = _meant(at)
        return source.problem(at, f"unknown key `{name}`", why="a typo would silently change what happens", key=True,
                              fix=f"did you mean `{meant}`?" if meant else _FIXES[kind])
    if kind == "missing":
        return source.problem(at[:-1], f"`{name}` is missing", fix=_FIXES[kind])
    why = _WANTED[kind].format_map(detail.get("ctx", {})) if kind in _WANTED else message
    return source.problem(at, f"`{name}` is not valid", why=why)
