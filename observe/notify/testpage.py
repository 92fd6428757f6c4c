"""The page that says it is a test."""

from observe.model import Alert, AlertState, Labels, Reason
from observe.protocols import Notification


def page(receiver: str, external_url: str, now_ms: int) -> Notification:
    """A notification that looks like a real one, and says in every part that it is not."""
    labels = Labels({"alertname": "TestPage", "severity": "info", "service": "observe", "test": "true"})
    alert = Alert(
        labels,
        {
            "summary": "This is a test page from observe: nothing is wrong.",
            "description": "It was sent by `observe notify test` to show that pages arrive here.",
            "value": "1", "expected": "0 – 0.5", "lower": "0", "upper": "0.5", "score": "2", "trace_ids": "",
            "trace_ids_reason": "this is a test", "runbook_url": f"{external_url.rstrip('/')}/runbooks/observe-notify",
        },
        AlertState.FIRING, now_ms, None, now_ms, Reason.CONDITION_MET, "", generator_url=external_url,
    )
    return Notification(
        receiver, "{test}", labels.only(("alertname",)), "firing", "test", (alert,), external_url, test=True,
    )
