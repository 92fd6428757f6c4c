"""The files that a tail has open, through everything that happens to them.

Files may be renamed, copied and truncated, deleted, and their inodes used again while we read or while we are down.
`look` finds out; what a rotation left behind is read to its end, and a file is let go when it is gone and silent.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from observe.clock import Clock
from observe.collect.tail_files import find_copy, find_inode, is_copy_of, is_sibling, named_files, siblings
from observe.collect.tail_position import Position, PositionFile, read_head
from observe.collect.tail_settings import TailSettings
from observe.telemetry import Telemetry

_SETTLED_MS: Final = 2000


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

    @property
    def size(self) -> int:
        return os.fstat(self.handle).st_size

    def part(self, most: int) -> bytes:
        """What comes next, at most so many bytes."""
        return os.pread(self.handle, most, self.position.offset)

    def intact(self) -> bool:
        """Whether it is still the file that its position was taken in, not truncated since."""
        return self.position.matches(self.handle)


class OpenFiles:
    """What one tail reads now, and how far. Of one thread. Positions are kept in `kept`."""

    def __init__(self, settings: TailSettings, kept: PositionFile, clock: Clock, telemetry: Telemetry) -> None:
        self._settings = settings
        self._kept = kept
        self._clock = clock
        self._telemetry = telemetry
        self._saved, self.complaints = kept.load()
        if self.complaints:
            telemetry.dropped("tail", "position file unreadable", len(self.complaints))
        self._files: dict[tuple[int, int], OpenFile] = {}
        self._folders: dict[str, int] = {}
        """Followed name -> its folder's time of change when we last looked for its siblings."""
        self._dirty = False
        self._saved_at_ms = 0
        self._first = True
        self.last_error = ""

    def all(self) -> list[OpenFile]:
        return list(self._files.values())

    # ------------------------------------------------------------ how far

    def advance(self, file: OpenFile, data: bytes, *, skipping: bool) -> None:
        """`data`, which came next, is stored."""
        file.position = replace(file.position.advanced(data, skipping=skipping),
                                modified_ns=os.fstat(file.handle).st_mtime_ns)
        file.quiet_since_ms = self._clock.now_ms()
        self._dirty = True

    def identify(self, file: OpenFile) -> bool:
        """Whether its first line is known, by which a copy of it is known too, also after a crash."""
        if not file.position.head and (head := read_head(file.handle)):
            file.position = replace(file.position, head=head)
            self.save()
        return bool(file.position.head)

    def save(self) -> None:
        self._kept.save(self._positions())
        self._dirty = False
        self._saved_at_ms = self._clock.now_ms()

    def save_when_due(self) -> None:
        if self._dirty and self._clock.now_ms() - self._saved_at_ms >= self._settings.save_ms:
            self.save()

    def close(self) -> None:
        self.save()
        for file in self._files.values():
            os.close(file.handle)
        self._files.clear()

    def _positions(self) -> list[Position]:
        live = [file.position for file in self._files.values()]
        return [*(position for key, position in self._saved.items() if key not in self._files), *live]

    # ------------------------------------------------------------ what is there

    def look(self) -> None:
        """Open what is new, go on with what moved, begin anew what was truncated."""
        named, beyond = named_files(self._settings.paths, self._settings.max_files)
        if beyond:
            self._telemetry.dropped("tail", "too many files", beyond)
        fresh = []
        for file in self._files.values():
            file.named = False
        for key, path in named.items():
            known = self._files.get(key)
            if known is not None:
                known.named = True
                if known.position.path != path:
                    known.position = replace(known.position, path=path)
            else:
                fresh.append((key, path))
        for file in self.all():
            self._check_truncated(file)
        if self._first:
            self._find_moved({key for key, _ in fresh})
        for key, path in fresh:  # originals before their copies
            if key in self._saved:
                self._open_new(key, path)
        self._read_missed(named)
        for key, path in fresh:
            if key not in self._files:
                self._open_new(key, path)
        self._first = False

    def _open_new(self, key: tuple[int, int], path: str) -> None:
        """A file that is not open yet: known from before, a copy of one that is, or new."""
        saved = self._saved.get(key)
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            self.last_error = f"{path} cannot be read: {error.strerror}; give this user the right to read it"
            self._telemetry.dropped("tail", "unreadable file")
            return
        status = os.fstat(handle)
        if (status.st_dev, status.st_ino) != key or key in self._files:
            os.close(handle)  # renamed under our hands: the next look sees it
            return
        head = read_head(handle)
        keep = False
        if saved is not None and saved.matches(handle) and status.st_size >= saved.offset:
            keep = not (saved.finished and status.st_size == saved.offset)
            position = replace(saved, path=path, finished=False)
        elif saved is not None:  # truncated while we were down, or the inode is used again
            keep = True
            if not saved.finished:
                self._left_behind(saved)
            position = replace(saved, path=path, finished=False).began_anew(head)
        elif not head or self._is_copy(handle, path):
            position = Position.begin(path, key, head)
        elif (ended := self._finished_twin(handle, path, status.st_size)) is not None:
            keep = status.st_size > ended.offset
            position = replace(ended, path=path, device=key[0], inode=key[1], finished=False)
        else:
            keep = True
            # What is rotated away later is younger than this, also if we crash before a line of it is stored.
            position = replace(Position.begin(path, key, head), modified_ns=status.st_mtime_ns)
            if self._settings.from_end and self._first and not self._saved:
                position = position.at_last_line_end(handle, status.st_size)
        if not keep:
            os.close(handle)
            return
        self._files[key] = OpenFile(handle, position, self._clock.now_ms())
        self.save()  # its identity must outlive us before its first line does

    def _is_copy(self, handle: int, path: str) -> bool:
        return any(
            is_sibling(file.position.path, path) and is_copy_of(handle, file.position, file.handle)
            for file in self._files.values()
        )

    def _finished_twin(self, handle: int, path: str, size: int) -> Position | None:
        """The position of a file that is gone and that this one is a copy of (moved between file systems)."""
        for position in self._saved.values():
            if 0 < position.offset <= size and position.head and is_sibling(position.path, path) and (
                position.matches(handle)
            ):
                return position
        return None

    # ------------------------------------------------------------ what rotation did

    def _find_moved(self, named: set[tuple[int, int]]) -> None:
        """At the start: files that were renamed away while we were down still have lines for us."""
        for position in list(self._saved.values()):
            if position.finished or position.key in named or position.key in self._files:
                continue
            path = find_inode(position)
            if path is not None:
                self._resume(path, position)
            elif (copy := find_copy(position)) is not None:
                self._drain_copy(position, copy)
            else:
                self._saved.pop(position.key)

    def _resume(self, path: str, position: Position) -> None:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            return
        if position.matches(handle) and os.fstat(handle).st_size >= position.offset:
            self._files[position.key] = OpenFile(handle, position, self._clock.now_ms(), named=False, draining=True)
        else:
            os.close(handle)

    def _read_missed(self, named: dict[tuple[int, int], str]) -> None:
        """Where a folder changed: rotated files of a followed name that came and went between two looks.

        They are younger than what we last read under that name: what was there before our first start stays unread.
        """
        newest: dict[str, int] = {}
        for position in self._positions():
            newest[position.path] = max(newest.get(position.path, 0), position.modified_ns)
        for path, modified_ns in newest.items():
            folder = str(Path(path).parent)
            try:
                changed_ns = Path(folder).stat().st_mtime_ns
            except OSError:
                continue
            if self._folders.get(path) == changed_ns:
                continue
            if self._clock.now_ms() - changed_ns // 1_000_000 > _SETTLED_MS:  # its time has a coarse grain
                self._folders[path] = changed_ns
            for beside, status in siblings(path):
                found = status.st_dev, status.st_ino
                known = found in self._files or found in self._saved or found in named
                if not known and status.st_mtime_ns >= modified_ns > 0:
                    self._open_missed(beside, found)

    def _open_missed(self, path: str, key: tuple[int, int]) -> None:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            head = read_head(handle)
            if not head or self._is_copy(handle, path) or (
                self._finished_twin(handle, path, os.fstat(handle).st_size) is not None
            ):
                os.close(handle)
                self._folders.clear()  # look again: it may grow, or its original may be truncated
                return
            self._files[key] = OpenFile(handle, Position.begin(path, key, head), self._clock.now_ms(), named=False)
            self.save()

    def _check_truncated(self, file: OpenFile) -> None:
        """A file that is shorter than our position, or another one there: begin anew, and read its copy to the end."""
        if file.size >= file.position.offset and file.intact():
            self.identify(file)
            return
        self._left_behind(file.position)
        file.draining = False
        file.position = file.position.began_anew(read_head(file.handle))
        self.save()

    def _left_behind(self, position: Position) -> None:
        """What was in a truncated file beyond our position is in its copy, if there is one."""
        copy = find_copy(position)
        if copy is not None:
            self._drain_copy(position, copy)
        else:
            self._telemetry.dropped("tail", "truncated, no copy found")

    def _drain_copy(self, position: Position, copy: tuple[str, os.stat_result]) -> None:
        path, status = copy
        key = status.st_dev, status.st_ino
        if key in self._files:
            return
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            # Under the copy's key, but of the original's origin: its lines have the original's uids.
            left = replace(position, device=key[0], inode=key[1])
            self._files[key] = OpenFile(handle, left, self._clock.now_ms(), named=False, draining=True)

    # ------------------------------------------------------------ what is over

    def over(self) -> Iterator[OpenFile]:
        """What is gone and has been silent for long enough: to be `let_go` once the rest of it is stored."""
        now_ms = self._clock.now_ms()
        for file in self.all():
            if file.named and not file.draining:
                continue
            patience = 0 if file.draining and file.size <= file.position.offset else self._settings.linger_ms
            if now_ms - file.quiet_since_ms >= patience:
                yield file

    def let_go(self, file: OpenFile) -> None:
        key = file.position.key
        os.close(file.handle)
        del self._files[key]
        self._saved.pop(key, None)
        self._saved[key] = replace(file.position, finished=True)
        while len(self._saved) > 2 * self._settings.max_files:
            del self._saved[next(iter(self._saved))]
        self._dirty = True
