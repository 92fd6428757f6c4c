"""A prometheus.yml as it may be shown: everything but what nobody should read."""

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "<secret>"
"""As Prometheus writes it."""
_SECRETS: Final = frozenset({
    "password", "credentials", "bearer_token", "client_secret", "client_certificate_key", "secrets", "secret",
    "secret_key", "token", "api_key", "account_key", "application_secret", "consumer_key",
})
_OF_TLS: Final = frozenset({"key"})
"""Elsewhere it is the name of a label."""
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")


def without_secrets(value: Any, *, hidden: frozenset[str] = _SECRETS) -> Any:
    """`value` (of YAML) with its secrets masked, in addresses too; files that hold them are named.

    >>> without_secrets({"basic_auth": {"username": "me", "password": "x"}})
    {'basic_auth': {'username': 'me', 'password': '<secret>'}}
    """
    match value:
        case Mapping():
            return {name: _masked(inner) if str(name) in hidden else
                    without_secrets(inner, hidden=_SECRETS | _OF_TLS if name == "tls_config" else _SECRETS)
                    for name, inner in value.items()}
        case list() | tuple():
            return [without_secrets(one) for one in value]
        case str():
            return _IN_ADDRESS.sub(f"{MASK}@", value)
    return value


def _masked(value: Any) -> Any:
    """One secret, or a list of them; a label or parameter may have such a name, and holds more than one value."""
    if isinstance(value, list | tuple):
        return [MASK for _ in value]
    return without_secrets(value) if isinstance(value, Mapping) else MASK
