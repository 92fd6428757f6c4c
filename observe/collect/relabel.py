"""Relabelling as Prometheus does it: `relabel_configs` for targets, `metric_relabel_configs` for series.

A list of `Relabel` steps is run in order over a dictionary of labels; a step returns new labels, or None to drop.
Regular expressions are RE2, anchored at both ends.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from observe.patterns import PatternError, compiled

Action = Literal["replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep",
                 "lowercase", "uppercase"]
ACTIONS: Final[tuple[str, ...]] = get_args(Action)
_NEED_TARGET: Final = {"replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"}
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_KEYS: Final = ("source_labels", "separator", "regex", "modulus", "target_label", "replacement", "action")


@dataclass(frozen=True, slots=True)
class Relabel:
    """One step.

    >>> Relabel(source_labels=("a", "b"), regex="(.*);x", target_label="c")({"a": "1", "b": "x"})["c"]
    '1'
    """

    action: str = "replace"
    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: str = "(.*)"
    modulus: int = 0
    target_label: str = ""
    replacement: str = "$1"
    _compiled: Any = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", compiled(self.regex))

    def __call__(self, labels: dict[str, str]) -> dict[str, str] | None:
        source = self.separator.join(labels.get(name, "") for name in self.source_labels)
        match self.action:
            case "keep":
                return labels if self._compiled.fullmatch(source) else None
            case "drop":
                return None if self._compiled.fullmatch(source) else labels
            case "keepequal":
                return labels if source == labels.get(self.target_label, "") else None
            case "dropequal":
                return None if source == labels.get(self.target_label, "") else labels
            case "labeldrop":
                return {name: value for name, value in labels.items() if not self._compiled.fullmatch(name)}
            case "labelkeep":
                return {name: value for name, value in labels.items() if self._compiled.fullmatch(name)}
            case "labelmap":
                mapped = {
                    _expand(self.replacement, found): value
                    for name, value in labels.items() if (found := self._compiled.fullmatch(name))
                }
                return _without_empty({**labels, **mapped})
            case "hashmod":
                digest = hashlib.md5(source.encode(), usedforsecurity=False).digest()
                value = str(int.from_bytes(digest[8:], "big") % self.modulus)
                return {**labels, self.target_label: value}
            case "lowercase" | "uppercase":
                value = source.lower() if self.action == "lowercase" else source.upper()
                return _without_empty({**labels, self.target_label: value})
        return self._replace(labels, source)

    def _replace(self, labels: dict[str, str], source: str) -> dict[str, str]:
        found = self._compiled.fullmatch(source)
        if not found:
            return labels
        target = _expand(self.target_label, found)
        if not target:
            return labels  # its template matched nothing: there is no such label
        return _without_empty({**labels, target: _expand(self.replacement, found)})


def relabelled(labels: dict[str, str], steps: Sequence[Relabel]) -> dict[str, str] | None:
    """All steps in order; None as soon as one drops."""
    current: dict[str, str] | None = labels
    for step in steps:
        if current is None:
            return None
        current = step(current)
    return current


def read_relabel(raw: Any) -> tuple[Relabel | None, list[tuple[str, str]]]:
    """One entry of `relabel_configs`; the step, or what is wrong as (key, words). The key may be empty: the whole."""
    if not isinstance(raw, Mapping):
        return None, [("", "a relabel step must be a mapping, such as {action: drop, regex: go_.*}")]
    problems = [(str(key), f"unknown key `{key}`; there are: {', '.join(_KEYS)}") for key in raw if key not in _KEYS]
    action = str(raw.get("action", "replace")).lower()
    if action not in ACTIONS:
        problems.append(("action", f"unknown action `{action}`; there are: {', '.join(ACTIONS)}"))
    sources = raw.get("source_labels", ())
    if not isinstance(sources, Sequence) or isinstance(sources, str) or not all(isinstance(n, str) for n in sources):
        problems.append(("source_labels", "a list of label names is wanted, such as [__address__]"))
        sources = ()
    target = str(raw.get("target_label", ""))
    if action in _NEED_TARGET and not target:
        problems.append(("action", f"`{action}` needs a `target_label`"))
    modulus = raw.get("modulus", 0)
    if not isinstance(modulus, int) or modulus < 0 or (action == "hashmod" and modulus == 0):
        problems.append(("modulus" if "modulus" in raw else "action", "`modulus` must be a positive integer"))
        modulus = 1
    if problems:
        return None, problems
    try:
        return Relabel(action, tuple(sources), str(raw.get("separator", ";")), str(raw.get("regex", "(.*)")), modulus,
                       target, str(raw.get("replacement", "$1"))), []
    except PatternError as error:
        return None, [("regex", f"`{raw.get('regex')}` is not an RE2 regular expression: {error}")]


def _expand(template: str, found: Any) -> str:
    """Go's template of a replacement: ``$1``, ``${1}``, ``${name}``, ``$$``."""
    if "$" not in template:
        return template
    groups = found.groups()
    names = found.groupdict()

    def put(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isdigit():
            number = int(name)
            return (found.group(0) if number == 0 else groups[number - 1] or "") if number <= len(groups) else ""
        return names.get(name) or ""

    return _REFERENCE.sub(put, template)


def _without_empty(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if value}
