"""Addresses to listen on: parsed, found free, and kept to this machine where there is no authentication."""

import socket

from observe.errors import StorageError, UsageError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is not HOST:PORT; write it as 127.0.0.1:9900")
    return host.strip("[]"), int(port)


def loopback_only(text: str) -> tuple[str, int]:
    """The address, if only this machine can reach it. Raises UsageError."""
    host, port = parse_address(text)
    if host not in LOOPBACK:
        raise UsageError(
            f"{text} can be reached from other machines and this server has no authentication; listen on 127.0.0.1, "
            "or run `observe up` with `auth:` configured",
        )
    return host, port


def check_free(host: str, port: int, option: str = "--listen HOST:PORT") -> None:
    """Say at once, and clearly, that the port is taken, and which `option` names another. Raises StorageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StorageError(
                f"cannot listen on {host}:{port}: {error.strerror}; stop whoever listens there, or choose another "
                f"address with {option}",
            ) from error
