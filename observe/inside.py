"""What runs in this process because observe.yml says so, and changes when it is read again: exporters, log files."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from observe.clock import Clock
from observe.collect.tail import FileTail
from observe.collect.tail_settings import TailSettings
from observe.exporters import registry
from observe.exporters.collectors import Exporter
from observe.protocols import SignalSink
from observe.telemetry import Telemetry


class RunningExporters:
    """The exporters of this process, each started once for its options."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, frozenset[tuple[str, str]]], Exporter] = {}

    def run(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Exporter]:
        """By name, those of `wanted` (name -> options), started. Others run on until `keep`. Raises UsageError."""
        found = {}
        for name, options in wanted.items():
            key = (name, frozenset(options.items()))
            if key not in self._running:
                self._running[key] = registry.create(name, options).start()
            found[name] = self._running[key]
        return found

    def keep(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        """Close all but these: nobody scrapes the others any more."""
        kept = {(name, frozenset(options.items())) for name, options in wanted.items()}
        for key in set(self._running) - kept:
            self._running.pop(key).close()


class FollowedLogs:
    """The followers of log files: threads of their own, which `start` starts and `stop` ends."""

    def __init__(self, sink: SignalSink, folder: Path, clock: Clock, telemetry: Telemetry) -> None:
        self._sink, self._folder, self._clock, self._telemetry = sink, folder, clock, telemetry
        self._tails: dict[TailSettings, FileTail] = {}
        self._started = False

    def follow(self, wanted: Iterable[TailSettings]) -> None:
        """Follow these from now on, from where they were left; those that are followed already are not disturbed."""
        wanted = dict.fromkeys(wanted)
        for settings in [one for one in self._tails if one not in wanted]:
            self._tails.pop(settings).stop()
        for settings in wanted:
            if settings not in self._tails:
                tail = FileTail(settings, self._sink, self._positions(settings), self._clock, self._telemetry)
                self._tails[settings] = tail
                if self._started:
                    tail.start()

    def start(self) -> None:
        self._started = True
        for tail in self._tails.values():
            tail.start()

    def stop(self) -> None:
        """Ends them; their positions are kept."""
        self._started = False
        for tail in self._tails.values():
            tail.stop()

    def _positions(self, settings: TailSettings) -> Path:
        """A folder of its own for each, named by what it follows."""
        return self._folder / hashlib.sha256("\n".join(settings.paths).encode()).hexdigest()[:16]
