"""What a part of a followed file says: its lines as records, each under the uid of its place in the file."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from observe.collect.log_line import read_line
from observe.collect.tail_position import Position
from observe.model import LogRecord

_CUT: Final = "… (cut)"


@dataclass(slots=True)
class Lines:
    """The records of one part, and what was odd about its lines."""

    records: list[LogRecord] = field(default_factory=list)
    plain: int = 0
    """How many were no JSON, and are kept as text."""
    cut: int = 0
    """How many were too long."""


def read_lines(
    data: bytes, position: Position, *, service: str, now_ns: int, longest: int, unfinished: bool,
) -> Lines:
    """The lines of `data`, the file's bytes at `position`: whole ones, or with `unfinished` one that lacks its end.

    Inside a line that was too long (`position.skipping`) the first is its rest, and left out. `service` as in
    `TailSettings`; `longest` in bytes.
    """
    found = Lines()
    service = service or Path(position.path).name.partition(".")[0]
    lines = [data] if unfinished else data.split(b"\n")[:-1]
    at = position.offset
    for number, line in enumerate(lines):
        start, at = at, at + len(line) + 1
        if number == 0 and position.skipping:
            continue
        stripped = line.lstrip(b"\0").rstrip()  # a writer without O_APPEND leaves a hole after truncation
        if not stripped:
            continue
        too_long = len(stripped) >= longest
        record, is_json = read_line(
            stripped[:longest], service=service, uid=f"{position.identity}:{start}", now_ns=now_ns)
        found.records.append(replace(record, message=record.message + _CUT) if too_long else record)
        found.plain += not is_json
        found.cut += too_long
    return found
