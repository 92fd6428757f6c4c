"""Every error that observe raises on purpose.

::

    ObserveError
    ├── UsageError              a command was called wrongly (exit code 2)
    ├── InvalidInput            something a person wrote is wrong; carries every problem found
    │   ├── ConfigError         observe.yml
    │   ├── RuleError           a rule file
    │   └── QueryError          an expression or a search; carries the position
    ├── MalformedData           bytes from outside that do not parse; counted, the rest goes on
    ├── LimitExceeded           a bound was reached; says which, and the setting that raises it
    ├── Unavailable             another system is down, slow or refuses; worth another try
    └── StorageError            the data folder is locked, not writable, full or damaged

A message says what failed, on what (name, file:line, target), why, and what to do next.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class ObserveError(Exception):
    """The root: `except ObserveError` is every expected failure and no bug."""


class UsageError(ObserveError):
    """A command was called wrongly."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one place, told so that it can be mended.

    `line` and `column` count from 1; `column` points into `source`, the line itself.
    """

    what: str
    where: str = ""
    line: int | None = None
    column: int | None = None
    width: int = 1
    source: str = ""
    why: str = ""
    fix: str = ""

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        rows = [f"{place}: {self.what}" if place else self.what]
        if self.source:
            margin = f"{self.line} | " if self.line is not None else "  | "
            rows.append(f"  {margin}{self.source}")
            if self.column is not None:
                rows.append("  " + " " * (len(margin) + self.column - 1) + "^" * max(1, self.width))
        if self.why:
            rows.append(f"  why: {self.why}")
        if self.fix:
            rows.append(f"  fix: {self.fix}")
        return "\n".join(rows)


class InvalidInput(ObserveError):
    """Something that a person wrote is wrong. Carries all problems at once."""

    def __init__(self, problems: Sequence[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = (Problem(problems),)
        elif isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(InvalidInput):
    """observe.yml cannot be used as it is."""


class RuleError(InvalidInput):
    """A rule file cannot be used as it is."""


class QueryError(InvalidInput):
    """An expression or a search that cannot be understood or evaluated.

    `kind` is Prometheus' errorType: ``bad_data``, ``execution``, ``timeout`` or ``canceled``.
    """

    def __init__(self, problems: Sequence[Problem] | Problem | str, kind: str = "bad_data") -> None:
        super().__init__(problems)
        self.kind = kind


class MalformedData(ObserveError):
    """Bytes from outside that do not parse. `reason` is a short word, also the label of the counter."""

    def __init__(self, message: str, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class LimitExceeded(ObserveError):
    """A bound was reached. `limit` names the setting that would raise it."""

    def __init__(self, message: str, limit: str = "") -> None:
        super().__init__(message)
        self.limit = limit


class Unavailable(ObserveError):
    """Another system is down, slow or refuses us. `retryable` tells whether the same call may succeed later."""

    def __init__(self, message: str, *, retryable: bool = True, reason: str = "unavailable") -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason


class StorageError(ObserveError):
    """The data folder is locked, not writable, full or damaged."""
