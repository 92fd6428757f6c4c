"""Snapshots of rule state: one file a rule, each with its own tick; a cache of what folding the store would give."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from observe.alert.running import RunningAlert
from observe.alert.saving import Saving
from observe.alert.state_file import Kept, pieces, read
from observe.clock import Clock
from observe.errors import StorageError
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

_AT_ONCE = 4_096
"""Series of bands that are written in one go; more are written piece by piece, between ticks."""


@dataclass
class _Going:
    """The snapshot that is under way."""

    alerting: RunningAlert
    engine: object
    saving: Saving
    took_s: float = 0.0


class Keeper:
    """Writes and reads the snapshots of all rules in one folder. A torn or foreign file is set aside, never an end."""

    def __init__(self, folder: Path, clock: Clock, telemetry: Telemetry) -> None:
        self._folder = folder
        self._clock = clock
        self._failures = telemetry.counter(
            "observe_rule_snapshot_failures_total", "Snapshots of rule state not written or not readable.", ("reason",))
        self._changed: set[str] = set()
        self._took_s: dict[str, float] = {}
        self._going: _Going | None = None
        self._disk: ThreadPoolExecutor | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for begun in folder.glob(".*.tmp"):  # by a process that was killed
                begun.unlink()
        except OSError as error:
            raise StorageError(f"cannot keep rule state in {folder}: {error.strerror}; "
                               "give this user the right to write there") from error

    def changed(self, key: str) -> None:
        """An alert of this rule changed its state: keep it soon."""
        self._changed.add(key)

    def is_changed(self, key: str) -> bool:
        return key in self._changed

    def remove(self, key: str) -> None:
        if self._going is not None and self._going.alerting.key == key:
            self._abandon()
        self._path(key).unlink(missing_ok=True)
        self._changed.discard(key)
        self._took_s.pop(key, None)

    def took_s(self, key: str) -> float:
        """What the last snapshot of this rule cost the thread that took it."""
        return self._took_s.get(key, 0.0)

    # ------------------------------------------------------------ writing

    def begin(self, alerting: RunningAlert, at_ms: int) -> bool:
        """Replace the snapshot of one rule: at once where it is small, else by `go_on`.

        False where another one is under way and this one is too large to pass by.
        """
        judge = alerting.band_judge
        if judge is None or judge.counts[0] <= _AT_ONCE:
            self.save(alerting, at_ms)
            return True
        if self._going is not None:
            return False
        if self._disk is None:
            self._disk = ThreadPoolExecutor(1, thread_name_prefix="rule-state")
        try:
            saving = Saving(self._path(alerting.key), pieces(alerting, at_ms), self._disk)
        except OSError as error:
            self._failed(alerting, error)
        else:
            self._going = _Going(alerting, judge.engine, saving)
        return True

    def go_on(self) -> bool:
        """Cut one more piece of the snapshot that is under way: some 10 ms. True while there are more."""
        going = self._going
        if going is None:
            return False
        judge = going.alerting.band_judge
        if judge is None or judge.engine is not going.engine:  # another engine has learned and taken over meanwhile
            self._abandon()
            return False
        began = self._clock.monotonic()
        try:
            more = going.saving.more()
        except OSError as error:
            self._abandon()
            self._failed(going.alerting, error)
            return False
        going.took_s += self._clock.monotonic() - began
        if not more:
            self._took_s[going.alerting.key] = going.took_s
            self._going = None
        return more

    def save(self, alerting: RunningAlert, at_ms: int) -> None:
        """Replace the snapshot of one rule, now. A disk that refuses is counted; the store still has the past."""
        if self._going is not None and self._going.alerting is alerting:
            self._abandon()
        began = self._clock.monotonic()
        saving: Saving | None = None
        try:
            saving = Saving(self._path(alerting.key), pieces(alerting, at_ms))
            while saving.more():
                pass
        except OSError as error:
            if saving is not None:
                saving.abandon()
            self._failed(alerting, error)
            return
        self._took_s[alerting.key] = self._clock.monotonic() - began
        self._changed.discard(alerting.key)

    def close(self) -> None:
        """No snapshot is under way any more."""
        self._abandon()
        if self._disk is not None:
            self._disk.shutdown()
            self._disk = None

    def _abandon(self) -> None:
        if self._going is not None:
            self._going.saving.abandon()
            self._going = None

    def _failed(self, alerting: RunningAlert, error: OSError) -> None:
        self._failures.labels("write").inc()
        _log.warning("cannot keep the state of %s: %s", alerting.rule.id, error)

    # ------------------------------------------------------------ reading

    def load(self) -> dict[str, Kept]:
        """Every readable snapshot, by rule key."""
        found: dict[str, Kept] = {}
        for path in sorted(self._folder.glob("*.state")):
            try:
                found[path.stem] = read(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.set_aside(path.stem, str(error))
        return found

    def set_aside(self, key: str, why: str) -> None:
        """This snapshot is of no use: what it held comes from the store."""
        path = self._path(key)
        self._failures.labels("read").inc()
        _log.warning("the snapshot %s is of no use (%s): its rule is folded from the store", path.name, why)
        path.rename(path.with_suffix(".bad"))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.state"
