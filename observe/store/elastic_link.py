"""The connection to an Elasticsearch cluster: settings, the official client, and its errors as ours."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from observe.errors import StorageError, Unavailable
from observe.store.spool_settings import SpoolSettings

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


QUEUE: Final = SpoolSettings(when_full="refuse", max_age_ms=0)


@dataclass(frozen=True, slots=True)
class ElasticSettings:
    """Where the cluster is, who we are there, and how our indices are kept."""

    urls: tuple[str, ...] = ("http://127.0.0.1:9200",)
    api_key: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    verify_certs: bool = True
    prefix: str = "observe"
    """Of index names: PREFIX-logs-2026.11.21, PREFIX-spans-2026.11.21."""
    shards: int = 1
    replicas: int = 1
    logs_days: int = 7
    spans_days: int = 7
    """How long days are kept."""
    bulk_bytes: int = 4 << 20
    bulk_documents: int = 2000
    compress: bool = False
    """Gzip what is sent: for a network, at the price of CPU."""
    timeout_s: float = 30.0
    flush_every_s: float = 0.5
    """How long a line may wait for others before it is sent."""
    longest_pause_s: float = 30.0
    """Between two attempts while the cluster is down."""
    logs_queue: SpoolSettings = QUEUE
    spans_queue: SpoolSettings = QUEUE
    """The disk queues while the cluster is down: full, they refuse."""
    rejected_bytes: int = 64 << 20
    """Of documents that the cluster will never take, kept beside the spool with the reasons."""


    def queue(self, kind: str) -> SpoolSettings:
        return self.spans_queue if kind == "spans" else self.logs_queue

    def days(self, kind: str) -> int:
        return self.spans_days if kind == "spans" else self.logs_days


def connect(settings: ElasticSettings) -> "Elasticsearch":
    """A client. Nothing is sent yet. Retries are ours, so that each attempt is counted and paced."""
    from elasticsearch import Elasticsearch

    options: dict[str, Any] = {
        "request_timeout": settings.timeout_s, "max_retries": 0, "retry_on_timeout": False,
        "http_compress": settings.compress,
    }
    if settings.api_key:
        options["api_key"] = settings.api_key
    elif settings.username:
        options["basic_auth"] = (settings.username, settings.password)
    if any(url.startswith("https:") for url in settings.urls):
        options["verify_certs"] = settings.verify_certs
        options["ssl_show_warn"] = False
        if settings.ca_file is not None:
            if not settings.ca_file.is_file():
                raise StorageError(
                    f"cannot read the certificate authority {settings.ca_file} of Elasticsearch; correct `ca_file`")
            options["ca_certs"] = str(settings.ca_file)
    return Elasticsearch(list(settings.urls), **options)


@contextlib.contextmanager
def translated(settings: ElasticSettings) -> Iterator[None]:
    """The client's errors as ours, each with what to do."""
    from elastic_transport import SerializationError, TlsError, TransportError
    from elasticsearch import ApiError, UnsupportedProductError

    where = settings.urls[0] if len(settings.urls) == 1 else f"{settings.urls[0]} and {len(settings.urls) - 1} more"
    try:
        yield
    except ApiError as error:
        code = error.status_code
        said = _first_reason(error)
        if code == 401:
            raise Unavailable(f"Elasticsearch at {where} does not accept our credentials: {said}; correct the API key "
                              "or user in observe.yml", retryable=False, reason="credentials") from error
        if code == 403:
            raise Unavailable(f"Elasticsearch at {where} forbids this: {said}; the role needs create_index, write, "
                              f"read and manage on {settings.prefix}-*, and manage_index_templates", retryable=False,
                              reason="forbidden") from error
        if is_other_version(error):
            raise Unavailable(f"Elasticsearch at {where} is of a version that we do not speak: {said}; 8 and 9 are "
                              "what works", retryable=False, reason="version") from error
        again = code in {408, 429} or code >= 500
        raise Unavailable(f"Elasticsearch at {where} answered {code}: {said}", retryable=again,
                          reason=f"status {code}") from error
    except UnsupportedProductError as error:
        raise Unavailable(f"what answers at {where} is not Elasticsearch: {error}; correct `urls`", retryable=False,
                          reason="not elasticsearch") from error
    except TlsError as error:
        raise Unavailable(f"no TLS with Elasticsearch at {where}: {error}; is `ca_file` the authority that signed its "
                          "certificate?", reason="tls") from error
    except SerializationError as error:
        raise Unavailable(f"Elasticsearch at {where} gave half an answer, or something else than JSON: {error}",
                          reason="malformed") from error
    except TransportError as error:
        raise Unavailable(f"Elasticsearch at {where} does not answer: {error}", reason="unreachable") from error


def is_other_version(error: Any) -> bool:
    """Whether a server refuses the media types of our client: one older than 8 does, or one that no longer takes 8."""
    try:
        return bool(error.status_code == 406 or error.body["error"]["type"] == "media_type_header_exception")
    except (KeyError, TypeError):
        return False


def _first_reason(error: Any) -> str:
    try:
        return str(error.body["error"]["reason"])[:300]
    except (KeyError, TypeError):
        return str(error.message)[:300]
