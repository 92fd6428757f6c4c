"""One entry of `scrape_configs`, read: which targets, and how they are scraped."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from observe.collect.relabel import Relabel
from observe.collect.target import Credentials, Tls


@dataclass(frozen=True, slots=True)
class StaticGroup:
    """Addresses that share labels."""

    targets: tuple[str, ...]
    labels: Mapping[str, str]
    source: str = ""


@dataclass(frozen=True, slots=True)
class FileDiscovery:
    """Files (globs) that list static groups, looked at every few seconds, sooner than any `refresh_interval` asks."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScrapeJob:
    """One entry of `scrape_configs`."""

    name: str
    interval_ms: int
    timeout_ms: int
    metrics_path: str = "/metrics"
    scheme: str = "http"
    params: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    honor_labels: bool = False
    honor_timestamps: bool = True
    static: tuple[StaticGroup, ...] = ()
    files: tuple[FileDiscovery, ...] = ()
    relabel: tuple[Relabel, ...] = ()
    metric_relabel: tuple[Relabel, ...] = ()
    credentials: Credentials | None = None
    tls: Tls | None = None
    headers: tuple[tuple[str, str], ...] = ()
    openmetrics: bool = True
    follow_redirects: bool = True
    body_size_limit: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)
