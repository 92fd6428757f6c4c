"""The file of one rule's state: a head, frames of JSON with their checksums, then the bands' own chunks with theirs.

Frame: length (8 bytes), BLAKE2b (16 bytes), text. The first tells how many follow it; these list series with a time:
when they had their last sample, and since when they are missing.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from observe.alert.judge import Memory
from observe.alert.replay import is_selector
from observe.alert.running import RunningAlert
from observe.alert.states import Evidence, Instance
from observe.model import AlertState, Labels, Reason

VERSION = 2
_NAME = b"observe-rule-state"
_DIGEST_BYTES = 16
_FRAME_SERIES = 4_096
"""Series listed in one frame: some 10 ms."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One rule's state as it was at one evaluation."""

    at_ms: int
    state: Mapping[Labels, Instance]
    names: Mapping[Labels, Labels]
    memory: Memory
    engine: memoryview
    """Mapped from the file: the bands of a million series are read as they are restored."""


def pieces(alerting: RunningAlert, at_ms: int) -> Iterator[bytes]:
    """The state of a rule whose last evaluation was at `at_ms`, in pieces; it may be evaluated between them.

    What changes with each evaluation is taken now, but for the bands: who restores folds what came since.
    """
    judge = alerting.band_judge
    memory = judge.memory() if judge is not None else Memory((), np.empty(0, np.int64), {})
    sampled = len(memory.sampled) if is_selector(alerting.rule.expr) else 0  # only a bare selector repeats old samples
    frames = -(-sampled // _FRAME_SERIES), -(-len(memory.missing) // _FRAME_SERIES)
    told = {
        "at_ms": at_ms,
        "rule": alerting.rule.id,
        "state": [_instance_out(one) for one in alerting.state.values()],
        "names": [[dict(series), dict(labels)] for series, labels in alerting.names().items()],
        "sampled_frames": frames[0],
        "missing_frames": frames[1],
    }

    def cut() -> Iterator[bytes]:
        yield b"%s %d\n" % (_NAME, VERSION) + _frame(told)
        for first in range(0, sampled, _FRAME_SERIES):
            part = slice(first, min(sampled, first + _FRAME_SERIES))
            yield _listed(memory.sampled[part], memory.sampled_at_ms[part].tolist())
        gone, since = list(memory.missing), list(memory.missing.values())
        for first in range(0, len(gone), _FRAME_SERIES):
            yield _listed(gone[first : first + _FRAME_SERIES], since[first : first + _FRAME_SERIES])
        if judge is not None:
            yield from judge.engine.snapshot_chunks()

    return cut()


def read(path: Path) -> Kept:
    """The state in a file. Raises `ValueError` or the like where it is of no use; the bands are not looked at yet."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    head, newline, _ = bytes(view[:80]).partition(b"\n")
    words = head.split()
    if not newline or len(words) < 2 or words[0] != _NAME:
        raise ValueError("not a snapshot")
    if words[1] != b"%d" % VERSION:
        raise ValueError(f"version {words[1].decode(errors='replace')}, this is {VERSION}")
    told, at = _read_frame(view, len(head) + 1)
    sampled, sampled_at_ms, at = _read_listed(view, at, told["sampled_frames"])
    missing, since, at = _read_listed(view, at, told["missing_frames"])
    instances = [_instance_in(one) for one in told["state"]]
    return Kept(
        told["at_ms"], {one.series: one for one in instances},
        {Labels(series): Labels(labels) for series, labels in told["names"]},
        Memory(tuple(sampled), np.array(sampled_at_ms, np.int64), dict(zip(missing, since, strict=True))), view[at:],
    )


def _frame(said: Any) -> bytes:
    text = json.dumps(said, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "big") + hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest() + text


def _listed(names: Sequence[Labels], times_ms: Sequence[int]) -> bytes:
    return _frame([[name.pairs for name in names], times_ms])


def _read_frame(view: memoryview, at: int) -> tuple[Any, int]:
    size, begin = int.from_bytes(view[at : at + 8], "big"), at + 8 + _DIGEST_BYTES
    text = bytes(view[begin : begin + size])
    if len(text) < size or hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest() != view[at + 8 : begin]:
        raise ValueError(f"torn at byte {at}: the checksum does not fit")
    return json.loads(text), begin + size


def _read_listed(view: memoryview, at: int, frames: int) -> tuple[list[Labels], list[int], int]:
    names: list[Labels] = []
    times_ms: list[int] = []
    for _ in range(frames):
        (pairs, times), at = _read_frame(view, at)
        names += [Labels.from_sorted(tuple([(name, value) for name, value in one])) for one in pairs]
        times_ms += times
    return names, times_ms, at


def _instance_out(one: Instance) -> dict[str, Any]:
    return {
        "series": dict(one.series), "state": str(one.state), "active": one.active_at_ms, "fired": one.fired_at_ms,
        "clear": one.clear_since_ms, "clear_reason": str(one.clear_reason) if one.clear_reason else None,
        "reason": str(one.reason), "evidence": astuple(one.evidence), "wrong": astuple(one.wrong),
    }


def _instance_in(told: Mapping[str, Any]) -> Instance:
    return Instance(
        Labels(told["series"]), AlertState(told["state"]), told["active"], told["fired"], told["clear"],
        Reason(told["clear_reason"]) if told["clear_reason"] else None, Reason(told["reason"]),
        Evidence(*told["evidence"]), Evidence(*told.get("wrong", told["evidence"])),
    )
