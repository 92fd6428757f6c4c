"""What we say to a target: the bytes of a request, who we are, and which certificates we trust."""

import base64
import ssl
from typing import Final
from urllib.parse import SplitResult

from observe._version import __version__
from observe.collect.target import Credentials, Target, Tls

ACCEPT_OPENMETRICS: Final = (
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.7,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
ACCEPT_TEXT: Final = "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def page_request(target: Target, url: SplitResult, authorization: str) -> bytes:
    """The GET of `url` (the target's own, or where it redirected to)."""
    host = url.hostname or ""
    path = (url.path or "/") + ("?" + url.query if url.query else "")
    named = f"[{host}]" if ":" in host else host
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {named}{f':{url.port}' if url.port else ''}",
        f"User-Agent: observe/{__version__}",
        f"Accept: {ACCEPT_OPENMETRICS if target.openmetrics else ACCEPT_TEXT}",
        f"X-Prometheus-Scrape-Timeout-Seconds: {target.timeout_ms / 1000:g}",
    ]
    if not _is_loopback(host):
        lines.append("Accept-Encoding: gzip")  # on this machine it would cost both sides more than it saves
    if authorization:
        lines.append(f"Authorization: {authorization}")
    lines.extend(f"{name}: {value}" for name, value in target.headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", errors="replace")


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def authorization(credentials: Credentials | None) -> str:
    """The Authorization header, or nothing. Raises OSError or ValueError where its file cannot be read."""
    if credentials is None:
        return ""
    secret, user = credentials.secret, credentials.user
    if credentials.secret_file is not None:
        secret = credentials.secret_file.read_text().strip()
    if credentials.user_file is not None:
        user = credentials.user_file.read_text().strip()
    if credentials.scheme.lower() == "basic":
        secret = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return f"{credentials.scheme} {secret}".replace("\r", "").replace("\n", "")


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Reads the certificate files: not on the event loop."""
    context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
    if tls.cert_file is not None:
        context.load_cert_chain(str(tls.cert_file), str(tls.key_file) if tls.key_file else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
