"""Check what people write before it is run: configuration, rules, boards; and say what was found."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from observe.errors import InvalidInput, Problem, UsageError

SUMMARY = "check configuration, rules and boards, and say what was found"
EXAMPLE = "observe check --config observe.yml"


@dataclass
class Found:
    """What one part came to: what there is, what is wrong, what works but should be better."""

    part: str
    says: str = ""
    checked: bool = True
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


Check = Callable[[argparse.Namespace], Found]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the same as --config FILE")
    parser.add_argument("--config", type=Path, metavar="FILE", help="observe.yml to check, and the rules it names")
    parser.add_argument("--rules", action="append", default=[], metavar="PATH",
                        help="rule file, folder or glob to check instead (repeatable)")
    parser.add_argument("--only", choices=sorted(CHECKS), action="append", help="check this part only (repeatable)")
    parser.add_argument("--strict", action="store_true", help="let warnings fail as well")
    parser.add_argument("--json", action="store_true", help="print JSON alone")


def run(args: argparse.Namespace) -> int:
    if args.file is not None:
        if args.config is not None:
            raise UsageError("FILE and --config both name the configuration; give one of them")
        args.config = args.file
    parts = [CHECKS[name](args) for name in args.only or CHECKS]
    if args.json:
        print(json.dumps([
            {"part": one.part, "found": one.says, "errors": [_told(problem) for problem in one.errors],
             "warnings": [_told(problem) for problem in one.warnings]}
            for one in parts
        ], indent=2))
    else:
        for one in parts:
            _print(one)
    failed = any(one.errors or (args.strict and one.warnings) for one in parts)
    return 1 if failed else 0


def _print(found: Found) -> None:
    verdict = _counted(len(found.errors), "problem") if found.errors else "fine" if found.checked else "not checked"
    more = f", {_counted(len(found.warnings), 'warning')}" if found.warnings else ""
    print(f"{found.part}: {verdict}{more}" + (f" ({found.says})" if found.says else ""))
    for problem in found.errors:
        print(problem, file=sys.stderr)
    for problem in found.warnings:
        print(f"warning: {problem}", file=sys.stderr)


def _told(problem: Problem) -> dict[str, object]:
    return {
        "what": problem.what, "where": problem.where, "line": problem.line, "column": problem.column,
        "why": problem.why, "fix": problem.fix,
    }


def _config(args: argparse.Namespace) -> Found:
    from observe.preflight import examine

    found = Found("config")
    if args.config is None:
        found.says = "no --config: the defaults"
        return found
    examined = examine(args.config)
    found.errors.extend(examined.problems)
    found.warnings.extend(replace(one, what=f"{one.what}: the rest runs") for one in examined.unsupported)
    config = examined.config
    if config is not None:
        found.says = ", ".join((
            f"{args.config}: {_counted(len(config.scrape.targets), 'scrape target')}",
            _counted(len(config.exporters), "exporter"), _counted(len(config.notify.receiver_names), "receiver"),
        ))
    return found


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _rules(args: argparse.Namespace) -> Found:
    from observe.alert.rules import lint
    from observe.preflight import examine, expression_check, load_rules, prometheus_rules

    found = Found("rules")
    patterns = tuple(args.rules) or ("builtin",)
    config = None
    if args.config is not None and not args.rules:
        examined = examine(args.config)
        patterns, config = examined.rules, examined.config
        if examined.config is None and not patterns:
            found.checked, found.says = False, "the configuration does not say which"
            return found
    try:
        files, groups = load_rules(patterns, expression_check())
        theirs, notes = prometheus_rules(config)
    except InvalidInput as error:
        found.errors.extend(error.problems)
        return found
    found.warnings.extend([*lint(groups), *notes])
    groups += theirs
    files += sorted({Path(group.file) for group in theirs})
    rules = [rule for group in groups for rule in group.rules]
    bands = sum(1 for rule in rules if rule.band is not None)
    alerts = sum(1 for rule in rules if rule.kind == "alerting")
    found.says = ", ".join((
        _counted(len(files), "file"), _counted(len(groups), "group"),
        f"{_counted(alerts, 'alert')} ({bands} with bands)", _counted(len(rules) - alerts, "recording"),
    ))
    return found


def _boards(args: argparse.Namespace) -> Found:  # noqa: ARG001 - every check is called alike
    from observe.show import boards

    found = Found("boards")
    found.errors.extend(boards.check())
    found.says = f"{len(boards.listed())} boards"
    return found


CHECKS: dict[str, Check] = {"config": _config, "rules": _rules, "boards": _boards}
"""Each part with its check; a part that comes later adds its own line here."""
