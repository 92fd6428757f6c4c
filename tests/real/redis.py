"""A real Redis server on a loopback port, with nothing in it."""

import socket
from pathlib import Path

from tests.real.process import RealProcess, free_port, require


class RedisServer(RealProcess):
    """``url`` and ``port``; `flags` are redis-server's own, such as ``--requirepass s3``."""

    def __init__(self, folder: Path, *flags: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        binary = require("redis-server", "/usr/bin", "/usr/local/bin")
        argv = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
                "--appendonly", "no", "--enable-debug-command", "local", *flags]
        super().__init__("redis", argv, folder)
        self.wait_healthy(self._answers)

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
