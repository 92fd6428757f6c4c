"""What the web side is given: the seams it reads from, and its own settings. `observe.app` fills it in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import BaseRoute

from observe.clock import Clock
from observe.model import Labels
from observe.protocols import AlertBook, PageDesk, QueryEngine, SampleSource, SignalStore, TargetHealth
from observe.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """Which program answers. `prometheus` is the version that Grafana takes us for."""

    version: str = "0"
    prometheus: str = "3.5.0"
    revision: str = ""
    started_ms: int = 0


@dataclass(frozen=True, slots=True)
class ShowSettings:
    """Bounds and names of the web side."""

    external_url: str = "http://127.0.0.1:9090"
    """Where people reach us; links in pages start with it. No trailing slash."""
    query_threads: int = 3
    query_queue: int = 256
    """Requests that may wait for a thread; one more is answered 503."""
    query_timeout_s: float = 120.0
    max_points: int = 11_000
    """Points a series in one range query, as in Prometheus."""
    max_form_bytes: int = 1_000_000
    lookback_ms: int = 300_000
    console: bool = True
    """False: APIs alone (`observe serve-metrics`)."""
    live_every_s: int = 10
    """How often an open page asks for news while its live switch is on."""
    watch_note: str = ""
    """One more fact for the home page's sentence, such as "the demo is warming up"."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed at a time: a deployment, a reload, a fault switched on."""

    at_ms: int
    what: str
    service: str = ""


@dataclass(frozen=True, slots=True)
class BoardFile:
    """One generated Grafana board, for the list of boards."""

    title: str
    uid: str
    description: str
    panels: int
    path: str
    tags: tuple[str, ...] = ()


def _always_ready() -> tuple[bool, str]:
    return True, "ready"


def _nothing_to_reload() -> str:
    return "nothing to reload"


@dataclass(frozen=True, slots=True)
class ShowContext:
    """Everything that a request may need. Callables are safe from any thread and may block: query threads call."""

    engine: QueryEngine
    source: SampleSource
    clock: Clock
    telemetry: Telemetry
    signals: SignalStore | None = None
    alerts: AlertBook | None = None
    desk: PageDesk | None = None
    alertmanagers: Sequence[str] = ()
    """Addresses of an attached cluster, without what may be secret in them; empty: alerts go out from here."""
    targets: Callable[[], list[TargetHealth]] = list
    dropped_targets: Callable[[], Sequence[tuple[str, Labels]]] = tuple
    """Job and discovered labels of what relabelling dropped."""
    ready: Callable[[], tuple[bool, str]] = _always_ready
    """(is ready, what is waited for)."""
    reload: Callable[[], str] = _nothing_to_reload
    """Validate and apply the configuration; returns what changed, raises `InvalidInput` and keeps the old one."""
    last_reload: Callable[[], tuple[bool, int]] | None = None
    """Whether the last reload was taken, and since when (ms) the configuration in force is; None: there was none."""
    config_text: Callable[[], str] = str
    """The effective configuration as YAML, secrets masked."""
    flags: Callable[[], Mapping[str, str]] = dict
    external_labels: Callable[[], Mapping[str, str]] = dict
    """`global.external_labels` of the prometheus.yml that is run: what federated series say of where they are from."""
    changes: Callable[[int, int], list[Change]] | None = None
    boards: Callable[[], list[BoardFile]] | None = None
    """None: the boards that are shipped."""
    stats: Callable[[], Mapping[str, Any]] = dict
    """Numbers of the store: ``series``, ``samples``, ``chunks``, ``min_time_ms``, ``max_time_ms``."""
    build: BuildInfo = field(default_factory=BuildInfo)
    settings: ShowSettings = field(default_factory=ShowSettings)
    routers: Sequence[BaseRoute] = ()
    """Routes of other stages on the same listener: OTLP, remote write, Alertmanager's API."""
