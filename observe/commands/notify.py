"""Prove that pages arrive: `observe notify test`."""

import argparse
import asyncio
import json
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from observe.client import Client, add_server_arguments, web_address
from observe.errors import UsageError

if TYPE_CHECKING:
    from observe.notify.peers import AlertmanagerSettings

SUMMARY = "send a page that says it is a test, and show what the receivers answered"
EXAMPLE = "observe notify test --webhook http://127.0.0.1:8080/hook"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("test",))
    parser.add_argument("--receiver", metavar="NAME", help="to this receiver only (default: to all)")
    parser.add_argument("--webhook", action="append", default=[], metavar="URL",
                        help="send to this URL directly, without a running server (repeatable)")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="send to the receivers of this observe.yml directly, without a running server")
    add_server_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON alone")


def run(args: argparse.Namespace) -> int:
    told = _directly(args) if args.webhook or args.config else _through_server(args)
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        for one in told:
            print(f"{one['receiver']}: {'delivered' if one['ok'] else 'FAILED'} ({one['detail']})")
        if not told:
            print("no receiver is configured: nobody would be paged; add one under `notify: webhooks:`")
    return 0 if told and all(one["ok"] for one in told) else 1


def _through_server(args: argparse.Namespace) -> list[dict[str, object]]:
    query = "?" + urllib.parse.urlencode({"receiver": args.receiver}) if args.receiver else ""
    answer: dict[str, list[dict[str, object]]] = Client.of(args).ask("POST", "/api/notify/test" + query)
    return answer["deliveries"]


def _directly(args: argparse.Namespace) -> list[dict[str, object]]:
    from observe.clock import SystemClock
    from observe.notify.receivers.webhook import Webhook
    from observe.notify.settings import WebhookSettings
    from observe.notify.testpage import page

    for url in args.webhook:
        web_address(url, "--webhook")
    settings = [WebhookSettings(f"webhook{number}", url) for number, url in enumerate(args.webhook, 1)]
    external = ""
    if args.config is not None:
        from observe.config import load
        from observe.settings import alertmanager_settings, notify_settings

        config = load(args.config)
        if config.attach.alertmanager is not None:
            return _through_cluster(alertmanager_settings(config, config.attach.alertmanager), args.receiver)
        configured = notify_settings(config)
        external = configured.external_url
        settings += configured.receivers
    chosen = [one for one in settings if args.receiver in {None, one.name}]
    if args.receiver and not chosen:
        there = ", ".join(one.name for one in settings) or "none"
        raise UsageError(f"no receiver {args.receiver!r}; there are: {there}")
    clock = SystemClock()

    async def send() -> list[dict[str, object]]:
        told: list[dict[str, object]] = []
        for one in chosen:
            webhook = Webhook(one, clock)
            receipt = await webhook.deliver(page(one.name, external, clock.now_ms()))
            await webhook.close()
            told.append({"receiver": one.name, "ok": receipt.ok, "detail": receipt.detail})
        return told

    return asyncio.run(send())


def _through_cluster(settings: "AlertmanagerSettings", receiver: str | None) -> list[dict[str, object]]:
    """To every member of the Alertmanager cluster that the configuration attaches."""
    import httpx

    from observe.clock import SystemClock
    from observe.notify.cluster_api import ClusterApi
    from observe.notify.peers import Peer
    from observe.notify.testpage import to_cluster

    clock = SystemClock()
    api = ClusterApi(settings, clock)

    async def send() -> list[dict[str, object]]:
        headers = {**settings.headers, "Content-Type": "application/json"}
        async with httpx.AsyncClient(timeout=settings.timeout_s, trust_env=False, headers=headers) as client:
            done = await to_cluster([Peer(url, settings) for url in settings.urls], api, client, settings.external_url,
                                    clock.now_ms(), receiver)
        return [{"receiver": one.receiver, "ok": one.ok, "detail": one.detail} for one in done]

    try:
        return asyncio.run(send())
    finally:
        api.close()
