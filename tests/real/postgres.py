"""A real PostgreSQL on a loopback port, with one empty database; anyone on this machine may enter as `postgres`."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.real.process import RealProcess, free_port, give_to, require

_PLACES = tuple(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))


class PostgresServer(RealProcess):
    """`url` is for SQLAlchemy with psycopg. `folder` must be one of `open_folder` where the tests run as root."""

    def __init__(self, folder: Path) -> None:
        binaries = Path(require("initdb", *_PLACES)).parent
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        user = "postgres" if os.geteuid() == 0 else ""
        become: list[str] = []
        if user:
            account = pwd.getpwnam(user)
            give_to(folder, user)
            become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        data = folder / "data"
        words = ["-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C"]
        make = [*become, str(binaries / "initdb"), *words]
        subprocess.run(make, check=True, capture_output=True, timeout=300, cwd=folder)
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": folder, "fsync": "off",
            "shared_buffers": "16MB", "max_connections": 20,
        }
        argv = [str(binaries / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        super().__init__("postgres", argv, folder, user=user)
        self.wait_healthy(lambda: self.run("SELECT 1"))

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement and commit; its rows, if it gives any."""
        import psycopg

        address = self.url.replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True, connect_timeout=60) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def stop(self, timeout_s: float = 2.0) -> int:
        """Nothing in it is worth an orderly end."""
        status = super().stop(timeout_s)
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        return status
