"""Snapshots of rule state: one file a rule, each with its own tick; a cache of what folding the store would give."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from observe.alert.replay import is_selector
from observe.alert.running import RunningAlert
from observe.alert.states import Evidence, Instance
from observe.durable import write_file
from observe.errors import StorageError
from observe.model import AlertState, Labels, Reason
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """One rule's state as it was at one evaluation."""

    at_ms: int
    state: Mapping[Labels, Instance]
    names: Mapping[Labels, Labels]
    engine: bytes
    sampled: Mapping[Labels, int]
    missing: Mapping[Labels, int]


class Keeper:
    """Writes and reads the snapshots of all rules in one folder. A torn or foreign file is set aside, never an end."""

    def __init__(self, folder: Path, telemetry: Telemetry) -> None:
        self._folder = folder
        self._failures = telemetry.counter(
            "observe_rule_snapshot_failures_total", "Snapshots of rule state not written or not readable.", ("reason",))
        self._changed: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot keep rule state in {folder}: {error.strerror}; "
                               "give this user the right to write there") from error

    def changed(self, key: str) -> None:
        """An alert of this rule changed its state: keep it soon."""
        self._changed.add(key)

    def is_changed(self, key: str) -> bool:
        return key in self._changed

    def remove(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)
        self._changed.discard(key)

    def save(self, alerting: RunningAlert, at_ms: int) -> None:
        """Replace the snapshot of one rule. A disk that refuses is counted; the store still has the past."""
        judge = alerting.band_judge
        memory = judge.memory() if judge is not None else {"sampled": [], "missing": []}
        if not is_selector(alerting.rule.expr):
            memory["sampled"] = []  # only a bare selector repeats old samples
        told = {
            "at_ms": at_ms,
            "rule": alerting.rule.id,
            "state": [_instance_out(one) for one in alerting.state.values()],
            "names": [[dict(series), dict(labels)] for series, labels in alerting.names().items()],
            "sampled": [[dict(labels), at] for labels, at in memory["sampled"]],
            "missing": [[dict(labels), at] for labels, at in memory["missing"]],
        }
        text = json.dumps(told, separators=(",", ":")).encode()
        engine = judge.engine.snapshot() if judge is not None else b""
        body = len(text).to_bytes(8, "big") + text + engine
        head = f"observe-rule-state {_VERSION} {hashlib.blake2b(body, digest_size=16).hexdigest()}\n".encode()
        try:
            write_file(self._path(alerting.key), head + body)
        except OSError as error:
            self._failures.labels("write").inc()
            _log.warning("cannot keep the state of %s: %s", alerting.rule.id, error)
            return
        self._changed.discard(alerting.key)

    def load(self) -> dict[str, Kept]:
        """Every readable snapshot, by rule key."""
        found: dict[str, Kept] = {}
        for path in sorted(self._folder.glob("*.state")):
            try:
                found[path.stem] = _read(path.read_bytes())
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._failures.labels("read").inc()
                _log.warning("the snapshot %s is of no use (%s): its rule is folded from the store", path.name, error)
                path.rename(path.with_suffix(".bad"))
        return found

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.state"


def _read(data: bytes) -> Kept:
    head, _, body = data.partition(b"\n")
    words = head.split()
    if len(words) != 3 or words[0] != b"observe-rule-state":
        raise ValueError("not a snapshot")
    if words[1] != str(_VERSION).encode():
        raise ValueError(f"version {words[1].decode(errors='replace')}, this is {_VERSION}")
    if hashlib.blake2b(body, digest_size=16).hexdigest().encode() != words[2]:
        raise ValueError("torn: the checksum does not fit")
    size = int.from_bytes(body[:8], "big")
    told, engine = json.loads(body[8 : 8 + size]), body[8 + size :]
    instances = [_instance_in(one) for one in told["state"]]
    return Kept(
        told["at_ms"], {one.series: one for one in instances},
        {Labels(series): Labels(labels) for series, labels in told["names"]}, engine,
        {Labels(labels): at for labels, at in told["sampled"]}, {Labels(labels): at for labels, at in told["missing"]},
    )


def _instance_out(one: Instance) -> dict[str, Any]:
    seen = one.evidence
    return {
        "series": dict(one.series), "state": str(one.state), "active": one.active_at_ms, "fired": one.fired_at_ms,
        "clear": one.clear_since_ms, "clear_reason": str(one.clear_reason) if one.clear_reason else None,
        "reason": str(one.reason), "evidence": [seen.value, seen.baseline, seen.lower, seen.upper, seen.score],
    }


def _instance_in(told: Mapping[str, Any]) -> Instance:
    return Instance(
        Labels(told["series"]), AlertState(told["state"]), told["active"], told["fired"], told["clear"],
        Reason(told["clear_reason"]) if told["clear_reason"] else None, Reason(told["reason"]),
        Evidence(*told["evidence"]),
    )
