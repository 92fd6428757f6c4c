"""Alertmanager's API v2, so that amtool, Grafana and whatever else speaks to an Alertmanager speaks to us.

After https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml; errors are a JSON string, as there.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse, Response

from observe._version import __version__
from observe.alert.evidence import annotations
from observe.clock import Clock
from observe.errors import InvalidInput, ObserveError, Problem
from observe.model import Alert, AlertState, Labels, Matcher, MatchOp, Reason
from observe.notify.config_text import config_text
from observe.notify.matcher_text import parse_matchers
from observe.notify.matching import check_matcher, matches
from observe.notify.receivers.webhook import rfc3339
from observe.notify.routes import legs
from observe.notify.settings import NotifySettings
from observe.protocols import PageDesk, Silence

MAX_ALERTS = 10_000
MAX_LABELS = 64
MAX_TEXT = 16_384

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FRACTION = re.compile(r"\.(\d{6})\d+")


class Pager(PageDesk, Protocol):
    """What the API needs of the notify stage."""

    settings: NotifySettings

    def push(self, alerts: Sequence[Alert], now_ms: int) -> None: ...

    def open_alerts(self) -> list[Alert]: ...

    def inhibited_by(self, alert: Alert) -> list[str]: ...

    def evidence_of(self, alert: Alert) -> Mapping[str, str]: ...


def alertmanager_routes(pager: Pager, clock: Clock) -> APIRouter:
    """The router for ``/api/v2``."""
    router = APIRouter()
    started_ms = clock.now_ms()

    @router.get("/api/v2/status", tags=["alertmanager"])
    def status() -> dict[str, Any]:
        return {
            "cluster": {"name": "observe", "status": "disabled", "peers": []},
            "versionInfo": {
                "version": __version__, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
            },
            "config": {"original": config_text(pager.settings)},
            "uptime": rfc3339(started_ms),
        }

    @router.get("/api/v2/receivers", tags=["alertmanager"])
    def receivers() -> list[dict[str, str]]:
        return [{"name": one.name} for one in pager.settings.receivers]

    @router.get("/api/v2/alerts", tags=["alertmanager"], response_model=None)
    def alerts(
        filter_: Annotated[list[str] | None, Query(alias="filter")] = None, active: bool = True, silenced: bool = True,
        inhibited: bool = True, receiver: str = "",
    ) -> Response:
        try:
            chosen = _chosen(pager, clock.now_ms(), filter_, active, silenced, inhibited, receiver)
        except ObserveError as error:
            return refusal(error)
        return _json([shown for _, shown in chosen])

    @router.get("/api/v2/alerts/groups", tags=["alertmanager"], response_model=None)
    def groups(
        filter_: Annotated[list[str] | None, Query(alias="filter")] = None, active: bool = True, silenced: bool = True,
        inhibited: bool = True, receiver: str = "",
    ) -> Response:
        try:
            chosen = _chosen(pager, clock.now_ms(), filter_, active, silenced, inhibited, receiver)
            named = _anchored(receiver)
        except ObserveError as error:
            return refusal(error)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for alert, shown in chosen:
            for leg in legs(pager.settings, alert.labels):
                if named is not None and not matches((named,), {"receiver": leg.receiver}):
                    continue
                key, shared = leg.group(alert.labels)
                group = found.setdefault((leg.receiver, key), {
                    "labels": dict(shared), "receiver": {"name": leg.receiver}, "alerts": [],
                })
                group["alerts"].append(shown)
        return _json([found[key] for key in sorted(found)])

    @router.post("/api/v2/alerts", tags=["alertmanager"], response_model=None)
    def push(body: Annotated[list[dict[str, Any]], Body()]) -> JSONResponse:
        now_ms = clock.now_ms()
        if len(body) > MAX_ALERTS:
            return JSONResponse(f"{len(body)} alerts in one request, at most {MAX_ALERTS} are taken", 400)
        good: list[Alert] = []
        problems: list[Problem] = []
        for place, told in enumerate(body):
            try:
                good.append(_alert_in(told, now_ms))
            except InvalidInput as error:
                problems.extend(Problem(found.what, f"alert {place}", fix=found.fix) for found in error.problems)
        if good:
            pager.push(good, now_ms)
        return refusal(InvalidInput(problems)) if problems else JSONResponse(None, 200)

    @router.get("/api/v2/silences", tags=["alertmanager"], response_model=None)
    def silences(
        filter_: Annotated[list[str] | None, Query(alias="filter")] = None,
    ) -> list[dict[str, Any]] | JSONResponse:
        now_ms = clock.now_ms()
        try:
            wanted = [matcher for text in filter_ or () for matcher in parse_matchers(text)]
        except ObserveError as error:
            return refusal(error)
        return [_silence_out(one, now_ms) for one in pager.silences(now_ms) if _concerns(one, wanted)]

    @router.post("/api/v2/silences", tags=["alertmanager"], response_model=None)
    def set_silence(body: Annotated[dict[str, Any], Body()]) -> dict[str, str] | JSONResponse:
        now_ms = clock.now_ms()
        known = {one.id for one in pager.silences(now_ms)}
        if body.get("id") and body["id"] not in known:
            return JSONResponse(f"silence {body['id']} does not exist", 404)
        try:
            return {"silenceID": pager.set_silence(_silence_in(body), now_ms)}
        except ObserveError as error:
            return refusal(error)

    @router.get("/api/v2/silence/{silence_id}", tags=["alertmanager"], response_model=None)
    def silence(silence_id: str) -> dict[str, Any] | JSONResponse:
        now_ms = clock.now_ms()
        found = next((one for one in pager.silences(now_ms) if one.id == silence_id), None)
        if found is None:
            return JSONResponse(f"silence {silence_id} does not exist", 404)
        return _silence_out(found, now_ms)

    @router.delete("/api/v2/silence/{silence_id}", tags=["alertmanager"], response_model=None)
    def expire(silence_id: str) -> JSONResponse:
        now_ms = clock.now_ms()
        if silence_id not in {one.id for one in pager.silences(now_ms)}:
            return JSONResponse(f"silence {silence_id} does not exist", 404)
        try:
            pager.expire_silence(silence_id, now_ms)
        except ObserveError as error:
            return refusal(error)
        return JSONResponse(None, 200)

    return router


def _json(told: Any) -> Response:
    """Ten thousand alerts are four megabytes: written here, on a thread, and not by the framework on the event loop."""
    return Response(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(), media_type="application/json")


def refusal(error: ObserveError) -> JSONResponse:
    return JSONResponse(str(error), 400 if isinstance(error, InvalidInput) else 503)


def _chosen(
    pager: Pager, now_ms: int, filters: list[str] | None, active: bool, silenced: bool, inhibited: bool, receiver: str,
) -> list[tuple[Alert, dict[str, Any]]]:
    wanted = [matcher for text in filters or () for matcher in parse_matchers(text)]
    named = _anchored(receiver)
    chosen = []
    for alert in sorted(pager.open_alerts(), key=lambda one: one.fingerprint):
        if not matches(wanted, alert.labels):
            continue
        names = sorted({leg.receiver for leg in legs(pager.settings, alert.labels)})
        if named is not None and not any(matches((named,), {"receiver": name}) for name in names):
            continue
        by_silence = pager.silenced_by(alert.labels, now_ms)
        by_alert = pager.inhibited_by(alert)
        is_active = not by_silence and not by_alert
        if (by_silence and not silenced) or (by_alert and not inhibited) or (is_active and not active):
            continue
        chosen.append((alert, _alert_out(alert, names, by_silence, by_alert, pager, now_ms)))
    return chosen


def _alert_out(
    alert: Alert, receivers: list[str], by_silence: list[str], by_alert: list[str], pager: Pager, now_ms: int,
) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "annotations": annotations(alert, pager.evidence_of(alert)),
        "receivers": [{"name": name} for name in receivers],
        "fingerprint": alert.fingerprint,
        "startsAt": rfc3339(alert.starts_at_ms),
        "updatedAt": rfc3339(alert.updated_at_ms),
        "endsAt": rfc3339(now_ms + pager.settings.resolve_timeout_ms),
        "generatorURL": alert.generator_url,
        "status": {
            "state": "suppressed" if by_silence or by_alert else "active", "silencedBy": by_silence,
            "inhibitedBy": by_alert, "mutedBy": [],
        },
    }


def _alert_in(told: Mapping[str, Any], now_ms: int) -> Alert:
    problems: list[Problem] = []
    raw = told.get("labels")
    if not isinstance(raw, Mapping) or not raw:
        raise InvalidInput(Problem("an alert needs labels", fix='such as {"labels": {"alertname": "Name"}}'))
    notes = told.get("annotations") or {}
    for what, pairs in (("label", raw), ("annotation", notes)):
        if not isinstance(pairs, Mapping) or len(pairs) > MAX_LABELS:
            problems.append(Problem(f"{what}s must be a mapping of at most {MAX_LABELS}"))
            continue
        for name, value in pairs.items():
            if not isinstance(value, str) or len(value) > MAX_TEXT:
                problems.append(Problem(f"{what} `{str(name)[:80]}` must be text of at most {MAX_TEXT} characters"))
            if not _LABEL.fullmatch(name):
                problems.append(Problem(f"`{name[:80]}` cannot be the name of a {what}",
                                        fix="use letters, digits and _, and no digit first"))
    starts = _time(told, "startsAt", problems)
    ends = _time(told, "endsAt", problems)
    starts_ms = starts if starts is not None else min(now_ms, ends or now_ms)
    if ends is not None and ends < starts_ms:
        problems.append(Problem("endsAt is before startsAt"))
    if problems:
        raise InvalidInput(problems)
    return Alert(
        Labels(raw), dict(notes), AlertState.FIRING, starts_ms, ends, now_ms, Reason.CONDITION_MET, "",
        generator_url=str(told.get("generatorURL") or "")[:MAX_TEXT],
    )


def _time(told: Mapping[str, Any], name: str, problems: list[Problem]) -> int | None:
    text = told.get(name)
    if not text or str(text).startswith("0001-01-01"):
        return None
    try:
        # Go writes nanoseconds; this Python reads microseconds.
        moment = datetime.fromisoformat(_FRACTION.sub(r".\1", str(text)))
    except ValueError:
        problems.append(Problem(f"{name} is not a time: {str(text)[:80]!r}", fix="write it as 2024-05-01T12:00:00Z"))
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _silence_out(one: Silence, now_ms: int) -> dict[str, Any]:
    state = "expired" if one.ends_at_ms <= now_ms else "pending" if one.starts_at_ms > now_ms else "active"
    return {
        "id": one.id,
        "status": {"state": state},
        "matchers": [
            {"name": m.name, "value": m.value, "isRegex": m.op in {"=~", "!~"}, "isEqual": m.op in {"=", "=~"}}
            for m in one.matchers
        ],
        "startsAt": rfc3339(one.starts_at_ms),
        "endsAt": rfc3339(one.ends_at_ms),
        "updatedAt": rfc3339(one.updated_at_ms),
        "createdBy": one.created_by,
        "comment": one.comment,
    }


def _silence_in(told: Mapping[str, Any]) -> Silence:
    problems: list[Problem] = []
    found: list[Matcher] = []
    for raw in told.get("matchers") or ():
        if not isinstance(raw, Mapping) or not _LABEL.fullmatch(str(raw.get("name", ""))):
            problems.append(Problem("a matcher needs the name of a label", fix='{"name": "alertname", "value": "X"}'))
            continue
        op: MatchOp = ("=~" if raw.get("isEqual", True) else "!~") if raw.get("isRegex") else (
            "=" if raw.get("isEqual", True) else "!=")
        found.append(Matcher(str(raw["name"]), op, str(raw.get("value", ""))[:MAX_TEXT]))
    starts, ends = _time(told, "startsAt", problems), _time(told, "endsAt", problems)
    if starts is None or ends is None:
        problems.append(Problem("a silence needs startsAt and endsAt"))
    if problems:
        raise InvalidInput(problems)
    assert starts is not None
    assert ends is not None
    return Silence(str(told.get("id") or ""), tuple(found), starts, ends, str(told.get("createdBy", ""))[:MAX_TEXT],
                   str(told.get("comment", ""))[:MAX_TEXT])


def _concerns(one: Silence, wanted: Sequence[Matcher]) -> bool:
    """As Alertmanager: the filter is applied to the silence's own matchers, as if they were labels."""
    return matches(wanted, {matcher.name: matcher.value for matcher in one.matchers})


def _anchored(receiver: str) -> Matcher | None:
    if not receiver:
        return None
    matcher = Matcher("receiver", "=~", receiver)
    check_matcher(matcher)
    return matcher
