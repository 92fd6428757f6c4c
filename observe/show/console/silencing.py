"""Silences set and lifted from the console: plain forms, so that they work on any phone at night."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from starlette.responses import Response
from starlette.routing import BaseRoute

from observe.errors import QueryError
from observe.model import Matcher
from observe.protocols import PageDesk, Silence
from observe.show.console.find import find_alert
from observe.show.console.page import Ask, Desk, back_to
from observe.show.problems import NotFound

_LONGEST_MS = 30 * 86_400_000


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context

    def page_desk() -> PageDesk:
        if context.desk is None:
            raise NotFound("silences live in the attached Alertmanager; set them there")
        return context.desk

    def silence(ask: Ask) -> Response:
        alert = find_alert(context, ask.names["fingerprint"], ask.now_ms)
        until_ms = silence_until(ask.get("for"), ask.get("zone", "UTC"), ask.now_ms)
        labels = alert.labels if ask.get("scope", "alert") == "alert" else alert.labels.only(["alertname"])
        matchers = tuple(Matcher(name, "=", value) for name, value in labels.pairs)
        page_desk().set_silence(
            Silence("", matchers, ask.now_ms, until_ms, ask.who, ask.get("comment") or "set from the console"),
            ask.now_ms,
        )
        return back_to(f"/alerts/{alert.fingerprint}?said=silenced")

    def lift(ask: Ask) -> Response:
        page_desk().expire_silence(ask.names["silence_id"], ask.now_ms)
        target = ask.get("back")
        known = target.startswith("/alerts") and not target.startswith("//")
        return back_to(target if known else "/alerts?said=lifted#silences")

    return [
        desk.page("/alerts/{fingerprint}/silence", silence, ("POST",)),
        desk.page("/silences/{silence_id}/lift", lift, ("POST",)),
    ]


def silence_until(choice: str, zone: str, now_ms: int) -> int:
    """When a silence ends: ``1h``, ``4h``, or ``9:00`` for the next nine o'clock where the person is.

    >>> silence_until("9:00", "Europe/Berlin", 1_763_697_600_000) - 1_763_697_600_000  # 04:00 UTC is 05:00 there
    14400000
    """
    if choice in {"1h", "4h", "24h"}:
        return now_ms + int(choice[:-1]) * 3_600_000
    if choice == "9:00":
        try:
            here = ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            here = ZoneInfo("UTC")
        now = datetime.fromtimestamp(now_ms / 1000, here)
        nine = now.replace(hour=9, minute=0, second=0, microsecond=0)
        if nine <= now:
            nine = (now + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
        return min(int(nine.timestamp() * 1000), now_ms + _LONGEST_MS)
    raise QueryError(f"{choice[:20]!r} is no length of a silence; choose 1h, 4h, 24h or 9:00")
