"""The `band:` key of a rule: one meaning each, unknown keys are errors.

The schema is docs/rules.md's table; `Band.parse` reads one YAML mapping and reports every problem in it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from observe.duration import parse_duration_ms
from observe.errors import Problem
from observe.nearest import meant

DetectorName = Literal["auto", "rolling", "robust", "seasonal"]
Sensitivity = Literal["low", "normal", "high"]
Direction = Literal["above", "below", "both"]
NoData = Literal["hold", "resolve", "alert"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Quorum:
    """``m of n``: at least m of the last n points."""

    m: int
    n: int

    def __str__(self) -> str:
        return f"{self.m} of {self.n}"


# What is taken where nothing is given, as measured in docs/quality.md.
AUTO_RECOVER = Quorum(7, 7)
_TRIGGERS = {"auto": Quorum(1, 1), "seasonal": Quorum(2, 3)}
_WIDTHS = {"robust": 5.0, "seasonal": 4.5}


@dataclass(frozen=True, slots=True)
class Budget:
    """``1/week``: pages of the whole rule that a quiet system may cost."""

    pages: float
    per_ms: int


@dataclass(frozen=True, slots=True)
class Band:
    """How a rule learns what is normal, and when it speaks. Defaults are those of a shipped rule."""

    detector: DetectorName = "auto"
    window: int = 30
    """Points the spread is estimated from; 0 when `window_ms` says it."""
    window_ms: int = 0
    window_grows: bool = False
    """`robust` goes on to widen its window once it is full: so a first stage does. No key."""
    k: float = 0.0
    """Half-width in standard deviations (not `auto`). Where not given: 3, of `seasonal` 4.5, of `robust` 5."""
    sensitivity: Sensitivity = "normal"
    """`k` of the `auto` detector."""
    budget: Budget | None = None
    direction: Direction = "both"
    min_abs: float = 0.0
    min_rel: float = 0.0
    """A fraction: ``20%`` is 0.2."""
    trigger: Quorum = Quorum(0, 0)
    """Where not given: 3 of 5, of `seasonal` 2 of 3, and 1 of 1 of `auto`, whose evidence weighs the points before."""
    recover: Quorum = Quorum(0, 0)
    """Where not given: 5 of 5, and 7 of 7 for `auto`, which looks back a quarter of an hour at most."""
    hold: bool = True
    relearn_after_ms: int = -1
    """Where not given: two hours, and eight for `auto`; 0 is never."""
    timezone: str = "UTC"
    no_data: NoData = "hold"
    by: tuple[str, ...] = ()
    history: str = ""
    """A CSV or Parquet file with its past, beside the rule file."""

    def __post_init__(self) -> None:
        auto = self.detector == "auto"
        if self.k == 0.0:
            object.__setattr__(self, "k", _WIDTHS.get(self.detector, 3.0))
        if self.trigger.n == 0:
            object.__setattr__(self, "trigger", _TRIGGERS.get(self.detector, Quorum(3, 5)))
        if self.recover.n == 0:
            object.__setattr__(self, "recover", AUTO_RECOVER if auto else Quorum(5, 5))
        if self.relearn_after_ms < 0:
            object.__setattr__(self, "relearn_after_ms", 28_800_000 if auto else 7_200_000)

    @classmethod
    def parse(cls, raw: Any) -> tuple["Band", list[Problem]]:
        """Read the mapping under ``band:``. The band is only of use when there are no problems."""
        if raw is None:
            raw = {}
        if not isinstance(raw, Mapping):
            fix = "write `band: {detector: auto}`, or indent its keys"
            return cls(), [Problem("`band:` must be a mapping", fix=fix)]
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for key, value in raw.items():
            read = _READERS.get(str(key))
            if read is None:
                fix = meant(str(key), _READERS) or f"use one of: {', '.join(sorted(_READERS))}"
                problems.append(Problem(f"unknown key `{key}` under `band:`",
                                        why="a typo would silently change what is judged", fix=fix))
                continue
            try:
                values.update(read(value))
            except (ValueError, TypeError, KeyError) as error:
                problems.append(Problem(f"`{key}: {value}` under `band:` is not valid", why=str(error)))
        if "budget" in raw and "k" in raw:
            problems.append(Problem("`budget` and `k` are both given", why="the budget chooses k",
                                    fix="keep one of the two"))
        band = cls(**values)  # of what could be read
        problems.extend(_disagreements(band, raw, known="detector" not in raw or "detector" in values))
        return band if not problems else cls(), problems


def _disagreements(band: Band, raw: Mapping[str, Any], *, known: bool) -> list[Problem]:
    """What is wrong between keys; those about the detector only where it is `known`."""
    problems = []
    numeric = isinstance(raw.get("k"), int | float) and not isinstance(raw.get("k"), bool)
    if known and band.detector == "auto" and numeric:
        problems.append(Problem("`k` of the auto detector is a sensitivity", why="auto calibrates its own width",
                                fix="write `k: low`, `k: normal` or `k: high`, or choose another detector"))
    if known and band.detector != "auto" and raw.get("k") in get_args(Sensitivity):
        problems.append(Problem(f"`k: {raw['k']}` needs `detector: auto`", fix="give a number, such as `k: 3`"))
    if band.recover.n > 64 or band.trigger.n > 64:
        problems.append(Problem("`trigger` and `recover` look back 64 points at most"))
    return problems


def _choice(name: str, kind: Any) -> Any:
    choices = get_args(kind)

    def read(value: Any) -> dict[str, Any]:
        if value not in choices:
            raise ValueError(f"use one of: {', '.join(choices)}")
        return {name: value}

    return read


def _number(value: Any, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number is wanted")
    if not math.isfinite(value) or value < least:
        wanted = "above 0" if 0 < least < 1e-6 else f"of at least {least:g}"
        raise ValueError(f"a finite number {wanted} is wanted")
    return float(value)


def _window(value: Any) -> dict[str, Any]:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 2 <= value <= 100_000:
            raise ValueError("between 2 and 100000 points")
        return {"window": value, "window_ms": 0}
    span_ms = parse_duration_ms(str(value))
    if span_ms <= 0:
        raise ValueError("more than no time")
    return {"window": 0, "window_ms": span_ms}


def _width(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        if value not in get_args(Sensitivity):
            raise ValueError("a number, or low, normal, high for the auto detector")
        return {"sensitivity": value}
    return {"k": _number(value, 1e-9)}


def _fraction(value: Any) -> float:
    if isinstance(value, str) and value.strip().endswith("%"):
        return _number(float(value.strip()[:-1]) / 100)
    return _number(value)


def _quorum(value: Any) -> Quorum:
    match = re.fullmatch(r"(\d+)\s+of\s+(\d+)", str(value).strip())
    if not match:
        raise ValueError("write it as `3 of 5`")
    m, n = int(match[1]), int(match[2])
    if not 1 <= m <= n:
        raise ValueError("at least 1, and no more than the points looked at")
    return Quorum(m, n)


def _budget(value: Any) -> Budget:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(hour|day|week|month)", str(value).strip())
    if not match or float(match[1]) <= 0:
        raise ValueError("write it as `1/week` (hour, day, week or month)")
    per = {"hour": 3_600_000, "day": 86_400_000, "week": 604_800_000, "month": 2_592_000_000}
    return Budget(float(match[1]), per[match[2]])


def _timezone(value: Any) -> str:
    try:
        ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):  # not there, no name of one, or a folder of them
        raise ValueError("there is no such time zone: write it as Europe/Berlin") from None
    return str(value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("a list of label names is wanted, such as [service]")
    for name in value:
        if not _LABEL.fullmatch(name):
            raise ValueError(f"`{name}` is no name of a label")
    return tuple(value)


def _file(value: Any) -> str:
    if not isinstance(value, str) or not value.lower().endswith((".csv", ".parquet")):
        raise ValueError("a .csv or .parquet file is wanted, its path as seen from the rule file")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false is wanted")
    return value


_READERS: dict[str, Any] = {
    "detector": _choice("detector", DetectorName),
    "window": _window,
    "k": _width,
    "budget": lambda value: {"budget": _budget(value)},
    "direction": _choice("direction", Direction),
    "min_abs": lambda value: {"min_abs": _number(value)},
    "min_rel": lambda value: {"min_rel": _fraction(value)},
    "trigger": lambda value: {"trigger": _quorum(value)},
    "recover": lambda value: {"recover": _quorum(value)},
    "hold": lambda value: {"hold": _boolean(value)},
    "relearn_after": lambda value: {"relearn_after_ms": parse_duration_ms(str(value))},
    "timezone": lambda value: {"timezone": _timezone(value)},
    "no_data": _choice("no_data", NoData),
    "by": lambda value: {"by": _names(value)},
    "history": lambda value: {"history": _file(value)},
}
