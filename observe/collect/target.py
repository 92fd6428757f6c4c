"""What is scraped, and how: one `Target` is one page of metrics and the labels that its series get."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from observe.errors import LimitExceeded
from observe.model import METRIC_NAME, Labels

DEFAULT_INTERVAL_MS = 15_000
DEFAULT_TIMEOUT_MS = 10_000


class RelabelStep(Protocol):
    """One step of relabelling: new labels, or None to drop the series."""

    def __call__(self, labels: dict[str, str], /) -> dict[str, str] | None: ...


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak HTTPS to a target."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """An Authorization header: ``Bearer`` with a token, or ``Basic`` with user and password. Files are read anew."""

    scheme: str = "Bearer"
    secret: str = field(default="", repr=False)
    secret_file: Path | None = None
    user: str = ""
    user_file: Path | None = None

    @property
    def in_files(self) -> bool:
        """Whether files have to be read."""
        return self.secret_file is not None or self.user_file is not None


@dataclass(frozen=True, slots=True)
class Target:
    """One page of metrics. Limits of 0 are no limit (the body always has the scraper's own)."""

    job: str
    url: str
    """``http(s)://…`` with its query, or ``local:NAME`` where `read` makes the page."""
    labels: Labels
    """What every series of it gets: `job` and `instance` among them."""
    read: Callable[[], bytes] | None = field(default=None, compare=False)
    """Makes the page in this process: called on a thread of its own, never on the loop."""
    interval_ms: int = DEFAULT_INTERVAL_MS
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    honor_labels: bool = False
    """Labels on the page win over ours; else theirs become ``exported_…``."""
    honor_timestamps: bool = True
    body_size_limit: int = 0
    sample_limit: int = 0
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    metric_relabel: tuple[RelabelStep, ...] = ()
    credentials: Credentials | None = None
    tls: Tls | None = None
    headers: tuple[tuple[str, str], ...] = ()
    openmetrics: bool = True
    """Ask for OpenMetrics (exemplars) before the text format."""
    follow_redirects: bool = True
    wrong: str = ""
    """Why it cannot be scraped, where its labels say what nobody can do."""
    discovered: Labels = field(default=Labels(), compare=False)
    """What service discovery said, before relabelling."""

    @property
    def key(self) -> tuple[str, str, Labels]:
        """Identity over reloads: the same target keeps its connection and its cache."""
        return self.job, self.url, self.labels


def static_target(job: str, url: str, labels: dict[str, str] | None = None, *, interval_ms: int = DEFAULT_INTERVAL_MS,
                  timeout_ms: int = DEFAULT_TIMEOUT_MS) -> Target:
    """A target by its address: ``host:port``, or a whole URL.

    >>> static_target("demo", "127.0.0.1:9100").url
    'http://127.0.0.1:9100/metrics'
    """
    scheme, found, rest = url.partition("://")
    if not found:
        scheme, rest = "http", url
    address, slash, path = rest.partition("/")
    full = f"{scheme}://{address}/{path if slash else 'metrics'}"
    named = Labels({"job": job, "instance": address, **(labels or {})})
    return Target(job, full, named, interval_ms=interval_ms, timeout_ms=min(timeout_ms, interval_ms))


def local_target(job: str, instance: str, read: Callable[[], bytes], labels: dict[str, str] | None = None, *,
                 interval_ms: int = DEFAULT_INTERVAL_MS) -> Target:
    """A page that a callable of this process makes (an exporter inside), scraped like any other but without HTTP."""
    named = Labels({"job": job, "instance": instance, **(labels or {})})
    return Target(job, f"local:{job}/{instance}", named, read=read, interval_ms=interval_ms,
                  timeout_ms=min(DEFAULT_TIMEOUT_MS, interval_ms))


def series_name(target: Target, pairs: list[tuple[str, str]]) -> Labels | None:
    """The name a line's series is stored under; None where metric relabelling drops it. Raises `LimitExceeded`."""
    scraped = {name: value for name, value in pairs if value}
    if target.honor_labels:
        labels = {**dict(target.labels), **scraped}
        for name, value in pairs:
            if not value:
                labels.pop(name, None)  # an explicit empty label on the page wins too
    else:
        labels = scraped
        for name in target.labels:
            if name in scraped:
                moved = "exported_" + name
                while moved in scraped or moved in target.labels:
                    moved = "exported_" + moved
                labels[moved] = labels.pop(name)
        labels.update(target.labels)
    _check_limits(target, labels)
    for step in target.metric_relabel:
        changed = step(labels)
        if changed is None:
            return None
        labels = changed
    named = Labels(labels)
    return named if named.name else None


def _check_limits(target: Target, labels: dict[str, str]) -> None:
    if target.label_limit and len(labels) > target.label_limit:
        raise LimitExceeded(
            f"{labels.get(METRIC_NAME)} has {len(labels)} labels, {target.label_limit} are allowed", "label_limit")
    for name, value in labels.items():
        if target.label_name_length_limit and len(name) > target.label_name_length_limit:
            raise LimitExceeded(f"label name {name[:50]}… of {labels.get(METRIC_NAME)} is longer than "
                                f"{target.label_name_length_limit}", "label_name_length_limit")
        if target.label_value_length_limit and len(value) > target.label_value_length_limit:
            raise LimitExceeded(f"the value of label {name} of {labels.get(METRIC_NAME)} is longer than "
                                f"{target.label_value_length_limit}", "label_value_length_limit")
