"""The text of a rule file: Prometheus' format, unchanged, plus one optional key `band:`.

Every problem is reported, with file:line, the line itself, why, and what to do.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import yaml

from observe.alert.positions import Entry, Source, mapping, plain, sequence
from observe.alert.rules import DEFAULT_INTERVAL_MS, Rule, RuleGroup
from observe.alert.template import Template
from observe.alert.template_beyond import NotRendered, without_actions
from observe.detect.band import Band
from observe.duration import parse_duration_ms
from observe.errors import InvalidInput, Problem, QueryError

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

_GROUP_KEYS = ("name", "interval", "query_offset", "limit", "labels", "rules")
_RULE_KEYS = ("alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations", "band")

CheckExpr = Callable[[str], None]
"""Raises `QueryError` or `InvalidInput` for an expression that cannot be evaluated."""


def parse_rules(
    text: str, file: str, check: CheckExpr | None = None, default_interval_ms: int = DEFAULT_INTERVAL_MS,
    notes: list[Problem] | None = None,
) -> tuple[tuple[RuleGroup, ...], tuple[Problem, ...]]:
    """The groups of one file and all that is wrong with it.

    With `notes` a text that a Prometheus could render and we cannot is told there, and stands without what it asks for.
    """
    source = Source(file, text, notes=notes)
    root = source.compose()
    if root is None:
        return (), tuple(source.problems)
    groups: list[RuleGroup] = []
    names: set[str] = set()
    top = mapping(source, root, "a rule file", ("groups",))
    if "groups" in top:
        for node in sequence(source, top["groups"].value, "`groups`"):
            group = _group(source, node, check, default_interval_ms)
            if group is None:
                continue
            if group.name in names:
                source.on(node, f"group `{group.name}` is there twice in this file", fix="rename one of them")
            names.add(group.name)
            groups.append(group)
    return tuple(groups), tuple(source.problems)


def _group(source: Source, node: yaml.Node, check: CheckExpr | None, default_interval_ms: int) -> RuleGroup | None:
    before = len(source.problems)
    entries = mapping(source, node, "a group", _GROUP_KEYS)
    name = entries["name"].text if "name" in entries else ""
    if not name and len(source.problems) == before:
        source.on(node, "a group needs a `name`", fix="add `name: something`")
    interval = _duration(source, entries.get("interval")) or default_interval_ms
    offset = _duration(source, entries.get("query_offset"))
    limit = _whole(source, entries.get("limit"))
    shared = _strings(source, entries.get("labels"), "labels", known=frozenset())
    rules: list[Rule] = []
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for item in sequence(source, entries["rules"].value, "`rules`") if "rules" in entries else ():
        rule = _rule(source, item, name, shared, check)
        if rule is None:
            continue
        # Recordings may share a name and labels where their results differ: Kubernetes' own rules do.
        same = rule.expr if rule.kind == "recording" else ""
        identity = (rule.kind + rule.name + same, tuple(sorted(rule.labels.items())))
        if identity in seen:
            source.on(item, f"the {rule.kind} rule `{rule.name}` with these labels is there twice in group `{name}`",
                      why="their alerts could not be told apart", fix="remove one, or give them different labels")
        seen.add(identity)
        rules.append(rule)
    return RuleGroup(name, tuple(rules), source.name, interval, offset, limit)


def _rule(
    source: Source, node: yaml.Node, group: str, shared: Mapping[str, str], check: CheckExpr | None,
) -> Rule | None:
    before = len(source.problems)
    entries = mapping(source, node, "a rule", _RULE_KEYS)
    if not entries:
        return None
    named = [key for key in ("alert", "record") if key in entries]
    if len(named) != 1:
        source.on(node, "a rule is either `alert:` or `record:`",
                  why="this one has " + ("both" if named else "neither"), fix="keep exactly one of the two")
        return None
    kind: Literal["alerting", "recording"] = "alerting" if named[0] == "alert" else "recording"
    name = entries[named[0]].text
    if not name:
        source.on(entries[named[0]].value, f"`{named[0]}:` needs a name")
    if kind == "recording":
        _recording_only(source, entries, name)
    band = _band(source, entries.get("band"))
    if band is not None and band.history and not (Path(source.name).parent / band.history).is_file():
        source.on(entries["band"].key, f"`history: {band.history}` under `band:`: there is no such file",
                  why="its path counts from the folder of the rule file", fix="correct the path, or leave it out")
    if band is not None and kind == "recording":
        source.on(entries["band"].key, "`band:` belongs to an alert", fix="move it to an `alert:` rule")
    _expression(source, node, entries.get("expr"), check)
    known = frozenset({"lower", "upper", "baseline", "score"}) if band is not None else frozenset[str]()
    labels = {**shared, **_strings(source, entries.get("labels"), "labels", known)}
    annotations = _strings(source, entries.get("annotations"), "annotations", known)
    for_ms = _duration(source, entries.get("for")) or 0
    keep_ms = _duration(source, entries.get("keep_firing_for")) or 0
    if len(source.problems) > before:
        return None
    return Rule(
        name, kind, group, entries["expr"].text.strip(), source.name, node.start_mark.line + 1, for_ms, keep_ms,
        labels, annotations, band,
    )


def _recording_only(source: Source, entries: Mapping[str, Entry], name: str) -> None:
    if name and not _METRIC.fullmatch(name):
        source.on(entries["record"].value, f"`{name}` is not a metric name",
                  fix="use letters, digits, _ and :, and no digit first")
    for key in ("for", "keep_firing_for", "annotations"):
        if key in entries:
            source.on(entries[key].key, f"`{key}:` belongs to an alert, this rule records",
                      fix=f"remove `{key}:`, or write `alert:` instead of `record:`")


def _expression(source: Source, node: yaml.Node, entry: Entry | None, check: CheckExpr | None) -> None:
    if entry is None or not entry.text.strip():
        source.on(entry.value if entry else node, "a rule needs an `expr`", fix="add `expr: some PromQL`")
        return
    if check is None:
        return
    try:
        check(entry.text)
    except QueryError as error:
        for found in error.problems:
            source.inside(entry.value, found)
    except InvalidInput as error:
        source.on(entry.value, "this expression cannot be evaluated", why=str(error))


def _band(source: Source, entry: Entry | None) -> Band | None:
    if entry is None:
        return None
    band, problems = Band.parse(plain(entry.value))
    keys: dict[str, yaml.Node] = {}
    for key, _ in entry.value.value if isinstance(entry.value, yaml.MappingNode) else ():
        if str(key.value) in keys:
            source.on(key, f"`{key.value}` is there twice under `band:`", why="the second would silently win",
                      fix="keep one of them")
        keys[str(key.value)] = key
    for found in problems:
        told = (node for key, node in keys.items() if re.search(rf"`{re.escape(key)}\b", found.what))
        culprit = next(told, entry.key)
        source.on(culprit, found.what, why=found.why, fix=found.fix)
    return band


def _duration(source: Source, entry: Entry | None) -> int | None:
    if entry is None:
        return None
    try:
        return parse_duration_ms(entry.text)
    except ValueError as error:
        source.on(entry.value, f"`{entry.key.value}` is not a duration", why=str(error))
        return None


def _whole(source: Source, entry: Entry | None) -> int:
    if entry is None:
        return 0
    if not entry.text.isdigit():
        source.on(entry.value, f"`{entry.key.value}` must be a whole number", fix="write 0 for no limit")
        return 0
    return int(entry.text)


def _strings(source: Source, entry: Entry | None, what: str, known: frozenset[str]) -> dict[str, str]:
    if entry is None:
        return {}
    read: dict[str, str] = {}
    for name, pair in mapping(source, entry.value, f"`{what}`", None).items():
        if not isinstance(pair.value, yaml.ScalarNode):
            source.on(pair.value, f"`{name}` under `{what}` must be text", fix="put it in quotes")
            continue
        if not _LABEL.fullmatch(name) or name == "__name__":
            source.on(pair.key, f"`{name}` cannot be the name of a label",
                      fix="use letters, digits and _, and no digit first")
        if what == "labels" and name == "alertname":
            source.on(pair.key, "`alertname` is set by the rule itself", fix="remove it; `alert:` is the name")
        read[name] = _rendered(source, pair, known)
    return read


def _rendered(source: Source, pair: Entry, known: frozenset[str]) -> str:
    """The template of a text, once it is one."""
    before = len(source.problems)
    try:
        Template(pair.text, known)
    except InvalidInput as error:
        for found in error.problems:
            source.inside(pair.value, found)
        if isinstance(error, NotRendered) and source.notes is not None:
            source.notes.extend(source.problems[before:])
            del source.problems[before:]
            return without_actions(pair.text)
    return pair.text
