"""How `observe up --demo` starts the gateway and its load, and what it asks observe to watch."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERVAL = "2s"
"""Scraping and rules are quick in the demo, so that the first page comes within three minutes."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The plan of one demo: its port and where its files go."""

    port: int
    folder: Path

    @classmethod
    def plan(cls, data: Path) -> "Demo":
        """On a free port: demo ports collide with nobody."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return cls(int(probe.getsockname()[1]), data.absolute() / "demo")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "gateway.jsonl"

    def settings(self) -> dict[str, Any]:
        """What is laid over observe.yml."""
        return {
            "scrape": {"targets": [
                {"job": "gateway", "url": f"{self.url}/metrics", "labels": {"instance": "demo"}},
            ]},
            "logs": {"files": [{"path": str(self.log), "service": "gateway"}]},
        }

    @staticmethod
    def defaults() -> dict[str, Any]:
        """What counts where observe.yml does not say."""
        return {
            "scrape": {"interval": INTERVAL}, "evaluation_interval": INTERVAL,
            "notify": {"group_wait": "1s", "group_interval": "5s"},
        }

    def start(self, start: Callable[[str, Sequence[str], Path], int], otlp_url: str) -> None:
        """Start both children with `start(module, arguments, log)`."""
        start("observe.demo", ["--port", str(self.port), "--otlp", otlp_url, "--log", str(self.log)],
              self.folder / "gateway.out")
        start("observe.demo.load", ["--port", str(self.port)], self.folder / "load.out")
