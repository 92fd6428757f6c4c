"""A file on its way to the disk: its pieces are cut where the data is, and each is written elsewhere meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

from observe.durable import Replacement


class Saving:
    """Pieces that become the file at `path`, all or none. One thread calls it; `disk`, if given, does the writing."""

    def __init__(self, path: Path, pieces: Iterator[bytes], disk: Executor | None = None) -> None:
        self._file = Replacement(path)
        self._pieces: Iterator[bytes] | None = pieces
        self._disk = disk
        self._writing: Future[None] | None = None

    def more(self) -> bool:
        """Cut the next piece, unless the disk is still busy with the last. False once the file is in its place.

        Raises the `OSError` of a disk that refuses.
        """
        if self._writing is not None:
            if not self._writing.done():
                return True
            self._writing.result()
        if self._pieces is None:
            return False
        piece = next(self._pieces, None)
        if piece is not None:
            self._do(lambda: self._file.write(piece))
        else:
            self._pieces = None
            self._do(self._file.commit)
        return True

    def _do(self, work: Callable[[], None]) -> None:
        if self._disk is None:
            work()
        else:
            self._writing = self._disk.submit(work)

    def abandon(self) -> None:
        """Leave the file as it was. Waits for a write that is under way."""
        if self._writing is not None:
            self._writing.exception()
        self._file.abandon()
