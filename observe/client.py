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
    """`--url` and `--token` as every command that asks a server has them."""
    parser.add_argument("--url", default=DEFAULT_URL, help="the server to ask (default: %(default)s)")
    parser.add_argument("--token", default="", help="bearer token (default: the environment's OBSERVE_TOKEN)")


class Client:
    """GET of JSON answers. Every failure is an error of ours that says what to do."""

    def __init__(self, url: str, token: str = "", timeout_s: float = 30.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is not the address of a server; write for example {DEFAULT_URL}")
        self._url = url.rstrip("/")
        self._token = token or os.environ.get("OBSERVE_TOKEN", "")
        self._timeout_s = timeout_s

    @classmethod
    def of(cls, args: Namespace) -> "Client":
        return cls(args.url, args.token)

    def get(self, path: str, parameters: Mapping[str, object] | None = None) -> Any:
        """The JSON of an answer. Parameters that are None or empty are left out."""
        given = {name: value for name, value in (parameters or {}).items() if value not in {None, ""}}
        url = self._url + path + ("?" + urllib.parse.urlencode(given) if given else "")
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310 - checked above
                return json.load(answer)
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
            text = str(json.loads(said)["error"])
        except (ValueError, KeyError, TypeError):
            text = said[:300].decode("utf-8", "replace")
        if error.code == 400:
            return QueryError(text)
        if error.code == 401:
            what = f"{self._url} wants a token: {text}; give it with --token or OBSERVE_TOKEN"
            return Unavailable(what, retryable=False)
        return Unavailable(f"{self._url}{path} answered {error.code}: {text}", retryable=error.code >= 500)


def printable(text: object) -> str:
    """Text of unknown origin for a terminal: control characters, escape sequences among them, are made visible."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))
