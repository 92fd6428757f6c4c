"""All that is wrong with a configuration, and with the files that it names, found before anything runs.

`observe check` tells what it finds, `observe up` starts nothing and a reload changes nothing while there is any of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from observe import settings, yaml_file
from observe.alert.rule_files import find_files, load_as_they_are, load_files
from observe.alert.rule_syntax import CheckExpr
from observe.alert.rules import DEFAULT_INTERVAL_MS, RuleGroup
from observe.collect.scrape_config import read_prometheus_config
from observe.config import Config, check_exposure, load, rules_from
from observe.errors import ConfigError, InvalidInput, Problem, RuleError
from observe.promql.engine import Engine


@dataclass(frozen=True, slots=True)
class Examined:
    """A configuration and what is to be said of it. Without `config` it is so wrong that nothing can be built."""

    config: Config | None
    problems: tuple[Problem, ...]
    unsupported: tuple[Problem, ...]
    """What it, or its prometheus.yml, asks for and is not done; the rest runs."""
    rules: tuple[str, ...]
    """The entries of `rules:`, also where other parts of the file are wrong."""


def examine(
    path: Path | None, overrides: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None,
) -> Examined:
    """Read `path` and every file that it names except the rules."""
    try:
        config = load(path, overrides, defaults)
    except ConfigError as error:
        return Examined(None, (*error.problems, *_prometheus_problems(path)), (), _rules_of(path))
    problems: list[Problem] = []
    unsupported: tuple[Problem, ...] = ()
    elastic = config.attach.elasticsearch
    for look in (
        lambda: check_exposure(config),
        lambda: settings.auth_settings(config),
        lambda: elastic and settings.elastic_settings(elastic, config.storage),
    ):
        try:
            look()
        except InvalidInput as error:
            problems.extend(error.problems)
    if config.prometheus_config is not None:
        try:
            unsupported = read_prometheus_config(config.prometheus_config).unsupported
        except InvalidInput as error:
            problems.extend(error.problems)
    idle = config.notify.model_fields_set & {"webhooks", "receivers", "route", "inhibit_rules", "dead_man"}
    if config.attach.alertmanager is not None and idle:
        given = ", ".join(f"`{name}`" for name in sorted(idle))
        unsupported += (Problem(
            f"{given} under `notify:` (or --webhook) is not used", why="alerts go to the Alertmanager that "
            "`attach.alertmanager` names, and its own routes and receivers decide who is paged",
            fix="take it out, or write it in alertmanager.yml"),)
    return Examined(config, tuple(problems), unsupported, config.rules)


def ready(
    path: Path | None, overrides: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None,
) -> tuple[Config, tuple[Problem, ...]]:
    """A configuration that can be run, and what it asks for without being supported.

    Raises ConfigError with every problem of the file and of those that it names. Rules of a configuration that is right
    otherwise are read where they are needed, once.
    """
    found = examine(path, overrides, defaults)
    if found.config is None or found.problems:
        raise ConfigError([*found.problems, *_rule_problems(found.rules)])
    return found.config, found.unsupported


def expression_check() -> CheckExpr:
    """What finds expressions that cannot be evaluated, where no store is open."""
    from observe.testing import MemorySource

    return Engine(MemorySource()).check


def load_rules(
    patterns: Iterable[str], check: CheckExpr, default_interval_ms: int = DEFAULT_INTERVAL_MS,
) -> tuple[list[Path], tuple[RuleGroup, ...]]:
    """The files that `patterns` name, and their rules. Raises RuleError with the problems of all patterns and files."""
    problems: list[Problem] = []
    files: dict[Path, None] = {}
    for pattern in patterns:
        try:
            files.update(dict.fromkeys(find_files([pattern])))
        except RuleError as error:
            problems.extend(error.problems)
    groups: tuple[RuleGroup, ...] = ()
    try:
        groups = load_files(list(files), check, default_interval_ms)
    except RuleError as error:
        problems.extend(error.problems)
    if problems:
        raise RuleError(problems)
    return list(files), groups


def prometheus_rules(config: Config | None) -> tuple[tuple[RuleGroup, ...], tuple[Problem, ...]]:
    """The rules of the prometheus.yml that is run, if one is, and what of them is not done. Raises `RuleError`."""
    if config is None or config.prometheus_config is None:
        return (), ()
    try:
        prometheus = read_prometheus_config(config.prometheus_config)
    except ConfigError:  # told by `examine`
        return (), ()
    return load_as_they_are(prometheus.rule_files, expression_check(), prometheus.evaluation_interval_ms)


def _rule_problems(patterns: Iterable[str]) -> tuple[Problem, ...]:
    try:
        load_rules(patterns, expression_check())
    except RuleError as error:
        return error.problems
    return ()


def _entry_of(path: Path | None, key: str) -> Any:
    """An entry of a file that is wrong somewhere; None where it cannot be told."""
    if path is None:
        return None
    try:
        data = yaml_file.read(path).data
    except InvalidInput:
        return None
    return data.get(key) if isinstance(data, dict) else None


def _prometheus_problems(path: Path | None) -> tuple[Problem, ...]:
    """What is wrong with the `prometheus_config` of a file that is wrong somewhere."""
    named = _entry_of(path, "prometheus_config")
    if path is None or not isinstance(named, str):
        return ()
    try:
        read_prometheus_config(path.resolve().parent / named)
    except InvalidInput as error:
        return error.problems
    return ()


def _rules_of(path: Path | None) -> tuple[str, ...]:
    """The entries of `rules:` in a file that is wrong somewhere; none where they cannot be told."""
    patterns = _entry_of(path, "rules")
    if path is None or not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        return ()
    return rules_from(path.resolve().parent, patterns)
