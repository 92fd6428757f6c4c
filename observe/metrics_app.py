"""Scraping, rules, store and the Prometheus APIs alone: what `observe serve-metrics` runs. No logs, console or demo."""

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from observe import loops, memory
from observe._version import __version__
from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.learning import Learner
from observe.alert.rule_files import run_as_they_are
from observe.alert.rules import RuleGroup
from observe.alert.running import Surroundings
from observe.clock import Clock, SystemClock
from observe.collect.discovery import TargetBook
from observe.collect.remote_write import RemoteWriteSettings
from observe.collect.remote_write_api import remote_write_routes
from observe.collect.scrape import Scraper, ScrapeSettings
from observe.collect.scrape_config import PrometheusConfig, read_prometheus_config
from observe.detect import staged
from observe.durable import FolderLock
from observe.errors import Problem
from observe.notify.notifier import Notifier
from observe.notify.settings import NotifySettings
from observe.promql.engine import Engine
from observe.promql.evaluate import QueryLimits
from observe.reloading import Reloading
from observe.show.context import BuildInfo, ShowContext, ShowSettings
from observe.show.flags import prometheus_flags
from observe.show.metrics_web import build_metrics_web
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """The command line of `observe serve-metrics`."""

    host: str
    port: int
    data: Path
    kept: MetricSettings = field(default_factory=MetricSettings)
    prometheus_config: Path | None = None
    query: QueryLimits = field(default_factory=QueryLimits)


class MetricsApp:
    """One metrics server. Build it, `run` it, `close` it."""

    def __init__(self, options: MetricsOptions, clock: Clock | None = None) -> None:
        """Raises ConfigError, RuleError or StorageError before anything runs."""
        self.options = options
        self.clock = clock or SystemClock()
        self.telemetry = Telemetry()
        self.reload = Reloading(self._apply_again, self.clock, self.telemetry)
        self._opened = contextlib.ExitStack()
        try:
            self._open(options)
        except BaseException:
            self._opened.close()
            raise

    def _open(self, options: MetricsOptions) -> None:
        url = f"http://{options.host}:{options.port}"
        prometheus = self._read_config()
        self._external_labels = prometheus.external_labels if prometheus else {}
        self._config_text = prometheus.text if prometheus else ""
        self._in_texts = dict(self._external_labels)  # for rules; the data thread's after the start
        self.unsupported: tuple[Problem, ...] = prometheus.unsupported if prometheus else ()
        self._opened.enter_context(FolderLock(options.data))
        self._data = ThreadPoolExecutor(1, thread_name_prefix="data")
        self._opened.callback(self._data.shutdown)
        self.metrics = MetricStore(options.data / "metrics", options.kept, self.clock, self.telemetry)
        self._opened.callback(self.metrics.close)
        self.engine = Engine(self.metrics, options.query, self.clock)
        self.notifier = Notifier(NotifySettings(), options.data / "notify", self.clock, self.telemetry)
        self._opened.callback(self.notifier.close)
        self.evaluator = RuleEvaluator(
            self._rules(prometheus), self.engine, self.metrics, self.notifier, staged.create, self.clock,
            self.telemetry, settings=EvaluatorSettings(around=Surroundings(url, self._in_texts, alert_path="")),
            folder=options.data / "rules", ledger=self.notifier,
            learner=Learner([self.engine], staged.create, self.clock, self.telemetry),
        )
        self._opened.callback(lambda: self.evaluator.close(self.clock.now_ms()))
        self.scraper = Scraper(ScrapeSettings(), self.metrics, self._data, self.clock, self.telemetry)
        self._follower = loops.TargetFollower(self.scraper, self._book(prometheus), ())
        context = ShowContext(
            engine=self.engine, source=self.metrics, clock=self.clock, telemetry=self.telemetry,
            alerts=self.evaluator, desk=self.notifier, targets=self.scraper.health,
            dropped_targets=lambda: self._follower.dropped, stats=self.metrics.stats,
            reload=self.reload, last_reload=lambda: self.reload.outcome, config_text=lambda: self._config_text,
            build=BuildInfo(version=__version__, started_ms=self.clock.now_ms()),
            settings=ShowSettings(
                external_url=url, console=False, query_timeout_s=options.query.timeout_s,
                max_points=options.query.max_steps, lookback_ms=options.query.lookback_ms,
            ),
            flags=lambda: prometheus_flags(
                url.removeprefix("http://"), options.prometheus_config, options.data, options.kept, options.query),
            external_labels=lambda: self._external_labels,
            routers=remote_write_routes(self.metrics, RemoteWriteSettings(), self._data, self.telemetry),
        )
        self.web = build_metrics_web(context)

    def _read_config(self) -> PrometheusConfig | None:
        path = self.options.prometheus_config
        return read_prometheus_config(path) if path is not None else None

    def _rules(self, prometheus: PrometheusConfig | None) -> tuple[RuleGroup, ...]:
        if prometheus is None or not prometheus.rule_files:
            return ()
        return run_as_they_are(prometheus.rule_files, self.engine.check, prometheus.evaluation_interval_ms)

    def _book(self, prometheus: PrometheusConfig | None) -> TargetBook:
        return TargetBook(prometheus.jobs if prometheus else (), self.telemetry)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        memory.tune()
        async with asyncio.TaskGroup() as group:
            for one in (
                loops.serve(self.web, (self.options.host, self.options.port), stop), self.scraper.run(stop),
                self._follower.run(stop), self.notifier.run(stop),
                loops.evaluate(self.evaluator, self._data, self.clock, self.telemetry, stop),
                loops.keep_metrics(self.metrics, self.clock, self.telemetry, stop),
            ):
                group.create_task(one)

    def _apply_again(self) -> str:
        """Read the configuration again; on error the old one stays."""
        prometheus = self._read_config()
        groups = self._rules(prometheus)
        self._data.submit(self._load, groups, prometheus.external_labels if prometheus else {}).result()
        self._follower.switch(self._book(prometheus), ())
        self._config_text = prometheus.text if prometheus else ""
        return f"{sum(len(group.rules) for group in groups)} rules"

    def _load(self, groups: tuple[RuleGroup, ...], external_labels: Mapping[str, str]) -> None:
        self.evaluator.load(groups, self.clock.now_ms())
        self._external_labels = external_labels
        self._in_texts.clear()
        self._in_texts.update(external_labels)

    def close(self) -> None:
        self._opened.close()
