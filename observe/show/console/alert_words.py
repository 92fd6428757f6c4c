"""An alert in words: its headline, why it fired, and what its detector says of the band."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from observe.model import Alert, AlertState
from observe.protocols import RuleStatus
from observe.show import words
from observe.show.console.standing import band_of, limit_of
from observe.show.context import ShowContext

_HAPPENS = ("At ", "It ends", "It fires", "If it stays", "Until then")


def sentence(alert: Alert, rule: RuleStatus | None, unit: str, now_ms: int) -> str:
    """``Firing for 4 min. It is 2.41 s; 0.38–0.61 s is expected.``"""
    return f"{_state_of(alert, now_ms)}{_seen(alert, unit)}{_ending(alert, rule, now_ms)}"


def _state_of(alert: Alert, now_ms: int) -> str:
    match alert.state:
        case AlertState.FIRING:
            return f"Firing for {words.duration(now_ms - alert.starts_at_ms)}."
        case AlertState.PENDING:
            return f"Pending for {words.duration(now_ms - alert.starts_at_ms)}: nobody is paged yet."
        case _:
            end_ms = alert.ends_at_ms or alert.updated_at_ms
            return (
                f"Over since {words.duration(now_ms - end_ms)} ({alert.reason.value}); "
                f"it fired for {words.duration(end_ms - alert.starts_at_ms)}."
            )


def _seen(alert: Alert, unit: str) -> str:
    if alert.value is None:
        return ""
    value = words.quantity(alert.value, unit)
    verb = "It is" if alert.ends_at_ms is None else "It was"
    if alert.lower is None and alert.upper is None:
        limit = limit_of(alert.expr, unit)
        return f" {verb} {value}{'; the ' + limit.replace(' ', ' is ', 1) if limit else ''}."
    return f" {verb} {value}; {band_of(alert, unit)} is expected."


def _ending(alert: Alert, rule: RuleStatus | None, now_ms: int) -> str:
    """That it is on by `keep_firing_for` alone, and until when."""
    if alert.state is not AlertState.FIRING or alert.clear_since_ms is None:
        return ""
    what = "It has been back inside" if alert.back_inside else "Its condition has not held"
    said = f" {what} for {words.duration(now_ms - alert.clear_since_ms)}"
    left_ms = alert.clear_since_ms + rule.keep_firing_for_ms - now_ms if rule else 0
    return f"{said}; if that lasts, it is over in {words.duration(left_ms)}." if left_ms > 0 else f"{said}."


def why(alert: Alert, rule: RuleStatus | None, unit: str, *, briefly: bool = False) -> list[str]:
    """Why it fired, a short sentence each. `briefly`: without what the detector says itself."""
    said = []
    band = rule.band if rule and rule.band is not None else None
    if band is not None:
        said.append(f"At least {band.get('trigger', '3 of 5')} points were outside the band.")
    if alert.score is not None and np.isfinite(alert.score) and not briefly:
        said.append(
            f"The last one lies {words.digits(abs(alert.score))} times the band's half-width from its middle."
        )
    if alert.value is not None and alert.baseline is not None and np.isfinite(alert.baseline) and alert.baseline:
        change = alert.value / alert.baseline - 1
        much = (
            f"{words.digits(abs(change) * 100)} %" if abs(change) < 10 else f"{words.digits(abs(change) + 1)} times"
        )
        where = ("above" if change > 0 else "below") if abs(change) < 10 else "of"
        if not briefly:
            said.append(f"That is {much} {where} the {words.quantity(alert.baseline, unit)} expected just then.")
    if band is not None and not briefly:
        said += _least(band, unit)
    if rule is not None and rule.for_ms:
        said.append(f"It held for {words.duration(rule.for_ms)} before anyone was paged.")
    if not said and rule is not None:
        limit = limit_of(alert.expr, unit)
        said.append(
            f"It has been beyond its {limit} at every evaluation since." if limit
            else "Its expression has had a result at every evaluation since."
        )
    return said


def _least(band: Mapping[str, str], unit: str) -> list[str]:
    least = [words.quantity(float(band["min_abs"]), unit)] if _positive(band.get("min_abs")) else []
    least += [f"{band['min_rel'].rstrip('% ')} % of the expected value"] if _positive(band.get("min_rel")) else []
    return [f"Deviations under {' and '.join(least)} do not count."] if least else []


def band_words(context: ShowContext, alert: Alert, rule: RuleStatus | None, unit: str = "") -> list[str]:
    """What the detector itself says of the band, sentence by sentence."""
    if context.alerts is None or rule is None or rule.band is None:
        return []
    told = context.alerts.explain_alert(alert, lambda value: words.quantity(value, unit))
    # The headline has said whether it fires and for how long; the detector knows nothing of `keep_firing_for`.
    return [re.sub(r"^(Firing (for|since) [^.]*|Not firing)\. ", "", sentence) for sentence in told]


def lead_of(sentences: Sequence[str]) -> int:
    """How many of the detector's sentences tell what happens; those after them tell what is normal."""
    first = next((i for i, one in enumerate(sentences) if not one.startswith(_HAPPENS)), len(sentences))
    return first or min(3, len(sentences))


def _positive(text: str | None) -> bool:
    try:
        return float((text or "0").rstrip("% ")) > 0
    except ValueError:
        return bool(text)
