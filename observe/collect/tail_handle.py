"""A file that is open: to look into, or to be read on for days."""

import os
from dataclasses import dataclass
from typing import Self

from observe.collect.tail_position import Position


class Opened:
    """A file opened to look into, as a context; closed at its end unless it is kept."""

    def __init__(self, path: str) -> None:
        self.handle = os.open(path, os.O_RDONLY)
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            os.close(self.handle)

    def keep(self) -> int:
        """The handle, from now on the caller's to close."""
        self._kept = True
        return self.handle


@dataclass(slots=True)
class OpenFile:
    """A file being read."""

    handle: int
    position: Position
    quiet_since_ms: int
    named: bool = True
    """The globs still name it."""
    draining: bool = False
    """It will not grow: what a rotation left behind."""

    def part(self, most: int) -> bytes:
        """What comes next, at most so many bytes."""
        return os.pread(self.handle, most, self.position.offset)

    def at_end(self) -> bool:
        """Whether nothing comes next, or nothing can be read any more."""
        try:
            return os.fstat(self.handle).st_size <= self.position.offset
        except OSError:
            return True

    def intact(self) -> bool:
        """Whether it is still the file that its position was taken in, not truncated since."""
        return self.position.matches(self.handle)
