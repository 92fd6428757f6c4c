"""With a cluster attached, `/api/v2` of observe is the cluster's: what is asked, told and refused."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI

from observe.notify.cluster_api import ClusterApi
from observe.notify.peers import AlertmanagerSettings
from observe.show.notify_api import MAX_BODY_BYTES, passed_on_routes
from observe.testing import ManualClock

A, B = "http://am-a.example:9093", "http://am-b.example:9093"


class There:
    """Two members that keep what they were asked; those in `down` refuse connections."""

    def __init__(self, down=(), status=200):
        self.down, self.status = set(down), status
        self.got = []

    def __call__(self, request):
        peer = f"{request.url.scheme}://{request.url.host}:{request.url.port}"
        if peer in self.down:
            raise httpx.ConnectError("refused")
        self.got.append((peer, request.method, request.url.raw_path.decode(), request.content.decode()))
        return httpx.Response(self.status, json={"from": peer})


def ask(there, method, path, **named):
    app = FastAPI()
    app.include_router(passed_on_routes(
        ClusterApi(AlertmanagerSettings((A, B)), ManualClock(), httpx.MockTransport(there))))

    async def live():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://observe.example") as client:
            return await client.request(method, path, **named)

    return asyncio.run(live())


def test_a_question_goes_to_the_first_that_answers():
    there = There(down={A})

    answer = ask(there, "GET", "/api/v2/alerts?filter=alertname%3D%22X%22&active=true")

    assert (200, {"from": B}) == (answer.status_code, answer.json())
    assert [(B, "GET", "/api/v2/alerts?filter=alertname%3D%22X%22&active=true", "")] == there.got


def test_alerts_go_to_every_member_as_they_are():
    there = There()
    alerts = [{"labels": {"alertname": "X"}, "endsAt": "2030-01-01T00:00:00Z"}]

    assert 200 == ask(there, "POST", "/api/v2/alerts", json=alerts).status_code

    assert [(A, alerts), (B, alerts)] == [(peer, json.loads(body)) for peer, _, _, body in there.got]


@pytest.mark.parametrize(("method", "path", "body", "there", "status", "words"), [
    ("GET", "/api/v2/status", b"", There(down={A, B}), 503, "no Alertmanager of the cluster answers"),
    ("GET", "/api/v2/status", b"", There(status=502), 503, "502"),
    ("POST", "/api/v2/alerts", b"[", There(), 400, "not JSON"),
    ("POST", "/api/v2/alerts", b"[]", There(status=401), 503, "correct `attach.alertmanager.headers`"),
    ("GET", "/api/v2/../../-/reload", b"", There(), 404, "Not Found"),
    ("POST", "/api/v2/silences", b"x" * (MAX_BODY_BYTES + 1), There(), 413, "larger than"),
    ("DELETE", "/api/v2/silence/a.b", b"", There(), 404, "there is no /api/v2/silence/a.b"),
], ids=["all down", "all failing", "half a body", "credentials", "beside the API", "too large", "no such id"])
def test_what_cannot_be_passed_on_is_said(method, path, body, there, status, words):
    answer = ask(there, method, path, content=body)

    assert (status, True) == (answer.status_code, words in answer.text), answer.text
