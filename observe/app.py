"""The composition root: picks the classes behind the seams, starts every loop, stops them in order.

Threads: the event loop (sockets), one data thread (metric writes, rules, bands), query threads of the web side, the log
index's and the tail's own.
"""

import asyncio
import contextlib
import platform
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import yaml
from starlette.routing import BaseRoute

from observe import loops, memory, settings, sides
from observe._version import __version__
from observe.alert.evaluate import RuleEvaluator
from observe.alert.evidence import TraceFinding
from observe.alert.learning import Learner
from observe.alert.rule_files import run_as_they_are
from observe.alert.rules import RuleGroup
from observe.clock import Clock, SystemClock
from observe.collect.discovery import TargetBook
from observe.collect.otlp import OtlpSettings, otlp_routes
from observe.collect.remote_write import RemoteWriteSettings
from observe.collect.remote_write_api import remote_write_routes
from observe.collect.scrape import Scraper
from observe.collect.scrape_config import PrometheusConfig, read_prometheus_config
from observe.collect.target import Target, local_target, static_target
from observe.config import Config, check_exposure
from observe.detect import staged
from observe.durable import FolderLock
from observe.inside import FollowedLogs, RunningExporters
from observe.model import Alert, AlertState
from observe.notify.notifier import Notifier
from observe.preflight import load_rules
from observe.reloading import Reloading
from observe.show import boards
from observe.show.alertmanager_api import alertmanager_routes
from observe.show.context import BuildInfo, Change, ShowContext
from observe.show.flags import prometheus_flags
from observe.show.notify_api import notify_routes, passed_on_routes
from observe.show.web import build_web
from observe.telemetry import Telemetry
from observe.trace.evidence import traces_for

_CHANGES_KEPT = 1000
_NEED_A_RESTART = ("listen", "external_url", "data", "storage", "replica", "auth", "attach", "history", "query")
_EVIDENCE_WINDOW_MS = 120_000
"""How long before an alert fired its traces are looked for."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the live line of `observe up` says."""

    targets_up: int
    targets: int
    bands: int
    bands_ready: int
    learning: int
    """Rules whose bands still read their history."""
    firing: tuple[Alert, ...]


class App:
    """Everything that one `observe` process runs. Build it, `run` it, `close` it."""

    def __init__(self, config: Config, reload_config: Callable[[], Config], clock: Clock | None = None) -> None:
        """Opens the data folder. Raises ConfigError, RuleError or StorageError before anything runs."""
        check_exposure(config)
        self.config = config
        self._reload_config = reload_config
        self.clock = clock or SystemClock()
        self.telemetry = Telemetry()
        self.reload = Reloading(self._apply_again, self.clock, self.telemetry)
        self._opened = contextlib.ExitStack()
        try:
            self._open(config)
        except BaseException:
            self._opened.close()
            raise

    def _open(self, config: Config) -> None:
        folder = config.data
        self._changes = deque([Change(self.clock.now_ms(), f"observe {__version__} started")], _CHANGES_KEPT)
        self._opened.enter_context(FolderLock(folder))
        self._data = ThreadPoolExecutor(1, thread_name_prefix="data")
        self._opened.callback(self._data.shutdown)
        self.metrics = sides.open_metrics(config, self.clock, self.telemetry)
        self._opened.callback(self.metrics.close)
        self.signals = sides.open_signals(config, self.clock, self.telemetry)
        self._opened.callback(self.signals.close)
        self.notifier = sides.open_notifier(config, self.clock, self.telemetry, self._find_traces)
        self._opened.callback(self.notifier.close)
        prometheus = self._prometheus(config)
        self._external_labels = prometheus.external_labels if prometheus else {}
        self._in_texts = dict(self._external_labels)  # for rules; the data thread's after the start
        past = sides.open_past(config, self.clock, self.telemetry)
        if past is not None:
            self._opened.callback(past.close)
        learner = Learner(
            [*([past] if past is not None else []), self.metrics.engine], staged.create, self.clock,
            self.telemetry, settings.learn_settings(config),
        )
        self.evaluator = RuleEvaluator(
            self._rules(config, prometheus), self.metrics.engine, self.metrics.sink, self.notifier,
            staged.create, self.clock, self.telemetry, settings=settings.evaluator_settings(config, self._in_texts),
            folder=folder / "rules", ledger=self.notifier,
            executor=self.metrics.executor, learner=learner,
        )
        self._opened.callback(lambda: self.evaluator.close(self.clock.now_ms()))
        self.scraper = Scraper(
            settings.scrape_settings(config), self.metrics.sink, self._data, self.clock, self.telemetry,
        )
        self._exporters = RunningExporters()
        self._opened.callback(lambda: self._exporters.keep({}))
        self._follower = loops.TargetFollower(self.scraper, self._book(prometheus), self._targets(config))
        self._logs = FollowedLogs(self.signals, folder / "tail", self.clock, self.telemetry)
        self._logs.follow(settings.tail_settings(config))
        self.web = build_web(self._context(config), settings.auth_settings(config), loopback=config.is_loopback)

    def _prometheus(self, config: Config) -> PrometheusConfig | None:
        return read_prometheus_config(config.prometheus_config) if config.prometheus_config else None

    def _book(self, prometheus: PrometheusConfig | None) -> TargetBook:
        return TargetBook(prometheus.jobs if prometheus else (), self.telemetry)

    def _rules(self, config: Config, prometheus: PrometheusConfig | None) -> tuple[RuleGroup, ...]:
        check = self.metrics.engine.check
        _, groups = load_rules(config.rules, check, config.evaluation_interval)
        if prometheus is not None and prometheus.rule_files:
            groups += run_as_they_are(prometheus.rule_files, check, prometheus.evaluation_interval_ms)
        return groups

    def _targets(self, config: Config) -> list[Target]:
        """What observe.yml names, the exporters that run inside, and observe itself."""
        every_ms = config.scrape.interval
        targets = [
            static_target(
                target.job, target.url, dict(target.labels), interval_ms=every_ms, timeout_ms=config.scrape.timeout,
            )
            for target in config.scrape.targets
        ]
        host = platform.node() or "localhost"
        targets.extend(
            local_target(name, host, exporter.exposition, interval_ms=every_ms)
            for name, exporter in self._exporters.run(config.exporter_options).items()
        )
        targets.append(local_target("observe", host, self.telemetry.exposition, interval_ms=every_ms))
        return [
            replace(target, sample_limit=config.scrape.sample_limit, label_limit=config.scrape.label_limit,
                    body_size_limit=config.scrape.body_limit)
            for target in targets
        ]

    def _context(self, config: Config) -> ShowContext:
        return ShowContext(
            engine=self.metrics.engine, source=self.metrics.source, clock=self.clock, telemetry=self.telemetry,
            signals=self.signals, alerts=self.evaluator, desk=self.notifier,
            alertmanagers=settings.alertmanagers(config), targets=self.scraper.health,
            dropped_targets=lambda: self._follower.dropped,
            ready=self._ready, reload=self.reload, last_reload=lambda: self.reload.outcome,
            config_text=self._config_text, stats=self.metrics.stats,
            changes=self._changes_between, boards=boards.listed,
            flags=lambda: prometheus_flags(
                config.listen, config.prometheus_config, config.data, settings.metric_settings(config),
                settings.query_limits(config)),
            external_labels=lambda: self._external_labels,
            build=BuildInfo(version=__version__, started_ms=self.clock.now_ms()),
            settings=settings.show_settings(config),
            routers=self._routers(),
        )

    def _routers(self) -> list[BaseRoute]:
        """Routes of other stages. An Alertmanager cluster has its own API: ours then passes on to it."""
        routes: list[BaseRoute] = list(otlp_routes(self.signals, OtlpSettings(), self.telemetry, clock=self.clock))
        if isinstance(self.metrics, sides.EmbeddedMetrics):
            routes.extend(remote_write_routes(self.metrics.sink, RemoteWriteSettings(), self._data, self.telemetry))
        routes.extend(notify_routes(self.notifier, self.clock).routes)
        alertmanager = alertmanager_routes(self.notifier, self.clock) if isinstance(self.notifier, Notifier) \
            else passed_on_routes(self.notifier.api)
        routes.extend(alertmanager.routes)
        return routes

    # ------------------------------------------------------------ running

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises what a loop raises: a loop that ends by itself is a bug."""
        running = [
            loops.serve(self.web, self.config.address, stop), self.scraper.run(stop), self._follower.run(stop),
            self.notifier.run(stop),
            loops.evaluate(self.evaluator, self._data, self.clock, self.telemetry, stop),
            self.metrics.run(stop),
        ]
        memory.tune()
        self._logs.start()
        try:
            async with asyncio.TaskGroup() as group:
                for one in running:
                    group.create_task(one)
        finally:
            await asyncio.to_thread(self._logs.stop)

    def close(self) -> None:
        """Give everything back, last opened first."""
        self._opened.close()

    @property
    def url(self) -> str:
        return settings.external_url(self.config)

    def status(self, rule: str = "") -> Status:
        """How things stand; `rule` limits the bands to those of the rules of this name."""
        health = self.scraper.health()
        rules = [one for one in self.evaluator.rules() if one.band is not None and rule in {"", one.name}]
        firing = tuple(alert for alert in self.evaluator.active() if alert.state is AlertState.FIRING)
        return Status(
            targets_up=sum(1 for target in health if target.up), targets=len(health),
            bands=sum(one.series_total for one in rules), bands_ready=sum(one.series_ready for one in rules),
            learning=sum(one.start is not None and one.start.state == "learning" for one in rules), firing=firing,
        )

    def _ready(self) -> tuple[bool, str]:
        return True, "ready"

    # ------------------------------------------------------------ reload

    def _apply_again(self) -> str:
        """Validate the configuration and apply what can change while we run. Raises and keeps the old one on error."""
        config = self._reload_config()
        check_exposure(config)
        prometheus = self._prometheus(config)
        groups = self._rules(config, prometheus)
        fixed = [name for name in _NEED_A_RESTART if getattr(config, name) != getattr(self.config, name)]
        if isinstance(self.notifier, Notifier) and config.notify != self.config.notify:
            self.notifier.reconfigure(settings.notify_settings(config))
        self._data.submit(self._load, groups, prometheus.external_labels if prometheus else {}).result()
        self._follower.switch(self._book(prometheus), self._targets(config))
        self._exporters.keep(config.exporter_options)
        self._logs.follow(settings.tail_settings(config))
        self.config = config
        self._changes.append(Change(self.clock.now_ms(), "configuration reloaded"))
        rules = sum(len(group.rules) for group in groups)
        told = f"{rules} rules, {len(config.scrape.targets)} targets, {len(config.notify.receiver_names)} receivers"
        return f"{told}; a restart is needed for: {', '.join(fixed)}" if fixed else told

    def _load(self, groups: tuple[RuleGroup, ...], external_labels: Mapping[str, str]) -> None:
        self.evaluator.load(groups, self.clock.now_ms())
        self._external_labels = external_labels
        self._in_texts.clear()
        self._in_texts.update(external_labels)

    def _changes_between(self, start_ms: int, end_ms: int) -> list[Change]:
        return [change for change in list(self._changes) if start_ms <= change.at_ms <= end_ms]

    def _find_traces(self, alert: Alert, now_ms: int) -> TraceFinding:
        service = alert.labels.get("service") or alert.labels.get("job")
        found = traces_for(
            service, alert.labels.get("endpoint"), alert.starts_at_ms - _EVIDENCE_WINDOW_MS, now_ms, self.signals,
        )
        return TraceFinding(tuple(trace.trace_id for trace in found.traces), found.reason)

    def _config_text(self) -> str:
        return settings.masked(yaml.safe_dump(settings.shown(self.config), sort_keys=False))
