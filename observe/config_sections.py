"""The sections of observe.yml, each with its defaults; `notify:` is in `notify_config`."""

from pathlib import Path

from pydantic import Field, model_validator

from observe.config_parts import Duration, Section, Size, Url


class Target(Section):
    """One page to scrape."""

    job: str = Field(min_length=1)
    url: Url
    labels: dict[str, str] = Field(default_factory=dict)


class Scrape(Section):
    """What to scrape, how often, and how much of it at most."""

    interval: Duration = 15_000
    timeout: Duration = 10_000
    targets: tuple[Target, ...] = ()
    sample_limit: int = Field(default=50_000, gt=0)
    label_limit: int = Field(default=64, gt=0)
    body_limit: Size = 50_000_000

    @model_validator(mode="after")
    def _timeout_fits(self) -> "Scrape":
        if self.timeout > self.interval:
            # A shorter interval with the default timeout is no mistake of the writer.
            return self.model_copy(update={"timeout": self.interval})
        return self


class LogFile(Section):
    """Log files to follow: one JSON object a line, or plain text."""

    path: str = Field(min_length=1)
    service: str = ""


class Query(Section):
    """What one query may cost, and how many are answered at once."""

    lookback: Duration = 300_000
    """How far back a selector looks for the newest sample."""
    timeout: Duration = 120_000
    max_samples: int = Field(default=50_000_000, gt=0)
    """Samples that one query may read and points that it may make, together."""
    max_series: int = Field(default=200_000, gt=0)
    """Series that one selector may give."""
    max_steps: int = Field(default=11_000, gt=0)
    """Points of a range query."""
    default_step: Duration = 60_000
    """Step of a subquery that names none."""
    threads: int = Field(default=3, gt=0, le=64)
    queue: int = Field(default=256, gt=0)
    """Requests that may wait for a thread."""


class Logs(Section):
    files: tuple[LogFile, ...] = ()
    max_line: Size = 1_000_000


class Storage(Section):
    """How long and how much. Whichever bound is reached first counts."""

    metrics_retention: Duration = 15 * 86_400_000
    metrics_size: Size = 10_000_000_000
    logs_retention: Duration = 7 * 86_400_000
    logs_size: Size = 5_000_000_000
    spans_retention: Duration = 3 * 86_400_000
    spans_size: Size = 5_000_000_000
    series_limit: int = Field(default=2_000_000, gt=0)
    owner_limit: int = Field(default=200_000, gt=0)
    """Series of one target or rule."""
    late_window: Duration = 10 * 60_000
    """How far behind the newest sample of its series a sample may come."""
    metrics_cache: Size = 32_000_000
    """How much of the hours that are in blocks stays in memory, too."""
    samples_at_once: int = Field(default=50_000_000, gt=0)
    """Samples that one selector of a question may read."""


class Jwt(Section):
    """Bearer tokens issued by somebody else."""

    key_file: Path
    algorithms: tuple[str, ...] = ("RS256",)
    audience: str | None = None
    issuer: str | None = None
    role_claim: str = "role"


class Auth(Section):
    """Who may do what. Secrets stay in files or the environment."""

    token_file: Path | None = None
    """Bearer tokens, one a line: ``role name secret``, where ``$NAME`` is taken from the environment."""
    jwt: Jwt | None = None

    @property
    def configured(self) -> bool:
        return self.token_file is not None or self.jwt is not None


class PrometheusStore(Section):
    """A Prometheus-compatible store that rules are evaluated on."""

    url: Url
    write_url: Url | None = None
    """Where bands are written by remote write; default: `url` + /api/v1/write."""
    query_offset: Duration | None = None
    headers: dict[str, str] = Field(default_factory=dict)


class Alertmanagers(Section):
    """Every member of one Alertmanager cluster."""

    urls: tuple[Url, ...] = Field(min_length=1)
    headers: dict[str, str] = Field(default_factory=dict)


class Elasticsearch(Section):
    urls: tuple[Url, ...] = Field(min_length=1)
    index_prefix: str = Field(default="observe", pattern="^[a-z][a-z0-9_]*(-[a-z0-9_]+)*$")
    replicas: int = Field(default=1, ge=0)
    api_key_file: Path | None = None
    ca_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None


class History(Section):
    """What bands learn when they start."""

    url: Url | None = None
    """A Prometheus-compatible server that knows the past before this install, beside the store that rules ask."""
    headers: dict[str, str] = Field(default_factory=dict)
    reach: Duration = 14 * 86_400_000


class Attach(Section):
    prometheus: PrometheusStore | None = None
    alertmanager: Alertmanagers | None = None
    elasticsearch: Elasticsearch | None = None
