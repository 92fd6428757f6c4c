"""The webhook receiver against a real HTTP server on loopback."""

import asyncio
import json
import socket

import pytest

from observe.errors import ConfigError
from observe.notify.receivers.webhook import Webhook, masked, payload
from observe.notify.settings import WebhookSettings
from observe.protocols import Notification, Receipt
from observe.testing import ManualClock, WebhookSink
from tests.notify.desk import firing, resolved
from tests.real.process import free_port

CLOCK = ManualClock(1_700_000_000_123)


def notification(*alerts, status="firing") -> Notification:
    return Notification("hook", '{}:{alertname="Down"}', alerts[0].labels.only(("alertname",)), status,
                        "first notification", alerts, "http://observe.example")


def deliver(settings: WebhookSettings, sent: Notification) -> Receipt:
    async def live() -> Receipt:
        webhook = Webhook(settings, CLOCK)
        try:
            return await webhook.deliver(sent)
        finally:
            await webhook.close()

    return asyncio.run(live())


def test_the_whole_payload():
    a = firing(CLOCK, "a")
    b = resolved(firing(CLOCK, "b"), CLOCK)
    assert payload(notification(b, a)) == {
        "version": "4",
        "groupKey": '{}:{alertname="Down"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "hook",
        "groupLabels": {"alertname": "Down"},
        "commonLabels": {"alertname": "Down", "service": "gateway", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://observe.example",
        "notification_reason": "first notification",
        "test": False,
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "Down", "instance": "a", "service": "gateway", "severity": "critical"},
                "annotations": {"summary": "a is down"},
                "startsAt": "2023-11-14T22:13:20.123Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://observe.example/alerts/1",
                "fingerprint": a.fingerprint,
            },
            {
                "status": "resolved",
                "labels": {"alertname": "Down", "instance": "b", "service": "gateway", "severity": "critical"},
                "annotations": {"summary": "b is down", "resolved_reason": "condition cleared"},
                "startsAt": "2023-11-14T22:13:20.123Z",
                "endsAt": "2023-11-14T22:13:20.123Z",
                "generatorURL": "http://observe.example/alerts/1",
                "fingerprint": b.fingerprint,
            },
        ],
    }


def test_it_posts_json_with_the_configured_headers():
    with WebhookSink() as sink:
        settings = WebhookSettings("hook", sink.url, {"Authorization": "Bearer s3cret"})
        receipt = deliver(settings, notification(firing(CLOCK)))
        (request,) = sink.wait_for(1)
    assert (receipt.ok, request.path) == (True, "/hook")
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body)["alerts"][0]["labels"]["instance"] == "a"


@pytest.mark.parametrize(("status", "ok", "retryable"), [
    (200, True, False), (204, True, False), (302, False, False), (400, False, False), (404, False, False),
    (429, False, True), (500, False, True), (503, False, True),
])
def test_answers(status, ok, retryable):
    with WebhookSink(answers=[status]) as sink:
        receipt = deliver(WebhookSettings("hook", sink.url), notification(firing(CLOCK)))
    assert (receipt.ok, receipt.retryable) == (ok, retryable)
    assert str(status) in receipt.detail


def test_nobody_listens_is_worth_another_try():
    url = f"http://127.0.0.1:{free_port()}/token-s3cret?key=s3cret"
    receipt = deliver(WebhookSettings("hook", url), notification(firing(CLOCK)))
    assert (receipt.ok, receipt.retryable) == (False, True)
    assert "s3cret" not in receipt.detail


def test_a_receiver_that_never_answers_costs_the_timeout_only():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        receipt = deliver(WebhookSettings("hook", url, timeout_s=0.2), notification(firing(CLOCK)))
    assert receipt == Receipt(False, True, f"{masked(url)}: no answer within 0.2 s")


def test_long_groups_are_cut_and_say_so():
    alerts = [firing(CLOCK, str(number)) for number in range(30)]
    told = payload(notification(*alerts), max_alerts=10)
    assert (len(told["alerts"]), told["truncatedAlerts"]) == (10, 20)


def test_resolved_is_left_out_where_it_is_not_wanted():
    over = resolved(firing(CLOCK), CLOCK)
    with WebhookSink() as sink:
        receipt = deliver(WebhookSettings("hook", sink.url, send_resolved=False), notification(over, status="resolved"))
        assert (receipt.ok, sink.received) == (True, [])


@pytest.mark.parametrize("url", ["ftp://host/x", "host/x", "http://", "file:///etc/passwd"])
def test_what_is_not_a_web_address_is_refused(url):
    with pytest.raises(ConfigError, match="receiver `hook`: the webhook URL is not one"):
        Webhook(WebhookSettings("hook", url), CLOCK)


def test_secrets_of_a_url_are_masked():
    assert masked("https://user:pw@chat.example:8443/hook/s3cret?sign=s3cret") == "https://chat.example:8443/***"
