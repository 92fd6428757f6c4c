"""How many samples were on their way when a process was killed: so that even this loss is a number.

What waits to be sent is not kept on disk (decision 034). The count of it is: eight bytes that are written in place,
handed to the operating system at each change, and read by the next process.
"""

import contextlib
import os
import struct
from pathlib import Path
from typing import Final

_COUNT: Final = struct.Struct("<q")


class Unsent:
    """The count in one file. A folder that refuses it costs the count, nothing else."""

    def __init__(self, path: Path) -> None:
        self._file = -1
        self._noted = 0
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            before = os.pread(self._file, _COUNT.size, 0)
            if len(before) == _COUNT.size:
                self._noted = max(0, _COUNT.unpack(before)[0])
        self.lost = self._noted
        """Samples that the process before had taken and nobody answered for: at most so many are lost."""
        self.note(0)

    def note(self, count: int) -> None:
        """So many wait or are under way now."""
        if count != self._noted and self._file >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, _COUNT.pack(count), 0)
                self._noted = count

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
