"""Lines of the JVM's unified GC log (``-Xlog:gc*``, JDK 9 and later): pauses, Full GCs, stalls, evacuation failures.

Which decorations stand before the message, and how they are padded, is the user's choice; so they are told by their
shapes, never by position. Message forms were read from JDK 17 and 25 with all their collectors.
"""

import re
from dataclasses import dataclass
from typing import Final

_DECORATIONS: Final = re.compile(r"(?:\[[^\]\n]*\])+ ?")
_NUMBERS: Final = re.compile(r"\[\s*(\d+)\s*\]")
_PAUSE: Final = re.compile(
    r"GC\(\d+\) (?:[yYoO]: )?Pause (?P<what>[A-Z].*?)"
    r"(?: (?P<before>\d+[BKMGT])->(?P<after>\d+[BKMGT])\((?P<total>\d+[BKMGT])\))? (?P<ms>\d+(?:\.\d+)?)ms\s*",
)
_HEAP: Final = re.compile(  # ZGC says the heap beside the cycle, not beside a pause
    r"GC\(\d+\) (?:[yYoO]: )?(?:Garbage Collection|Minor Collection|Major Collection) \(.*\) "
    r"(?P<before>\d+[BKMGT])\(\d+%\)->(?P<after>\d+[BKMGT])\(\d+%\).*",
)
_STALL: Final = re.compile(r"Allocation Stall \(.*\) (?P<ms>\d+(?:\.\d+)?)ms\s*")
_EXHAUSTED: Final = re.compile(r"GC\(\d+\) To-space exhausted\s*")
_SIZES: Final = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class Pause:
    """The end of one stop of the world. Sizes are bytes of the whole heap, None where the line has none."""

    kind: str
    """In the JVM's words: ``Young (Normal)``, ``Full``, ``Remark``, ``Mark Start``."""
    cause: str
    seconds: float
    before: int | None = None
    after: int | None = None
    evacuation_failed: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """A thread had to wait for memory (ZGC)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HeapAfter:
    """A whole cycle's effect, where pauses do not tell it (ZGC)."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class EvacuationFailure:
    """G1 found no room to copy survivors to (JDK 17's own line; later ones mark the pause)."""


Event = Pause | Stall | HeapAfter | EvacuationFailure


def split(line: str) -> tuple[str, str]:
    """(decorations, message) of one line."""
    match = _DECORATIONS.match(line)
    return (match[0], line[match.end():]) if match else ("", line)


def decorated_numbers(decorations: str) -> list[int]:
    """Bare numbers among the decorations: pid, tid or both, in this order."""
    return [int(number) for number in _NUMBERS.findall(decorations)]


def parse_message(message: str) -> Event | None:
    """What a message tells us, or None for the many that tell nothing. The start of a pause has no duration: None."""
    match = _PAUSE.fullmatch(message)
    if match:
        kind, cause, failed = _name(match["what"])
        return Pause(kind, cause, float(match["ms"]) / 1000, _size(match["before"]), _size(match["after"]), failed)
    match = _HEAP.fullmatch(message)
    if match:
        return HeapAfter(_size(match["before"]) or 0, _size(match["after"]) or 0)
    match = _STALL.fullmatch(message)
    if match:
        return Stall(float(match["ms"]) / 1000)
    return EvacuationFailure() if _EXHAUSTED.fullmatch(message) else None


def _name(what: str) -> tuple[str, str, bool]:
    """(kind, cause, evacuation failed) of what follows the word Pause."""
    head, groups = _groups(what)
    failed = any(group.startswith("Evacuation Failure") for group in groups)
    groups = [group for group in groups if not group.startswith("Evacuation Failure")]
    if head == "Young" and len(groups) > 1:  # G1: Young (Concurrent Start) (G1 Humongous Allocation)
        return f"{head} ({groups[0]})", groups[1], failed
    if head in {"Young", "Full", "Degenerated GC"}:
        return head, groups[0] if groups else "", failed
    return head, "", failed  # Init Mark (unload classes), Mark Start (Major): details, not causes


def _groups(what: str) -> tuple[str, list[str]]:
    """Words and the groups in parentheses behind them; a group may hold a pair itself, as ``System.gc()``."""
    groups: list[str] = []
    head, depth, start = what, 0, 0
    for index, letter in enumerate(what):
        if letter == "(":
            if depth == 0:
                head, start = (what[:index] if not groups else head), index + 1
            depth += 1
        elif letter == ")" and depth:
            depth -= 1
            if depth == 0:
                groups.append(what[start:index])
    return head.strip(), groups


def _size(text: str | None) -> int | None:
    return int(text[:-1]) * _SIZES[text[-1]] if text else None
