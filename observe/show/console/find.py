"""Finding one alert by its fingerprint, on or over."""

from observe.model import Alert
from observe.show.context import ShowContext
from observe.show.problems import NotFound

_PAST_MS = 30 * 86_400_000


def find_alert(context: ShowContext, fingerprint: str, now_ms: int) -> Alert:
    """The alert as it is now, else its newest past episode."""
    book = context.alerts
    if book is not None:
        on = next((alert for alert in book.active() if alert.fingerprint == fingerprint), None)
        if on is not None:
            return on
        past = book.history(now_ms - _PAST_MS, fingerprint, 1)
        if past:
            return past[0]
    raise NotFound(
        f"no alert {fingerprint[:40]} is on, and none was in the last 30 days; the list of alerts has those that are",
    )
