"""The time range of a page: read from its URL, carried by its links."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from observe.duration import format_duration, parse_duration_ms
from observe.errors import QueryError
from observe.show.params import parse_time_ms

RANGES: Final = ("15m", "1h", "3h", "6h", "24h", "7d")
"""What the range field offers."""
_LONGEST_MS: Final = 400 * 86_400_000


@dataclass(frozen=True, slots=True)
class Range:
    """The time range of a page: the last so long, or from a time to a time."""

    start_ms: int
    end_ms: int
    relative: str = ""
    """``1h``: up to now; empty: fixed."""

    @property
    def query(self) -> dict[str, str]:
        """What a link must carry to show the same range."""
        if self.relative:
            return {"range": self.relative}
        return {"start": f"{self.start_ms / 1000:.3f}", "end": f"{self.end_ms / 1000:.3f}"}

    def step_ms(self, points: int = 240, least_ms: int = 1000) -> int:
        """A round step that gives at most about `points` points."""
        rough = max(least_ms, (self.end_ms - self.start_ms) // points)
        for step_s in (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14400, 28800, 86400):
            if step_s * 1000 >= rough:
                return step_s * 1000
        return -(-rough // 86_400_000) * 86_400_000

    def aligned(self, step_ms: int) -> tuple[int, int]:
        """Start and end on multiples of the step, so that a reload draws the same points."""
        return -(-self.start_ms // step_ms) * step_ms, self.end_ms // step_ms * step_ms


def read_range(params: Mapping[str, list[str]], now_ms: int) -> Range:
    """The range of a URL: ``range=1h``, or ``start`` and ``end``; an hour if it says nothing."""
    start, end = params.get("start", [""])[0], params.get("end", [""])[0]
    if start:
        end_ms = parse_time_ms(_zoned(end), "end") if end else now_ms
        start_ms = parse_time_ms(_zoned(start), "start")
        if not start_ms < end_ms:
            raise QueryError("the start of the time range lies after its end")
        return Range(max(start_ms, end_ms - _LONGEST_MS), end_ms)
    text = params.get("range", [""])[0] or "1h"
    try:
        length_ms = parse_duration_ms(text)
    except ValueError as error:
        raise QueryError(f"the range {text[:40]!r} is not a duration; write it as 15m, 1h or 2d") from error
    length_ms = min(max(length_ms, 10_000), _LONGEST_MS)
    return Range(now_ms - length_ms, now_ms, format_duration(length_ms) if text not in RANGES else text)


def _zoned(text: str) -> str:
    """What a date field gives has no zone: without a script that adds it, it means UTC."""
    return f"{text}Z" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", text) else text
