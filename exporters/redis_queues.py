"""Queues in Redis: lists, streams with their groups, and sorted sets; what waits in each, and how long already."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from json import loads
from typing import Any, Final

from observe.errors import ObserveError
from observe.exporters import queue_metrics as q
from observe.exporters.page import Page

SYSTEM: Final = "redis"
MAX_QUEUES: Final = 500
MAX_SCANNED: Final = 100_000
"""Keys looked at for patterns, a round: on a bigger database name the queues instead."""
FIND_EVERY_S: Final = 60.0

Ask = Callable[..., Any]
"""``ask("XINFO STREAM", "jobs")``: one command, its reply as redis-py gives it."""

_NOT_GIVEN: Final = (q.RUNNING, q.DELIVERED, q.ACKNOWLEDGED, q.REDELIVERED)
"""A list keeps no count of what went through, a stream only of what came in."""
QUEUE_METRICS: Final = (*(metric for metric in q.QUEUE if metric not in _NOT_GIVEN), *q.GROUP)


def shown(name: str) -> str:
    r"""A name as a label can bear it: bytes that are no UTF-8 are written as ``\xff``.

    >>> shown("jobs"), shown(b"j\xff".decode("utf-8", "surrogateescape"))
    ('jobs', 'j\\xff')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Vanished(ObserveError):
    """A queue went between two questions about it."""


class Queues:
    """Writes the queues that `patterns` name, asked through `ask`."""

    def __init__(
        self, patterns: Sequence[str], capacity: Mapping[str, int], oldest_end: str, time_field: str,
    ) -> None:
        self._patterns, self._capacity = patterns, capacity
        self._oldest_index = "-1" if oldest_end == "right" else "0"
        self._time_field = time_field
        self._found: list[str] = []
        self._left_out = 0
        self._found_at = float("-inf")

    def write(self, ask: Ask, page: Page, database: str, now_s: float) -> None:
        if now_s - self._found_at > FIND_EVERY_S or now_s < self._found_at:
            names = self._find(ask)
            self._found, self._found_at, self._left_out = names[:MAX_QUEUES], now_s, len(names) - MAX_QUEUES
        page.leave_out(self._left_out)
        for name in self._found:
            found = Page()
            try:
                self._write_one(ask, found, name, (SYSTEM, database, shown(name)), now_s)
            except Vanished:
                continue  # deleted, or made anew as something else, while we asked: the others are there
            page.merge(found)

    def _write_one(self, ask: Ask, page: Page, name: str, labels: tuple[str, str, str], now_s: float) -> None:
        kind = str(ask("TYPE", name))
        if kind == "none" and not any(letter in name for letter in "*?["):
            self._write_depth(page, 0, labels)  # an empty list does not exist; a queue that was named does
        elif kind == "list":
            self._write_depth(page, ask("LLEN", name), labels)
            page.add(q.OLDEST, self._item_age(ask("LINDEX", name, self._oldest_index), now_s), *labels)
        elif kind == "zset":
            self._write_depth(page, ask("ZCARD", name), labels)
            page.add(q.OLDEST, _score_age(ask("ZRANGE", name, "0", "0", "WITHSCORES"), now_s), *labels)
        elif kind == "stream":
            self._write_stream(ask, page, name, labels, now_s)
        else:
            return
        if kind != "none":
            page.add(q.SIZE, ask("MEMORY USAGE", name), *labels)

    def _find(self, ask: Ask) -> list[str]:
        found = [name for name in self._patterns if not any(letter in name for letter in "*?[")]
        for pattern in self._patterns:
            if pattern in found:
                continue
            cursor, seen = "0", 0
            while seen < MAX_SCANNED:
                cursor, names = ask("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
                seen += 1000
                found += names
                if str(cursor) == "0":
                    break
        return list(dict.fromkeys(sorted(found)))

    def _write_depth(self, page: Page, depth: int, labels: tuple[str, str, str]) -> None:
        page.add(q.DEPTH, depth, *labels)
        page.add(q.READY, depth, *labels)
        self._write_capacity(page, depth, labels)

    def _write_capacity(self, page: Page, depth: int, labels: tuple[str, str, str]) -> None:
        capacity = self._capacity.get(labels[2])
        if capacity:
            page.add(q.CAPACITY, capacity, *labels)
            page.add(q.FILL, round(depth / capacity, 6), *labels)

    def _item_age(self, item: object, now_s: float) -> float | None:
        """Age by the time field of a JSON item; None without one."""
        if not self._time_field or not isinstance(item, str):
            return None
        try:
            value: object = loads(item)
        except (ValueError, RecursionError):  # of numbers with thousands of digits, too
            return None
        for name in self._time_field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        made = epoch_seconds(value)
        return None if made is None else max(0.0, round(now_s - made, 3))

    def _write_stream(self, ask: Ask, page: Page, name: str, labels: tuple[str, str, str], now_s: float) -> None:
        stream = ask("XINFO STREAM", name)
        page.add(q.DEPTH, stream["length"], *labels)
        page.add(q.PUBLISHED, stream.get("entries-added"), *labels)
        self._write_capacity(page, stream["length"], labels)
        ages, consumers, waiting, unacknowledged = [], 0, [], 0
        groups = ask("XINFO GROUPS", name)
        for group in groups:
            names = (*labels, shown(str(group["name"])))
            page.add(q.GROUP_LAG, group.get("lag"), *names)  # Redis 7; absent where it cannot know
            page.add(q.GROUP_PENDING, group["pending"], *names)
            page.add(q.GROUP_CONSUMERS, group["consumers"], *names)
            page.add(q.GROUP_DELIVERED, group.get("entries-read"), *names)
            age = self._group_age(ask, name, group, now_s)
            page.add(q.GROUP_OLDEST, age, *names)
            ages.append(age)
            consumers += group["consumers"]
            unacknowledged += group["pending"]
            waiting.append(group.get("lag"))
        if groups:
            page.add(q.CONSUMERS, consumers, *labels)
            page.add(q.UNACKNOWLEDGED, unacknowledged, *labels)
            known = [lag for lag in waiting if lag is not None]
            page.add(q.READY, max(known) if len(known) == len(waiting) else None, *labels)
            page.add(q.OLDEST, max((age for age in ages if age is not None), default=None), *labels)
        else:
            page.add(q.READY, stream["length"], *labels)
            first = stream.get("first-entry")
            page.add(q.OLDEST, _id_age(str(first[0]), now_s) if first else 0.0, *labels)

    def _group_age(self, ask: Ask, name: str, group: Mapping[str, Any], now_s: float) -> float | None:
        """Of the oldest entry that the group was given and has not acknowledged, else that it was not given yet."""
        if group["pending"]:
            oldest = ask("XPENDING", name, group["name"])["min"]
            return None if oldest is None else _id_age(str(oldest), now_s)
        following = ask("XRANGE", name, f"({group['last-delivered-id']}", "+", "COUNT", "1")
        return _id_age(str(following[0][0]), now_s) if following else 0.0


def _id_age(entry_id: str, now_s: float) -> float | None:
    """Seconds since a stream's entry was made, by its id; None for ids that a producer chose itself."""
    made = int(entry_id.partition("-")[0]) / 1000
    return max(0.0, round(now_s - made, 3)) if made > 1e9 else None


def _score_age(reply: Sequence[Any], now_s: float) -> float | None:
    """Of the lowest member of a sorted set whose scores are times; a member due in the future is not late: 0."""
    if not reply:
        return 0.0
    first = reply[0]
    score = float(first[1] if isinstance(first, list | tuple) else reply[1])
    made = epoch_seconds(score)
    return None if made is None else max(0.0, round(now_s - made, 3))


def epoch_seconds(value: object) -> float | None:
    """A time as epoch seconds, told from seconds, ms, µs or ns by its magnitude, or as ISO 8601; else None.

    A time without a zone is in UTC.

    >>> epoch_seconds(1700000000123), epoch_seconds("2023-11-14T22:13:20")
    (1700000000.123, 1700000000.0)
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 1e9:
        return None
    for limit, scale in ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9)):
        if value < limit:
            return value / scale
    return None
