"""Silences: made, changed and ended as in Alertmanager, kept in the ledger."""

import threading
import uuid
from dataclasses import replace

from observe.errors import InvalidInput, Problem
from observe.model import Labels
from observe.notify.ledger import Ledger
from observe.notify.matching import check_matcher, matches
from observe.protocols import Silence

_KEPT_MS = 5 * 24 * 3_600_000
"""How long an ended silence is still known; the ledger remembers it for longer."""
_MOST = 10_000
"""Silences that are not over: each is looked at for each alert."""


class SilenceBook:
    """Safe from any thread."""

    def __init__(self, ledger: Ledger, most: int = _MOST) -> None:
        self._ledger = ledger
        self._most = most
        self._lock = threading.RLock()
        self._silences: dict[str, Silence] = {one.id: one for one in ledger.silences()}

    def listed(self, now_ms: int) -> list[Silence]:
        """Active, pending, and those that ended within the last days."""
        with self._lock:
            kept = [one for one in self._silences.values() if one.ends_at_ms > now_ms - _KEPT_MS]
        return sorted(kept, key=lambda one: (one.ends_at_ms <= now_ms, one.ends_at_ms))

    def put(self, silence: Silence, now_ms: int) -> str:
        """Create (empty id) or replace; returns the id. Raises `InvalidInput` with every problem."""
        problems = _problems(silence, now_ms)
        with self._lock:
            if silence.id and silence.id not in self._silences:
                problems.append(Problem(f"no silence {silence.id}", fix="leave the id out to make a new one"))
            before = self._silences.get(silence.id)
            if before is None or before.ends_at_ms <= now_ms:
                problems.extend(self._no_room(now_ms))
            if problems:
                raise InvalidInput(problems)
            # As in Alertmanager: one that is over, or would match others, is replaced by a new one.
            changed = before is not None and (before.ends_at_ms <= now_ms or before.matchers != silence.matchers)
            if changed and before is not None and before.ends_at_ms > now_ms:
                self._write(replace(before, ends_at_ms=now_ms, updated_at_ms=now_ms))
            new_id = silence.id if silence.id and not changed else str(uuid.uuid4())
            starts = silence.starts_at_ms if before is not None and not changed else max(silence.starts_at_ms, now_ms)
            self._write(replace(silence, id=new_id, starts_at_ms=starts, updated_at_ms=now_ms))
        return new_id

    def _no_room(self, now_ms: int) -> list[Problem]:
        if sum(one.ends_at_ms > now_ms for one in self._silences.values()) < self._most:
            return []
        return [Problem(f"there are {self._most:,} silences already",
                        fix="expire some, or make one whose matchers cover several")]

    def expire(self, silence_id: str, now_ms: int) -> None:
        with self._lock:
            silence = self._silences.get(silence_id)
            if silence is None:
                raise InvalidInput(Problem(f"no silence {silence_id}", fix="`observe silence list` shows them"))
            if silence.ends_at_ms <= now_ms:
                return  # over already: whoever asks again gets what was asked for, as of Alertmanager
            starts = min(silence.starts_at_ms, now_ms)
            self._write(replace(silence, starts_at_ms=starts, ends_at_ms=now_ms, updated_at_ms=now_ms))

    def matching(self, labels: Labels, now_ms: int) -> list[Silence]:
        """The silences that hold an alert with these labels back now."""
        with self._lock:
            active = [one for one in self._silences.values() if one.starts_at_ms <= now_ms < one.ends_at_ms]
        return [one for one in active if matches(one.matchers, labels)]

    def forget(self, now_ms: int) -> None:
        """Those that are over for long: whoever makes one each minute must not make each alert slower for months."""
        with self._lock:
            self._silences = {key: one for key, one in self._silences.items() if one.ends_at_ms > now_ms - _KEPT_MS}

    def _write(self, silence: Silence) -> None:
        self._ledger.keep_silence(silence)
        self._silences[silence.id] = silence


def _problems(silence: Silence, now_ms: int) -> list[Problem]:
    found = []
    if silence.ends_at_ms <= silence.starts_at_ms:
        found.append(Problem("the silence ends before it starts", fix="give it a later end"))
    elif silence.ends_at_ms <= now_ms:
        found.append(Problem("the silence ends in the past", fix="give it a later end"))
    if not silence.matchers:
        found.append(Problem("a silence needs a matcher", fix='such as alertname="HighLatency"'))
    wrong: list[Problem] = []
    for matcher in silence.matchers:
        try:
            check_matcher(matcher)
        except InvalidInput as error:
            wrong.extend(error.problems)
    if silence.matchers and not wrong and matches(silence.matchers, {}):
        found.append(Problem("this silence would match every alert",
                             why="each matcher also matches the absent label",
                             fix="add a matcher that an empty value does not satisfy"))
    return [*found, *wrong]
