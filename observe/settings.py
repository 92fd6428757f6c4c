"""The effective `Config` as each stage wants it: one function a stage, nothing else."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from observe.alert.evaluate import EvaluatorSettings
from observe.alert.learning import LearnSettings
from observe.alert.running import Surroundings
from observe.collect.scrape import ScrapeSettings
from observe.collect.tail_settings import TailSettings
from observe.config import Config
from observe.config_sections import Alertmanagers, Elasticsearch, Storage
from observe.errors import ConfigError
from observe.model import Matcher
from observe.notify.matcher_text import parse_matchers
from observe.notify.peers import AlertmanagerSettings
from observe.notify.receivers.webhook import masked as masked_url
from observe.notify.settings import Inhibition, NotifySettings, Route, WebhookSettings
from observe.notify_config import RootRoute, RouteSection, WebhookConfig, webhook_name
from observe.promql.evaluate import QueryLimits
from observe.show.auth import AuthSettings, JwtSettings, load_tokens
from observe.show.context import ShowSettings
from observe.store.elastic_link import QUEUE, ElasticSettings
from observe.store.logs import SignalSettings
from observe.store.metric_settings import MetricSettings
from observe.store.spool_settings import SpoolSettings


def external_url(config: Config) -> str:
    """Where people reach us: as configured, else the address that we listen on."""
    host, port = config.address
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    return (config.external_url or f"http://{shown}:{port}").rstrip("/")


def metric_settings(config: Config, *, accept_old: bool = False) -> MetricSettings:
    storage = config.storage
    return MetricSettings(
        retention_ms=storage.metrics_retention, retention_bytes=storage.metrics_size,
        series_limit=storage.series_limit, owner_limit=storage.owner_limit, late_window_ms=storage.late_window,
        cache_bytes=storage.metrics_cache, samples_at_once=storage.samples_at_once, accept_old=accept_old,
    )


def query_limits(config: Config) -> QueryLimits:
    query = config.query
    return QueryLimits(
        lookback_ms=query.lookback, timeout_s=query.timeout / 1000, max_samples=query.max_samples,
        max_series=query.max_series, max_steps=query.max_steps, default_step_ms=query.default_step,
    )


def evaluator_settings(config: Config, external_labels: Mapping[str, str] = MappingProxyType({})) -> EvaluatorSettings:
    """`external_labels` of a prometheus.yml are what texts of alerts say by `$externalLabels`."""
    attached = config.attach.prometheus
    offset = 0
    if attached is not None:
        offset = attached.query_offset if attached.query_offset is not None else config.scrape.interval
    return EvaluatorSettings(
        query_offset_ms=offset, replica=config.replica,
        around=Surroundings(external_url(config), external_labels),
    )


def learn_settings(config: Config) -> LearnSettings:
    return LearnSettings(reach_ms=config.history.reach)


def signal_settings(config: Config) -> SignalSettings:
    storage = config.storage
    return SignalSettings(
        logs=SpoolSettings(max_bytes=storage.logs_size, max_age_ms=storage.logs_retention),
        spans=SpoolSettings(max_bytes=storage.spans_size, max_age_ms=storage.spans_retention),
    )


def elastic_settings(elastic: Elasticsearch, storage: Storage) -> ElasticSettings:
    """Raises ConfigError when a secret cannot be read."""
    return ElasticSettings(
        urls=elastic.urls, api_key=_secret(elastic.api_key_file) if elastic.api_key_file else "",
        username=elastic.username or "", password=_secret(elastic.password_file) if elastic.password_file else "",
        ca_file=elastic.ca_file, prefix=elastic.index_prefix, replicas=elastic.replicas,
        logs_days=max(1, math.ceil(storage.logs_retention / 86_400_000)),
        spans_days=max(1, math.ceil(storage.spans_retention / 86_400_000)),
        logs_queue=replace(QUEUE, max_bytes=storage.logs_size),
        spans_queue=replace(QUEUE, max_bytes=storage.spans_size),
    )


def scrape_settings(config: Config) -> ScrapeSettings:
    return ScrapeSettings(body_size_limit=config.scrape.body_limit)


def tail_settings(config: Config) -> list[TailSettings]:
    """One follower for each entry of `logs.files`."""
    return [
        TailSettings((file.path,), file.service, max_line_bytes=config.logs.max_line) for file in config.logs.files
    ]


def auth_settings(config: Config) -> AuthSettings:
    """Raises ConfigError when a secret cannot be read."""
    jwt = config.auth.jwt
    return AuthSettings(
        tokens=load_tokens(config.auth.token_file) if config.auth.token_file else (),
        jwt=None if jwt is None else JwtSettings(
            _secret(jwt.key_file), jwt.algorithms, jwt.issuer, jwt.audience, jwt.role_claim,
        ),
        secure_cookies=external_url(config).startswith("https:"),
    )


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error


def notify_settings(config: Config) -> NotifySettings:
    notify = config.notify
    hooks: list[WebhookSettings] = []
    named: dict[str, tuple[str, ...]] = {}
    for place, webhook in enumerate(notify.webhooks):
        hooks.append(_webhook(webhook_name(webhook.name, place), webhook))
        named[hooks[-1].name] = (hooks[-1].name,)
    for receiver in notify.receivers:
        # A receiver with several addresses is several of ours, that routes name together.
        each = [_webhook(receiver.name if not place else f"{receiver.name}/{place + 1}", webhook)
                for place, webhook in enumerate(receiver.webhook_configs)]
        hooks.extend(each)
        named[receiver.name] = tuple(one.name for one in each)
    dead_man = named[notify.dead_man][0] if notify.dead_man else None
    settings = NotifySettings(
        receivers=tuple(hooks), route=_route(notify.route, named),
        group_by=notify.group_by, group_wait_ms=notify.group_wait, group_interval_ms=notify.group_interval,
        repeat_interval_ms=notify.repeat_interval, resolve_timeout_ms=notify.resolve_timeout,
        external_url=external_url(config), dead_man_receiver=dead_man,
        max_groups=notify.max_groups, max_alerts=notify.max_alerts,
    )
    if notify.inhibit_rules is None:
        return settings
    return replace(settings, inhibitions=tuple(
        Inhibition(_matchers(one.source_matchers), _matchers(one.target_matchers), one.equal)
        for one in notify.inhibit_rules))


def alertmanager_settings(config: Config, attached: Alertmanagers) -> AlertmanagerSettings:
    return AlertmanagerSettings(attached.urls, attached.headers, external_url(config))


def alertmanagers(config: Config) -> tuple[str, ...]:
    """The attached cluster's members as they may be shown."""
    attached = config.attach.alertmanager
    return tuple(masked_url(url) for url in attached.urls) if attached is not None else ()


def _webhook(name: str, given: WebhookConfig) -> WebhookSettings:
    return WebhookSettings(name, given.url, given.headers, timeout_s=given.timeout / 1000,
                           send_resolved=given.send_resolved, max_alerts=given.max_alerts)


def _route(given: RootRoute | RouteSection, named: Mapping[str, tuple[str, ...]]) -> Route:
    return Route(
        None if given.receiver is None else named[given.receiver],
        _matchers(given.matchers) if isinstance(given, RouteSection) else (), given.group_by,
        given.group_wait, given.group_interval, given.repeat_interval,
        continue_=isinstance(given, RouteSection) and given.continue_,
        routes=tuple(_route(one, named) for one in given.routes),
    )


def _matchers(texts: tuple[str, ...]) -> tuple[Matcher, ...]:
    return tuple(matcher for text in texts for matcher in parse_matchers(text))


def show_settings(config: Config, *, console: bool = True) -> ShowSettings:
    query = config.query
    return ShowSettings(
        external_url=external_url(config), console=console, query_threads=query.threads, query_queue=query.queue,
        query_timeout_s=query.timeout / 1000, max_points=query.max_steps, lookback_ms=query.lookback,
    )


def shown(config: Config) -> Any:
    """The effective configuration as plain data, without its secrets: headers, and what a webhook's address carries."""

    def hide(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key == "headers":
                return dict.fromkeys(value, "***")
            return {name: hide(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            if key in {"webhooks", "webhook_configs"}:
                return [{**hide(hook), "url": masked_url(hook["url"])} for hook in value]
            return [hide(inner) for inner in value]
        return value

    return hide(config.model_dump(mode="json"))


def masked(text: str) -> str:
    """`text` without the secrets that an address may carry."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
