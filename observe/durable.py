"""Files that survive: written beside, synced, renamed, and the folder synced too."""

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from observe.errors import StorageError


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Replacement:
    """A file that takes the place of `path` once it is whole: a reader sees the old or the new, also after a crash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.tmp")
        self._file = self._beside.open("wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def commit(self) -> None:
        """Synced, then put in its place."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._beside.replace(self._path)
        sync_folder(self._path.parent)

    def abandon(self) -> None:
        """Leave what is at `path` as it is."""
        with contextlib.suppress(OSError):  # what is buffered may find no room
            self._file.close()
        self._beside.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data` so that a reader sees the old whole or the new whole, also after a crash."""
    file = Replacement(path)
    try:
        file.write(data)
        file.commit()
    except OSError:
        file.abandon()  # on a full disk what was begun is in the way
        raise


def is_stream(path: Path) -> bool:
    """Whether this is a pipe, a terminal or a link, such as /dev/stdout: written to, never replaced by a file."""
    return (path.is_symlink() or (path.exists() and not path.is_file())) and not path.is_dir()


def write_named(path: Path, data: bytes) -> None:
    """As `write_file`, for a path that a person named: an error names it, and not the file beside it."""
    try:
        if is_stream(path):
            path.write_bytes(data)
        else:
            write_file(path, data)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}; name a file in a folder that is there and may be written",
        ) from error


class FolderLock:
    """One process owns a data folder. The lock ends with the process, also with kill -9."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+")
        except OSError as error:
            why = "it is not a folder" if folder.exists() and not folder.is_dir() else error.strerror
            raise StorageError(
                f"cannot write to the data folder {folder}: {why}; "
                "choose another with --data or give this user the right to write there",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            raise StorageError(
                f"the data folder {folder} belongs to a running observe (pid {owner}); "
                "stop that one, or choose another folder with --data",
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.release()
