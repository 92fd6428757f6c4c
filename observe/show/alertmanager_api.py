"""Alertmanager's API v2, so that amtool, Grafana and whatever else speaks to an Alertmanager speaks to us.

After https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml; errors are a JSON string, as there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse, Response

from observe._version import __version__
from observe.clock import Clock
from observe.errors import InvalidInput, ObserveError, Problem
from observe.model import Alert, Labels, Matcher
from observe.moment import rfc3339
from observe.notify.config_text import NOBODY, config_text
from observe.notify.matcher_text import parse_matchers
from observe.notify.matching import check_matcher, matches
from observe.notify.routes import WATCHDOG, Leg, legs
from observe.notify.settings import NotifySettings
from observe.protocols import PageDesk, Silence
from observe.show.alertmanager_bodies import alert_in, alert_out, silence_in, silence_out

_TAG = "Alertmanager API"

MAX_ALERTS = 10_000


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

    @router.get("/api/v2/status", tags=[_TAG], summary="Version, configuration and start.")
    def status() -> dict[str, Any]:
        return {
            "cluster": {"name": "observe", "status": "disabled", "peers": []},
            "versionInfo": {
                "version": __version__, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
            },
            "config": {"original": config_text(pager.settings)},
            "uptime": rfc3339(started_ms),
        }

    @router.get("/api/v2/receivers", tags=[_TAG], summary="Names of receivers.")
    def receivers() -> list[dict[str, str]]:
        return [{"name": name} for name in (*(one.name for one in pager.settings.receivers), NOBODY)]

    @router.get("/api/v2/alerts", tags=[_TAG], summary="Alerts that are on, with evidence, receivers and silences.",
                response_model=None)
    def alerts(
        filter_: Annotated[list[str] | None, Query(alias="filter")] = None, active: bool = True, silenced: bool = True,
        inhibited: bool = True, receiver: str = "",
    ) -> Response:
        try:
            chosen = _chosen(pager, clock.now_ms(), filter_, active, silenced, inhibited, receiver)
        except ObserveError as error:
            return refusal(error)
        return _json([shown for _, shown in chosen])

    @router.get("/api/v2/alerts/groups", tags=[_TAG], summary="The same, grouped as they are paged.",
                response_model=None)
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
            for leg in _legs(pager.settings, alert.labels):
                if named is not None and not matches((named,), {"receiver": leg.receiver}):
                    continue
                key, shared = leg.group(alert.labels)
                group = found.setdefault((leg.receiver, key), {
                    "labels": dict(shared), "receiver": {"name": leg.receiver}, "alerts": [],
                })
                group["alerts"].append(shown)
        return _json([found[key] for key in sorted(found)])

    @router.post("/api/v2/alerts", tags=[_TAG], summary="Send alerts, as Prometheus does.", response_model=None)
    def push(body: Annotated[list[dict[str, Any]], Body()]) -> JSONResponse:
        now_ms = clock.now_ms()
        if len(body) > MAX_ALERTS:
            return JSONResponse(f"{len(body)} alerts in one request, at most {MAX_ALERTS} are taken", 400)
        good: list[Alert] = []
        problems: list[Problem] = []
        for place, told in enumerate(body):
            try:
                good.append(alert_in(told, now_ms))
            except InvalidInput as error:
                problems.extend(Problem(found.what, f"alert {place}", fix=found.fix) for found in error.problems)
        if good:
            pager.push(good, now_ms)
        return refusal(InvalidInput(problems)) if problems else JSONResponse(None, 200)

    @router.get("/api/v2/silences", tags=[_TAG], summary="Silences: active, pending and over.", response_model=None)
    def silences(
        filter_: Annotated[list[str] | None, Query(alias="filter")] = None,
    ) -> list[dict[str, Any]] | JSONResponse:
        now_ms = clock.now_ms()
        try:
            wanted = [matcher for text in filter_ or () for matcher in parse_matchers(text)]
        except ObserveError as error:
            return refusal(error)
        return [silence_out(one, now_ms) for one in pager.silences(now_ms) if _concerns(one, wanted)]

    @router.post("/api/v2/silences", tags=[_TAG], summary="Set a silence, or change one by its id.",
                response_model=None)
    def set_silence(body: Annotated[dict[str, Any], Body()]) -> dict[str, str] | JSONResponse:
        now_ms = clock.now_ms()
        known = {one.id for one in pager.silences(now_ms)}
        if body.get("id") and body["id"] not in known:
            return JSONResponse(f"silence {body['id']} does not exist", 404)
        try:
            return {"silenceID": pager.set_silence(silence_in(body), now_ms)}
        except ObserveError as error:
            return refusal(error)

    @router.get("/api/v2/silence/{silence_id}", tags=[_TAG], summary="One silence.", response_model=None)
    def silence(silence_id: str) -> dict[str, Any] | JSONResponse:
        now_ms = clock.now_ms()
        found = next((one for one in pager.silences(now_ms) if one.id == silence_id), None)
        if found is None:
            return JSONResponse(f"silence {silence_id} does not exist", 404)
        return silence_out(found, now_ms)

    @router.delete("/api/v2/silence/{silence_id}", tags=[_TAG], summary="End a silence now.", response_model=None)
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
        names = sorted({leg.receiver for leg in _legs(pager.settings, alert.labels)})
        if named is not None and not any(matches((named,), {"receiver": name}) for name in names):
            continue
        by_silence = pager.silenced_by(alert.labels, now_ms)
        by_alert = pager.inhibited_by(alert)
        is_active = not by_silence and not by_alert
        if (by_silence and not silenced) or (by_alert and not inhibited) or (is_active and not active):
            continue
        chosen.append((alert, alert_out(
            alert, names, by_silence, by_alert, pager.evidence_of(alert), now_ms + pager.settings.resolve_timeout_ms)))
    return chosen


def _legs(settings: NotifySettings, labels: Labels) -> list[Leg]:
    """Where an alert goes; what goes to nobody is shown with the receiver of that name, as the configuration's text is.

    Else Grafana and amtool would list no group of a server without receivers, whatever fires there.
    """
    group_by = ("alertname",) if labels.get("alertname") == WATCHDOG else settings.group_by
    return legs(settings, labels) or [
        Leg(NOBODY, "{}", group_by, settings.group_wait_ms, settings.group_interval_ms, settings.repeat_interval_ms),
    ]


def _concerns(one: Silence, wanted: Sequence[Matcher]) -> bool:
    """As Alertmanager: the filter is applied to the silence's own matchers, as if they were labels."""
    return matches(wanted, {matcher.name: matcher.value for matcher in one.matchers})


def _anchored(receiver: str) -> Matcher | None:
    if not receiver:
        return None
    matcher = Matcher("receiver", "=~", receiver)
    check_matcher(matcher)
    return matcher
