"""The evidence in a page: flat annotations that any receiver can show without knowing us."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from observe.model import Alert

TRACES_IN_PAGE = 5


@dataclass(frozen=True, slots=True)
class TraceFinding:
    """The traces that show an alert: failed first, then slowest; or why there are none."""

    trace_ids: tuple[str, ...] = ()
    reason: str = ""


FindTraces = Callable[[Alert, int], TraceFinding]
"""(alert, now_ms): traces that overlap [startsAt - window, now]. May ask a remote store, so never on the event loop."""


def numbers(alert: Alert) -> dict[str, str]:
    """value, expected, lower, upper, score: what was seen and what was expected; what is unknown is left out."""
    told: dict[str, str] = {}
    if alert.value is not None:
        told["value"] = f"{alert.value:.6g}"
    if alert.lower is not None and alert.upper is not None:
        told["expected"] = _range(alert, alert.lower, alert.upper)
    elif alert.baseline is not None:
        told["expected"] = f"{alert.baseline:.4g}"
    for name in ("lower", "upper", "baseline", "score"):
        number = getattr(alert, name)
        if number is not None:
            told[name] = f"{number:.6g}"
    return told


def _range(alert: Alert, lower: float, upper: float) -> str:
    """The band in words. A latency that is too high is not expected to be "-0.1 to 0.2" but "up to 0.2"."""
    above = alert.value is not None and alert.value > upper
    if above and lower < 0 <= (alert.baseline or 0.0):
        return f"up to {upper:.4g}"
    return f"{lower:.4g} – {upper:.4g}"


def traces(found: TraceFinding) -> dict[str, str]:
    """trace_ids, and trace_ids_reason where there are none."""
    if not found.trace_ids:
        return no_traces(found.reason or "no trace of this service overlaps the alert")
    return {"trace_ids": ",".join(found.trace_ids[:TRACES_IN_PAGE])}


def no_traces(reason: str) -> dict[str, str]:
    """A page without traces is still a page, and says why it has none."""
    return {"trace_ids": "", "trace_ids_reason": reason}


def annotations(alert: Alert, found: Mapping[str, str] | None = None) -> dict[str, str]:
    """All annotations of an alert as a page shows them: the rule's own first, evidence never overwrites them."""
    return {**numbers(alert), **(found or {}), **alert.annotations}
