"""Follows one growing log file: whole lines, in rounds of bounded size, through renaming and truncation."""

import os
from pathlib import Path
from typing import Final

BYTES_A_ROUND: Final = 4 << 20
MAX_LINE: Final = 64 << 10


class LogTail:
    """New whole lines of one growing file. A renamed file is read to its end before its successor begins."""

    def __init__(self, path: str, *, from_end: bool = False) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb")  # stays open between rounds, to survive renaming
        self._rest = b""
        if from_end:
            self._file.seek(0, os.SEEK_END)

    def lines(self, budget: int = BYTES_A_ROUND) -> list[str]:
        """At most `budget` bytes' worth."""
        found: list[str] = []
        while budget > 0:
            if os.fstat(self._file.fileno()).st_size < self._file.tell():
                self._file.seek(0)  # truncated: a JVM began the same file anew
                self._rest = b""
            chunk = self._file.read(min(budget, 1 << 20))
            if chunk:
                budget -= len(chunk)
                *whole, self._rest = (self._rest + chunk).split(b"\n")
                found += [line.decode("utf-8", "replace") for line in whole]
                if len(self._rest) > MAX_LINE:
                    self._rest = self._rest[:MAX_LINE]  # the rest of it joins its beginning: one odd line
            elif not self._moved_on():
                break
        return found

    def _moved_on(self) -> bool:
        """Whether the path is another file by now, which is then open."""
        try:
            if os.path.samestat(self.path.stat(), os.fstat(self._file.fileno())):
                return False
            successor = self.path.open("rb")
        except OSError:
            return False  # between renaming and the new file
        self._file.close()
        self._file, self._rest = successor, b""
        return True

    def unread(self) -> int:
        return max(0, os.fstat(self._file.fileno()).st_size - self._file.tell())

    def close(self) -> None:
        self._file.close()
