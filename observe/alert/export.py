"""Rules for a plain Prometheus: bands become conditions on the series that observe writes, the rest stays as it is.

A band rule becomes ``(expr) and ignoring (rule, replica) (observe_band_firing{rule="group/name"} == 1)``: the same
series and the same value, firing while observe says so. What cannot be said is an error that names the rule.
"""

import re
from collections.abc import Sequence

import yaml

from observe.alert.rules import Rule, RuleGroup
from observe.alert.template import BAND_NAMES
from observe.duration import format_duration
from observe.errors import Problem, RuleError
from observe.promql.ast import Aggregate, Binary, Call, Expr, Selector, String, children
from observe.promql.parse import parse

Version = tuple[int, int]

DEFAULT_VERSION: Version = (2, 42)

_SINCE: dict[str, Version] = {"keep_firing_for": (2, 42), "limit": (2, 31), "query_offset": (2, 53)}
_BAND_WORD = re.compile(r"\$(" + "|".join(sorted(BAND_NAMES)) + r")\b")
_SETS = frozenset(("and", "or", "unless"))
_OURS = ("rule", "replica")
"""Labels that observe puts on its band series."""


def parse_version(text: str) -> Version:
    """``2.42`` or ``v3.1.0`` as a pair. Raises ValueError."""
    match = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.\d+.*)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a version of Prometheus: write it as 2.42")
    return int(match[1]), int(match[2])


def to_prometheus(groups: Sequence[RuleGroup], version: Version = DEFAULT_VERSION, external_url: str = "") -> str:
    """One rule file for Prometheus `version`. Raises `RuleError` with every rule that cannot be expressed."""
    problems: list[Problem] = []
    told = [_group(group, version, external_url, problems) for group in groups]
    names = [group["name"] for group in told]
    for group, name in zip(groups, names, strict=True):
        if names.count(name) > 1:
            problems.append(Problem(f"group `{name}` is in more than one file", where=group.file,
                                    why="one exported file cannot hold it twice", fix="rename one of them"))
    if problems:
        raise RuleError(problems)
    head = "# Made by `observe rules export`; bands are judged by observe, which writes observe_band_firing.\n"
    return head + yaml.safe_dump({"groups": told}, sort_keys=False, allow_unicode=True, width=10_000)


def _group(group: RuleGroup, version: Version, external_url: str, problems: list[Problem]) -> dict[str, object]:
    told: dict[str, object] = {"name": group.name, "interval": format_duration(group.interval_ms)}
    first = group.rules[0] if group.rules else None
    for key, value in (("query_offset", group.query_offset_ms), ("limit", group.limit or None)):
        if value is None:
            continue
        if version < _SINCE[key]:
            problems.append(_too_old(f"group `{group.name}`: `{key}`", group.file, first.line if first else 0, key))
        told[key] = format_duration(value) if key == "query_offset" else value
    told["rules"] = [_rule(rule, version, external_url, problems) for rule in group.rules]
    return told


def _rule(rule: Rule, version: Version, external_url: str, problems: list[Problem]) -> dict[str, object]:
    if rule.kind == "recording":
        return {"record": rule.name, "expr": rule.expr, **({"labels": dict(rule.labels)} if rule.labels else {})}
    told: dict[str, object] = {"alert": rule.name, "expr": rule.expr if rule.band is None else _banded(rule, problems)}
    if rule.for_ms:
        told["for"] = format_duration(rule.for_ms)
    if rule.keep_firing_for_ms:
        if version < _SINCE["keep_firing_for"]:
            problems.append(_too_old(f"rule `{rule.id}`: `keep_firing_for`", rule.file, rule.line, "keep_firing_for"))
        told["keep_firing_for"] = format_duration(rule.keep_firing_for_ms)
    for key, texts in (("labels", rule.labels), ("annotations", rule.annotations)):
        for name, text in texts.items():
            word = _BAND_WORD.search(text)
            if word is not None:
                problems.append(Problem(
                    f"rule `{rule.id}`: `{key}.{name}` says `{word[0]}`", where=rule.file, line=rule.line,
                    why="Prometheus knows the value only, not the band",
                    fix="say it without, or leave the rule to observe",
                ))
        if texts:
            told[key] = {name: _located(text, external_url) for name, text in texts.items()}
    return told


def _banded(rule: Rule, problems: list[Problem]) -> str:
    assert rule.band is not None
    if rule.band.no_data == "alert":
        problems.append(Problem(
            f"rule `{rule.id}`: `no_data: alert` cannot be expressed", where=rule.file, line=rule.line,
            why="a target that is down gives Prometheus no series to alert on",
            fix="alert on `up == 0` in a rule of its own",
        ))
    tree = parse(rule.expr)
    problems.extend(
        Problem(
            f"rule `{rule.id}`: its result has a label `{label}`", where=rule.file, line=rule.line,
            why="in the band series that label says something else, so the two cannot be matched",
            fix="aggregate it away in `expr`, with its value under another name where it is wanted",
        )
        for label in sorted(_labels_of(tree).intersection(_OURS))
    )
    value = f"vector(\n{rule.expr}\n)" if tree.type == "scalar" else rule.expr  # as Prometheus takes a rule's number
    quoted = rule.id.replace("\\", "\\\\").replace('"', '\\"')
    # On lines of its own, for the expression may end in a comment.
    return f'(\n{value}\n) and ignoring (rule, replica) (observe_band_firing{{rule="{quoted}"}} == 1)'


def _labels_of(expr: Expr) -> set[str]:
    """Labels that the result of an expression has by what is written in it."""
    below = set[str]().union(*map(_labels_of, children(expr)))
    match expr:
        case Selector():
            return {matcher.name for matcher in expr.matchers}
        case Aggregate():
            made = {expr.param.value} if isinstance(expr.param, String) else set()  # of count_values
            return made | (below - set(expr.grouping) if expr.without else set(expr.grouping))
        case Binary() if expr.matching is not None and not expr.matching.group and expr.op not in _SETS:
            named = set(expr.matching.labels)
            return named if expr.matching.on else below - named
        case Call() if expr.function in {"label_replace", "label_join"} and isinstance(expr.args[1], String):
            return below | {expr.args[1].value}
    return below


def _located(text: str, external_url: str) -> str:
    """Links of the shipped rules point at observe, wherever their alerts come from."""
    return text.replace("{{ externalURL }}", external_url.rstrip("/")) if external_url else text


def _too_old(what: str, file: str, line: int, key: str) -> Problem:
    major, minor = _SINCE[key]
    return Problem(f"{what} cannot be expressed", where=file, line=line, why=f"Prometheus has it since {major}.{minor}",
                   fix=f"remove it, or export with --target-version {major}.{minor}")
