"""Alerts and silences of Alertmanager's API v2: as they are shown, and as strangers send them, checked."""

from collections.abc import Mapping
from typing import Any, Final

from observe.alert.evidence import annotations
from observe.errors import InvalidInput, Problem
from observe.model import Alert, AlertState, Labels, Matcher, Reason
from observe.moment import NEVER, parse_moment_ms, rfc3339
from observe.notify import alertmanager_json
from observe.notify.alertmanager_json import operator
from observe.protocols import Silence

MAX_LABELS = 64
MAX_TEXT = 16_384

_NO_LABELS: Final = Problem("an alert needs labels that are not empty", fix='such as {"labels": {"alertname": "Name"}}')


def alert_out(
    alert: Alert, receivers: list[str], by_silence: list[str], by_alert: list[str], evidence: Mapping[str, str],
    ends_at_ms: int,
) -> dict[str, Any]:
    """An alert that fires. It ends at `ends_at_ms` unless it is told again."""
    return {
        "labels": dict(alert.labels),
        "annotations": annotations(alert, evidence),
        "receivers": [{"name": name} for name in receivers],
        "fingerprint": alert.fingerprint,
        "startsAt": rfc3339(alert.starts_at_ms),
        "updatedAt": rfc3339(alert.updated_at_ms),
        "endsAt": rfc3339(ends_at_ms),
        "generatorURL": alert.generator_url,
        "status": {
            "state": "suppressed" if by_silence or by_alert else "active", "silencedBy": by_silence,
            "inhibitedBy": by_alert, "mutedBy": [],
        },
    }


def alert_in(told: Mapping[str, Any], now_ms: int) -> Alert:
    """A pushed alert. Raises `InvalidInput` with every problem."""
    problems: list[Problem] = []
    raw = told.get("labels")
    if not isinstance(raw, Mapping) or not raw:
        raise InvalidInput(_NO_LABELS)
    notes = told.get("annotations") or {}
    for what, pairs in (("label", raw), ("annotation", notes)):
        if not isinstance(pairs, Mapping) or len(pairs) > MAX_LABELS:
            problems.append(Problem(f"{what}s must be a mapping of at most {MAX_LABELS}"))
            continue
        for name, value in pairs.items():
            if not isinstance(value, str) or len(value) > MAX_TEXT:
                problems.append(Problem(f"{what} `{str(name)[:80]}` must be text of at most {MAX_TEXT} characters"))
            if not _named(name):
                problems.append(Problem(f"`{name[:80]}` cannot be the name of a {what}", fix="write some text"))
    starts = _time(told, "startsAt", problems)
    ends = _time(told, "endsAt", problems)
    starts_ms = starts if starts is not None else min(now_ms, ends or now_ms)
    if ends is not None and ends < starts_ms:
        problems.append(Problem("endsAt is before startsAt"))
    if not problems and not any(raw.values()):
        problems.append(_NO_LABELS)
    if problems:
        raise InvalidInput(problems)
    return Alert(
        Labels(raw), dict(notes), AlertState.FIRING, starts_ms, ends, now_ms, Reason.CONDITION_MET, "",
        generator_url=str(told.get("generatorURL") or "")[:MAX_TEXT],
    )


def silence_out(one: Silence, now_ms: int) -> dict[str, Any]:
    """A silence with its state."""
    state = "expired" if one.ends_at_ms <= now_ms else "pending" if one.starts_at_ms > now_ms else "active"
    return {
        "id": one.id, "status": {"state": state}, "updatedAt": rfc3339(one.updated_at_ms),
        **alertmanager_json.silence_out(one),
    }


def silence_in(told: Mapping[str, Any]) -> Silence:
    """A silence as somebody wants it. Raises `InvalidInput` with every problem."""
    problems: list[Problem] = []
    found: list[Matcher] = []
    for raw in told.get("matchers") or ():
        if not isinstance(raw, Mapping) or not _named(raw.get("name")):
            problems.append(Problem("a matcher needs the name of a label", fix='{"name": "alertname", "value": "X"}'))
            continue
        found.append(Matcher(str(raw["name"]), operator(raw), str(raw.get("value", ""))[:MAX_TEXT]))
    starts, ends = _time(told, "startsAt", problems), _time(told, "endsAt", problems)
    if starts is None or ends is None:
        problems.append(Problem("a silence needs startsAt and endsAt"))
    if problems:
        raise InvalidInput(problems)
    assert starts is not None
    assert ends is not None
    return Silence(str(told.get("id") or ""), tuple(found), starts, ends, str(told.get("createdBy", ""))[:MAX_TEXT],
                   str(told.get("comment", ""))[:MAX_TEXT])


def _time(told: Mapping[str, Any], name: str, problems: list[Problem]) -> int | None:
    text = told.get(name)
    if not text or str(text).startswith(NEVER[:10]):
        return None
    try:
        return parse_moment_ms(str(text))
    except ValueError:
        problems.append(Problem(f"{name} is not a time: {str(text)[:80]!r}", fix="write it as 2024-05-01T12:00:00Z"))
        return None


def _named(name: object) -> bool:
    """As in Alertmanager since 0.27 a label may have a name of any characters."""
    return isinstance(name, str) and 0 < len(name) <= MAX_TEXT and name.isprintable()
