"""The webhook receiver: Alertmanager's version 4 JSON, so that whatever takes Alertmanager's pages takes ours.

The payload follows https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from observe._version import __version__
from observe.clock import Clock
from observe.errors import ConfigError, Problem
from observe.model import Alert, AlertState
from observe.moment import NEVER, rfc3339
from observe.notify.settings import WebhookSettings
from observe.protocols import Notification, Receipt

if TYPE_CHECKING:
    import httpx

_ANSWER_BYTES = 200


class Webhook:
    """Posts to one configured URL: no redirects, no proxies from the environment, so nobody else is ever reached."""

    def __init__(
        self, settings: WebhookSettings, clock: Clock, transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        import httpx

        check_url(settings)
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._shown = masked(settings.url)
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def deliver(self, notification: Notification) -> Receipt:
        import httpx

        if notification.status == "resolved" and not self._settings.send_resolved:
            return Receipt(True, False, "resolved is not sent to this receiver")
        body = json.dumps(payload(notification, self._settings.max_alerts), ensure_ascii=False).encode()
        client = self._http()
        try:
            async with client.stream("POST", self._settings.url, content=body) as answer:
                told = b""
                async for chunk in answer.aiter_bytes():
                    told += chunk
                    if len(told) >= _ANSWER_BYTES:
                        break
        except httpx.TimeoutException:
            return Receipt(False, True, f"{self._shown}: no answer within {self._settings.timeout_s:g} s")
        except httpx.HTTPError as error:
            return Receipt(False, True, f"{self._shown}: {self._mask(str(error)) or type(error).__name__}")
        words = " ".join(told[:_ANSWER_BYTES].decode("utf-8", "replace").split())
        detail = self._mask(f"{self._shown}: {answer.status_code} {words}".rstrip())
        if answer.is_success:
            return Receipt(True, False, detail)
        retryable = answer.status_code == 429 or answer.status_code >= 500
        return Receipt(False, retryable, detail, self._retry_after(answer.headers.get("Retry-After")))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _http(self) -> "httpx.AsyncClient":
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(
                timeout=self._settings.timeout_s, follow_redirects=False, trust_env=False, transport=self._transport,
                headers={**self._settings.headers, "Content-Type": "application/json",
                         "User-Agent": f"observe/{__version__}"},
            )
        return self._client

    def _retry_after(self, told: str | None) -> float | None:
        if told is None:
            return None
        if told.strip().isdigit():
            return float(told)
        try:
            return max(0.0, parsedate_to_datetime(told).timestamp() - self._clock.now_ms() / 1000)
        except ValueError:
            return None

    def _mask(self, text: str) -> str:
        for secret in (self._settings.url, *self._settings.headers.values()):
            if secret:
                text = text.replace(secret, "***" if secret != self._settings.url else self._shown)
        return text


def check_url(settings: WebhookSettings) -> None:
    """Raise `ConfigError` for what is not an http(s) URL."""
    parts = urlsplit(settings.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(Problem(
            f"receiver `{settings.name}`: the webhook URL is not one",
            why=f"{masked(settings.url)!r} has no http(s) host", fix="write it as https://host/path",
        ))


def masked(url: str) -> str:
    """The URL without what may be secret in it: user, path and query (chat robots carry their token there)."""
    parts = urlsplit(url)
    host = parts.hostname or "?"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}" + ("/***" if parts.path.strip("/") or parts.query else "")


def payload(notification: Notification, max_alerts: int = 0) -> dict[str, Any]:
    """The version 4 message. Firing alerts first, so that a cut takes resolved ones."""
    ordered = sorted(notification.alerts, key=lambda one: (one.state is not AlertState.FIRING, one.starts_at_ms))
    shown = ordered[:max_alerts] if max_alerts else ordered
    return {
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": notification.truncated + len(ordered) - len(shown),
        "status": notification.status,
        "receiver": notification.receiver,
        "groupLabels": dict(notification.group_labels),
        "commonLabels": _common([alert.labels for alert in ordered]),
        "commonAnnotations": _common([alert.annotations for alert in ordered]),
        "externalURL": notification.external_url,
        "notification_reason": notification.reason,
        "test": notification.test,
        "alerts": [_alert(alert) for alert in shown],
        **notification.extra,
    }


def _alert(alert: Alert) -> dict[str, Any]:
    annotations = dict(alert.annotations)
    resolved = alert.state is AlertState.RESOLVED
    if resolved:
        annotations["resolved_reason"] = str(alert.reason)
    return {
        "status": "resolved" if resolved else "firing",
        "labels": dict(alert.labels),
        "annotations": annotations,
        "startsAt": rfc3339(alert.starts_at_ms),
        "endsAt": rfc3339(alert.ends_at_ms) if resolved and alert.ends_at_ms is not None else NEVER,
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def _common(maps: list[Any]) -> dict[str, str]:
    if not maps:
        return {}
    first: Mapping[str, str] = maps[0]
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in maps[1:])}
