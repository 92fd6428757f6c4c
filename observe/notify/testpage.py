"""The page that says it is a test, to a receiver of ours or through a cluster of Alertmanagers."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from observe.errors import InvalidInput, ObserveError, Problem
from observe.model import Alert, AlertState, Labels, Reason
from observe.moment import rfc3339
from observe.notify.cluster_api import ClusterApi
from observe.notify.peers import Peer
from observe.protocols import Delivery, Notification, Receiver

if TYPE_CHECKING:
    import httpx

_FOR_MS = 300_000
"""How long a test alert lasts in a cluster: longer than the group_wait of most."""


def labels_and_annotations(external_url: str) -> tuple[Labels, dict[str, str]]:
    """Of an alert that looks like a real one, and says in every part that it is not."""
    return Labels({"alertname": "TestPage", "severity": "info", "service": "observe", "test": "true"}), {
        "summary": "This is a test page from observe: nothing is wrong.",
        "description": "It was sent by `observe notify test` to show that pages arrive here.",
        "value": "1", "expected": "0 – 0.5", "lower": "0", "upper": "0.5", "score": "2", "trace_ids": "",
        "trace_ids_reason": "this is a test", "runbook_url": f"{external_url.rstrip('/')}/runbooks/observe-notify",
    }


def page(receiver: str, external_url: str, now_ms: int) -> Notification:
    """The test page as a notification."""
    labels, notes = labels_and_annotations(external_url)
    alert = Alert(labels, notes, AlertState.FIRING, now_ms, None, now_ms, Reason.CONDITION_MET, "",
                  generator_url=external_url)
    return Notification(
        receiver, "{test}", labels.only(("alertname",)), "firing", "test", (alert,), external_url, test=True,
    )


async def to_receiver(receiver: Receiver, external_url: str, now_ms: int) -> Delivery:
    """Send it once, and say what was answered."""
    notification = page(receiver.name, external_url, now_ms)
    receipt = await receiver.deliver(notification)
    return Delivery(now_ms, receiver.name, "{test}", "firing", "test", receipt.ok, receipt.detail, 1,
                    tuple(alert.fingerprint for alert in notification.alerts))


async def to_cluster(
    peers: Sequence[Peer], api: ClusterApi, client: "httpx.AsyncClient", external_url: str, now_ms: int,
    receiver: str | None,
) -> list[Delivery]:
    """An alert that is a test to every member, and which receivers the cluster's routes give it to."""
    if receiver is not None:
        raise InvalidInput(Problem(
            f"receiver {receiver!r} cannot be chosen here", why="Alertmanager's routes decide who gets a page",
            fix="leave the receiver out"))
    labels, notes = labels_and_annotations(external_url)
    labels = labels.updated({"sent_at": rfc3339(now_ms)})  # else a second test would be a repeat, and held back
    alert = {"labels": dict(labels), "annotations": notes, "startsAt": rfc3339(now_ms),
             "endsAt": rfc3339(now_ms + _FOR_MS), "generatorURL": external_url}
    answers = await asyncio.gather(*(peer.post(client, [alert]) for peer in peers))
    gets = await asyncio.to_thread(_who_gets, api, labels) if any(answer.ok for answer in answers) else ""
    return [
        Delivery(now_ms, peer.name, "{test}", "firing", "test", answer.ok,
                 f"{answer.detail}, {gets}" if answer.ok else answer.detail, 1, (f"{labels.fingerprint:016x}",))
        for peer, answer in zip(peers, answers, strict=True)
    ]


def _who_gets(api: ClusterApi, labels: Labels) -> str:
    try:
        there = api.firing(frozenset({labels["alertname"]})).get(labels)
    except (ObserveError, LookupError, TypeError, ValueError):
        return "the cluster does not say who gets it"
    if there is None:
        return "taken, but not shown as firing"
    held = ", but is silenced there" if there.silenced_by else ", but is inhibited there" if there.inhibited_by else ""
    return f"goes to {', '.join(there.receivers)}{held}"
