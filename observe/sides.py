"""Embedded or attached: the class behind each seam, chosen by the configuration alone."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from observe import loops, settings
from observe.alert.evidence import FindTraces
from observe.clock import Clock
from observe.config import Config
from observe.config_sections import PrometheusStore
from observe.notify.alertmanager import AlertmanagerCluster
from observe.notify.notifier import Notifier
from observe.promql.engine import Engine
from observe.protocols import QueryEngine, SampleSink, SampleSource
from observe.store.elastic import ElasticStore
from observe.store.logs import SignalIndex
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry

if TYPE_CHECKING:
    from observe.store.prometheus import PrometheusEngine

_QUERIES_AT_ONCE = 4


class MetricSide(Protocol):
    """Where samples go, where they come from, who answers PromQL, and what must run for it."""

    engine: QueryEngine
    source: SampleSource
    sink: SampleSink
    executor: ThreadPoolExecutor | None
    """Where rules ask; None: on the data thread itself."""
    stats: Callable[[], Mapping[str, Any]]

    async def run(self, stop: asyncio.Event) -> None: ...

    def close(self) -> None: ...


class EmbeddedMetrics:
    """The columnar store in this process."""

    executor: ThreadPoolExecutor | None = None

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry) -> None:
        self._clock, self._telemetry = clock, telemetry
        self._store = MetricStore(config.data / "metrics", settings.metric_settings(config), clock, telemetry)
        self.source: SampleSource = self._store
        self.sink: SampleSink = self._store
        self.engine: QueryEngine = Engine(self._store, settings.query_limits(config), clock)
        self.stats: Callable[[], Mapping[str, Any]] = self._store.stats

    async def run(self, stop: asyncio.Event) -> None:
        await loops.keep_metrics(self._store, self._clock, self._telemetry, stop)

    def close(self) -> None:
        self._store.close()


class AttachedMetrics:
    """A Prometheus-compatible server: asked over HTTP, written to by remote write."""

    def __init__(self, attached: PrometheusStore, folder: Path, clock: Clock, telemetry: Telemetry) -> None:
        # With an HTTP client, which an embedded server that pages nobody has no use for.
        from observe.store.prometheus import PrometheusEngine, PrometheusSettings
        from observe.store.remote_write import RemoteWriter, RemoteWriteSettings

        server = PrometheusEngine(PrometheusSettings(attached.url, attached.headers), clock, telemetry)
        write_url = attached.write_url or attached.url.rstrip("/") + "/api/v1/write"
        self._writer = RemoteWriter(RemoteWriteSettings(write_url, attached.headers), clock, telemetry, folder=folder)
        self._server = server
        self.source: SampleSource = server
        self.engine: QueryEngine = server
        self.sink: SampleSink = self._writer
        self.executor: ThreadPoolExecutor | None = ThreadPoolExecutor(_QUERIES_AT_ONCE, thread_name_prefix="rule")
        self.stats: Callable[[], Mapping[str, Any]] = dict

    async def run(self, stop: asyncio.Event) -> None:
        self._writer.start()
        try:
            await stop.wait()
        finally:
            await asyncio.to_thread(self._writer.stop)

    def close(self) -> None:
        assert self.executor is not None
        self.executor.shutdown(cancel_futures=True)
        self._server.close()


def open_metrics(config: Config, clock: Clock, telemetry: Telemetry) -> MetricSide:
    if config.attach.prometheus is None:
        return EmbeddedMetrics(config, clock, telemetry)
    return AttachedMetrics(config.attach.prometheus, config.data / "remote-write", clock, telemetry)


def open_past(config: Config, clock: Clock, telemetry: Telemetry) -> "PrometheusEngine | None":
    """Another server that knows what was before this install."""
    if config.history.url is None:
        return None
    from observe.store.prometheus import PrometheusEngine, PrometheusSettings

    return PrometheusEngine(PrometheusSettings(config.history.url, config.history.headers), clock, telemetry)


def open_signals(config: Config, clock: Clock, telemetry: Telemetry) -> SignalIndex | ElasticStore:
    if config.attach.elasticsearch is None:
        return SignalIndex(config.data / "signals", settings.signal_settings(config), clock, telemetry)
    elastic = settings.elastic_settings(config.attach.elasticsearch, config.storage)
    return ElasticStore(config.data / "elasticsearch", elastic, clock, telemetry)


def open_notifier(
    config: Config, clock: Clock, telemetry: Telemetry, find_traces: FindTraces,
) -> Notifier | AlertmanagerCluster:
    folder = config.data / "notify"
    if config.attach.alertmanager is None:
        return Notifier(settings.notify_settings(config), folder, clock, telemetry, find_traces=find_traces)
    cluster = settings.alertmanager_settings(config, config.attach.alertmanager)
    return AlertmanagerCluster(cluster, folder, clock, telemetry, find_traces=find_traces)
