"""Ask a running server over its HTTP API: what the commands use that look at what another process knows."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any, Final

from observe.errors import ObserveError, QueryError, Unavailable, UsageError

DEFAULT_URL: Final = "http://127.0.0.1:9900"


def add_server_arguments(parser: ArgumentParser) -> None:
    """`--url` and `--token-env` as every command that asks a server has them. A secret is no word of a command line."""
    parser.add_argument("--url", default=os.environ.get("OBSERVE_URL", DEFAULT_URL),
                        help=f"the server to ask (default: $OBSERVE_URL, else {DEFAULT_URL})")
    parser.add_argument("--token-env", default="OBSERVE_TOKEN", metavar="NAME",
                        help="environment variable with the bearer token (default: OBSERVE_TOKEN)")


class Client:
    """JSON over HTTP. Every failure is an error of ours that says what to do."""

    def __init__(self, url: str, token: str = "", timeout_s: float = 30.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is not the address of a server; write for example {DEFAULT_URL}")
        self._url = url.rstrip("/")
        self._token = token
        self._role_from = "OBSERVE_TOKEN"
        self._timeout_s = timeout_s

    @classmethod
    def of(cls, args: Namespace) -> "Client":
        client = cls(args.url, os.environ.get(args.token_env, ""))
        client._role_from = args.token_env
        return client

    def get(self, path: str, parameters: Mapping[str, object] | None = None) -> Any:
        """The JSON of an answer. Parameters that are None or empty are left out; a list is given several times."""
        given = {name: value for name, value in (parameters or {}).items() if value not in (None, "", [])}
        return self.ask("GET", path + ("?" + urllib.parse.urlencode(given, doseq=True) if given else ""))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; its answer as JSON, None where the answer is empty."""
        request = urllib.request.Request(  # noqa: S310 - http(s) only, checked above
            self._url + path, None if body is None else json.dumps(body).encode(),
            {"Accept": "application/json", "Content-Type": "application/json"}, method=method,
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310 - checked above
                text = answer.read()
                return json.loads(text) if text.strip() else None
        except urllib.error.HTTPError as error:
            raise self._refusal(error, path) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(
                f"no answer from {self._url}: {reason}; is `observe up` running there? name another with --url",
            ) from error

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> ObserveError:
        with error:
            said = error.read(64 * 1024)
        try:
            parsed = json.loads(said)
            # Alertmanager's API says what is wrong as a bare string, Prometheus' in `error`.
            text = parsed if isinstance(parsed, str) else str(parsed["error"])
        except (ValueError, KeyError, TypeError):
            text = said[:300].decode("utf-8", "replace")
        if error.code == 400:
            return QueryError(text)
        if error.code in {401, 403}:
            where = f"${self._role_from}" + ("" if self._token else ", which is empty")
            what = f"{self._url} refuses ({error.code}): {text}; put a token with the right role into {where}"
            return Unavailable(what, retryable=False)
        return Unavailable(f"{self._url}{path} answered {error.code}: {text}", retryable=error.code >= 500)


def web_address(text: str, option: str) -> None:
    """Raises UsageError where `text` is not the address of a web server."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{option}: {text!r} is not an address: write http://HOST:PORT or https://…")


def printable(text: object) -> str:
    """Text of unknown origin for a terminal: control characters, escape sequences among them, are made visible."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))
