"""Secrets come from a file or the environment, never from the command line, which every user of a machine can read."""

import os
from pathlib import Path

from observe.errors import ObserveError


class NoSecret(ObserveError):
    """A secret that was named is not there."""


def read_secret(file: str, variable: str) -> str:
    """What `file` holds, read anew each time (it may be rotated); else the environment's `variable`; else empty."""
    if not file:
        return os.environ.get(variable, "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NoSecret(f"cannot read the secret in {file}: {error.strerror}") from error
