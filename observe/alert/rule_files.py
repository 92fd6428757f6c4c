"""Rule files: found by their patterns, and loaded whole or refused whole, with every problem of every file at once."""

import glob
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from observe.alert.rule_syntax import CheckExpr, parse_rules
from observe.alert.rules import DEFAULT_INTERVAL_MS, Rule, RuleGroup
from observe.errors import Problem, RuleError
from observe.nearest import nearest

_log = logging.getLogger(__name__)
BUILTIN: Final = Path(__file__).resolve().parent.parent / "alert_rules"
"""Where the rules that ship with observe are, in a checkout and in a wheel."""


def find_files(patterns: Iterable[str | Path], base: Path | None = None) -> list[Path]:
    """The rule files that patterns name; a folder stands for its ``*.yml``, ``builtin`` for the rules that ship.

    A pattern without a file is an error.
    """
    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for pattern in patterns:
        path = BUILTIN if pattern == "builtin" else Path(pattern) if base is None else base / pattern
        if path.is_dir():
            names = sorted([*path.glob("*.yml"), *path.glob("*.yaml")])
        else:
            names = [Path(name) for name in sorted(glob.glob(str(path)))]  # noqa: PTH207 - also absolute patterns
        if not names:
            shipped = nearest(Path(pattern).name, ["builtin"])
            fix = "did you mean `builtin`?" if shipped else "correct the path, or remove it from `rules:`"
            problems.append(Problem(f"no rule file matches {path}", why="nothing would be alerted on", fix=fix))
        found.update(dict.fromkeys(names))
    if problems:
        raise RuleError(problems)
    return list(found)


def load_files(
    paths: Sequence[Path], check: CheckExpr | None = None, default_interval_ms: int = DEFAULT_INTERVAL_MS,
    notes: list[Problem] | None = None,
) -> tuple[RuleGroup, ...]:
    """Read rule files. Raises `RuleError` with every problem of all of them. `notes`: see `parse_rules`."""
    groups: list[RuleGroup] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
            problems.append(Problem("cannot read the rule file", where=str(path), why=why,
                                    fix="make it readable for this user"))
            continue
        read, found = parse_rules(text, str(path), check, default_interval_ms, notes)
        groups.extend(read)
        problems.extend(found)
    problems.extend(_clashing_ids(groups))
    if problems:
        raise RuleError(problems)
    return tuple(groups)


def load_as_they_are(
    patterns: Iterable[str | Path], check: CheckExpr | None, default_interval_ms: int,
) -> tuple[tuple[RuleGroup, ...], tuple[Problem, ...]]:
    """The rules that a prometheus.yml names, and what of them is not done: their texts stand without it."""
    notes: list[Problem] = []
    groups = load_files(find_files(patterns), check, default_interval_ms, notes)
    return groups, tuple(replace(one, what=f"{one.what}: the text stands without it") for one in notes)


def run_as_they_are(
    patterns: Iterable[str | Path], check: CheckExpr | None, default_interval_ms: int,
) -> tuple[RuleGroup, ...]:
    """`load_as_they_are` for a server that starts or reloads: what is not done is logged."""
    groups, notes = load_as_they_are(patterns, check, default_interval_ms)
    for note in notes:
        _log.warning("%s", note)
    return groups


def _clashing_ids(groups: Sequence[RuleGroup]) -> list[Problem]:
    """Band rules of one name would write into the same series."""
    seen: dict[str, Rule] = {}
    problems = []
    for rule in (rule for group in groups for rule in group.rules if rule.band is not None):
        other = seen.setdefault(rule.id, rule)
        if other is not rule:
            problems.append(Problem(
                f"the band rule `{rule.id}` is there twice", where=rule.file, line=rule.line,
                why=f'both would write the series observe_band_*{{rule="{rule.id}"}}; '
                    f"the other is {other.file}:{other.line}",
                fix="give one of them, or its group, another name",
            ))
    return problems
