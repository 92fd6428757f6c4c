"""What the notify stage answers beside Alertmanager's API, and that API where a cluster is attached."""

import json
import re
from typing import Any, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from observe.clock import Clock
from observe.errors import ObserveError
from observe.notify.cluster_api import ClusterApi
from observe.protocols import Delivery
from observe.show.alertmanager_api import refusal

MAX_BODY_BYTES = 8 * 2**20
_KNOWN = re.compile(r"status|receivers|alerts|alerts/groups|silences|silence/[0-9a-zA-Z-]+")
"""Nothing else of that server is reachable through us."""


class Tester(Protocol):
    """Who can send a test page."""

    async def send_test(self, now_ms: int, receiver: str | None = None) -> list[Delivery]: ...


def notify_routes(tester: Tester, clock: Clock) -> APIRouter:
    """``/api/notify/test``."""
    router = APIRouter()

    @router.post("/api/notify/test", tags=["Notify"], response_model=None,
                 summary="Send a page that says it is a test, and say what the receivers answered.")
    async def test_page(receiver: str | None = None) -> dict[str, Any] | JSONResponse:
        try:
            done = await tester.send_test(clock.now_ms(), receiver)
        except ObserveError as error:
            return refusal(error)
        return {"deliveries": [{"receiver": one.receiver, "ok": one.ok, "detail": one.detail} for one in done]}

    return router


def passed_on_routes(cluster: ClusterApi) -> APIRouter:
    """``/api/v2`` is the attached cluster's own: a second answer of ours would be a second truth.

    So amtool, `observe silence` and Grafana need one address and one token. Alerts go to every member, questions to
    the first that answers.
    """
    router = APIRouter()

    @router.api_route("/api/v2/{path:path}", methods=["GET", "POST", "DELETE"], tags=["Alertmanager API"],
                      response_model=None, include_in_schema=False)
    async def pass_on(path: str, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return JSONResponse(f"the body is larger than {MAX_BODY_BYTES} bytes", 413)
        if not _KNOWN.fullmatch(path):
            return JSONResponse(f"there is no /api/v2/{path}", 404)
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            if request.method == "POST" and path == "alerts":
                told = json.loads(body)
                await run_in_threadpool(cluster.tell_all, told)
                return JSONResponse(None, 200)
            status, answer = await run_in_threadpool(
                cluster.pass_on, request.method, f"/api/v2/{path}{query}", body)
        except ValueError as error:
            return JSONResponse(f"the body is not JSON: {error}", 400)
        except ObserveError as error:
            return refusal(error)
        return Response(answer, status, media_type="application/json")

    return router
