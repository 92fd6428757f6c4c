"""Rules as they were written, and what they lack for those who are paged."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from observe.detect.band import Band
from observe.errors import Problem

DEFAULT_INTERVAL_MS = 15_000


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it was written. Labels and annotations are templates."""

    name: str
    kind: Literal["alerting", "recording"]
    group: str
    expr: str
    file: str = ""
    line: int = 0
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    band: Band | None = None

    @property
    def id(self) -> str:
        """``group/name``: the `rule` label of bands, and how people speak of the rule."""
        return f"{self.group}/{self.name}"

    def key(self, interval_ms: int) -> str:
        """Equal for rules that judge alike: state survives a reload exactly when this does.

        Annotations, `for` and the like may change; what is learned and whose alerts these are may not.
        """
        told = [self.group, self.name, self.kind, self.expr, sorted(self.labels.items()), interval_ms, str(self.band)]
        return hashlib.blake2b(json.dumps(told).encode(), digest_size=10).hexdigest()


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated one after the other at the same times."""

    name: str
    rules: tuple[Rule, ...]
    file: str = ""
    interval_ms: int = DEFAULT_INTERVAL_MS
    query_offset_ms: int | None = None
    """How far back of the evaluation time to look; None: the server's default."""
    limit: int = 0
    """Most series or alerts that one rule may give; 0 is no limit."""


def lint(groups: Sequence[RuleGroup]) -> list[Problem]:
    """What works but leaves on-call alone at night: warnings, never a reason to refuse a file."""
    warnings: list[Problem] = []
    for rule in (rule for group in groups for rule in group.rules if rule.kind == "alerting"):
        missing = [name for name in ("summary", "runbook_url") if name not in rule.annotations]
        if missing:
            warnings.append(Problem(
                f"alert `{rule.name}` has no {' and no '.join(missing)}", where=rule.file, line=rule.line,
                why="who is paged must read what it means and what to do",
                fix="add " + " and ".join(f"`annotations.{name}`" for name in missing),
            ))
        if "severity" not in rule.labels:
            warnings.append(Problem(
                f"alert `{rule.name}` has no severity", where=rule.file, line=rule.line,
                why="routes and the console sort by it", fix="add `labels: {severity: warning}`",
            ))
    return warnings
