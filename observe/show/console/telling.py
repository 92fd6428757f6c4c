"""Who was told of an alert, who will be, and why nobody is: the desk's answer as a page says it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from observe.model import Alert
from observe.protocols import PageState, PageStatus
from observe.show import words
from observe.show.console.parts import attempt_list
from observe.show.context import ShowContext


@dataclass(frozen=True, slots=True)
class Told:
    """One receiver's line: ``WHO WHAT TIME AFTER``, and under it why."""

    who: str
    what: str
    at_ms: int | None = None
    after: str = ""
    why: str = ""
    kind: str = ""
    """``bad`` where somebody must act, ``good`` where somebody knows; else it is as it should be, for now."""


_BAD: Final = frozenset({PageState.NO_RECEIVER, PageState.RETRYING})


def tell(status: PageStatus, now_ms: int) -> Told:
    """One receiver's state as a sentence with a time in it, which the browser writes in the reader's zone."""
    at_ms, why = status.at_ms, status.detail
    who = status.receiver or "Nobody"
    ahead = f"in {words.duration(at_ms - now_ms)}" if at_ms is not None and at_ms > now_ms else ""
    ago = f"{words.duration(now_ms - at_ms)} ago" if at_ms is not None and at_ms <= now_ms else ahead
    match status.state:
        case PageState.TOLD if why in {"firing", "resolved"}:
            return Told(who, "was told at" if why == "firing" else "was told at the end,", at_ms, ago, kind="good")
        case PageState.TOLD:
            return Told(who, "was not told:", why=why)
        case PageState.RETRYING:
            return Told(who, "is not reached. Next try", at_ms, ahead or "now", why, "bad")
        case PageState.WAITS:
            return Told(who, "will be told at" if ahead else "is being told", at_ms if ahead else None, ahead, why)
        case PageState.SILENCED:
            return Told(who, "is told: silenced until" if at_ms else "is told: silenced", at_ms, ahead, why)
        case PageState.INHIBITED:
            return Told(who, "is told: held back", why=why)
        case PageState.PENDING:
            return Told(who, "is told yet: it does not fire so far", why=why)
        case PageState.HANDED_OVER:
            theirs = "has it since" if who == "Alertmanager" else "is told by Alertmanager, which has it since"
            return Told(who, theirs, at_ms, ago, why, "good")
        case _:
            return Told(who, "is told", why=why, kind="bad")


def in_short(found: Sequence[PageStatus], now_ms: int) -> str:
    """One phrase for the row of a list: what needs a person first, then who knows."""
    parts: list[str] = []
    by_state: dict[PageState, list[PageStatus]] = {}
    for one in found:
        by_state.setdefault(one.state, []).append(one)
    for state, some in by_state.items():
        names = ", ".join(dict.fromkeys(one.receiver for one in some if one.receiver))
        until = max((one.at_ms for one in some if one.at_ms is not None), default=now_ms)
        left = words.duration(until - now_ms) if until > now_ms else ""
        match state:
            case PageState.TOLD if any(one.detail in {"firing", "resolved"} for one in some):
                parts.append(f"paged {names}")
            case PageState.TOLD:
                parts.append("nobody paged")
            case PageState.RETRYING:
                parts.append(f"cannot reach {names}")
            case PageState.WAITS:
                parts.append(f"pages {names} in {left}" if left else f"paging {names}")
            case PageState.SILENCED:
                parts.append(f"silenced for {left} more" if left else "silenced")
            case PageState.INHIBITED:
                parts.append(f"held back {some[0].detail}")
            case PageState.PENDING:
                parts.append("not paged yet: it must last longer")
            case PageState.HANDED_OVER:
                parts.append(f"sent to {names}")
            case _:
                parts.append("nobody paged: no receiver")
    return "; ".join(parts)


def statuses(context: ShowContext, alert: Alert, now_ms: int) -> list[PageStatus]:
    """What the desk says; nothing without one, or where it cannot answer just now."""
    desk = context.desk
    if desk is None:
        return []
    return attempt_list(lambda: desk.page_status(alert, now_ms)).value


def needs_somebody(found: Sequence[PageStatus]) -> bool:
    """Whether nobody knows of the alert who should."""
    return bool(found) and not any(one.state in {PageState.TOLD, PageState.HANDED_OVER} for one in found) and any(
        one.state in _BAD for one in found
    )
