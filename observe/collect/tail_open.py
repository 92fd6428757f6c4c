"""The files that a tail has open, through everything that happens to them.

Files may be renamed, copied and truncated, deleted, and their inodes used again while we read or while we are down.
`look` finds out; what a rotation left behind is read to its end, and a file is let go when it is gone and silent.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from observe.clock import Clock
from observe.collect.tail_begin import is_known, where_to_begin
from observe.collect.tail_files import changed_at_ns, find_copy, find_inode, named_files, siblings
from observe.collect.tail_handle import Opened, OpenFile
from observe.collect.tail_position import Position, PositionFile, read_head
from observe.collect.tail_settings import TailSettings
from observe.errors import StorageError
from observe.telemetry import Telemetry

_log = logging.getLogger(__name__)
_SETTLED_MS: Final = 2000


class OpenFiles:
    """What one tail reads now, and how far. Of one thread. Positions are kept in `kept`."""

    def __init__(self, settings: TailSettings, kept: PositionFile, clock: Clock, telemetry: Telemetry) -> None:
        self._settings = settings
        self._kept = kept
        self._clock = clock
        self._telemetry = telemetry
        self._saved, self.complaints = kept.load()
        for complaint in self.complaints:
            _log.warning(complaint)
            telemetry.dropped("tail", "position file unreadable")
        self._files: dict[tuple[int, int], OpenFile] = {}
        self._folders: dict[str, int] = {}
        """Followed name -> its folder's time of change when we last looked for its siblings."""
        self._dirty = False
        self._saved_at_ms = 0
        self._first = True
        self._told: dict[str, str] = {}
        """Path -> what was said of it last."""

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
        """Keep the positions on the disk. Raises `StorageError`; then lines may come again, under the same uids."""
        try:
            self._kept.save(self._positions())
        except OSError as error:
            raise StorageError(f"cannot keep how far files have been read: {error}; free space there") from error
        self._dirty = False
        self._saved_at_ms = self._clock.now_ms()

    def save_when_due(self) -> None:
        if self._dirty and self._clock.now_ms() - self._saved_at_ms >= self._settings.save_ms:
            self.save()

    def close(self) -> None:
        try:
            self.save()
        finally:
            for file in self._files.values():
                os.close(file.handle)
            self._files.clear()

    @contextlib.contextmanager
    def alone(self, path: str) -> Iterator[None]:
        """What goes wrong with one file is counted, told once, and stops no other; it is tried again."""
        try:
            yield
        except OSError as error:
            self._telemetry.dropped("tail", "unreadable file")
            why = error.strerror or str(error)
            if self._told.get(path) != why:
                if len(self._told) >= self._settings.max_files:
                    self._told.clear()
                self._told[path] = why
                _log.warning("%s cannot be read: %s; give this user the right to read it, or mend its disk", path, why)

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
            with self.alone(file.position.path):
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
        """Open a file, if there is something to read in it for us."""
        with self.alone(path), Opened(path) as opened:
            status = os.fstat(opened.handle)
            if (status.st_dev, status.st_ino) != key or key in self._files:
                return  # renamed under our hands: the next look sees it
            saved = self._saved.get(key)
            if saved is not None and not saved.finished and not saved.still_in(opened.handle):
                self._left_behind(saved)
            position = where_to_begin(
                opened.handle, path, status, self._saved, self.all(),
                at_end=self._settings.from_end and self._first and not self._saved)
            if position is not None:
                self._files[key] = OpenFile(opened.keep(), position, self._clock.now_ms())
                self.save()  # its identity must outlive us before its first line does

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
        with self.alone(path), Opened(path) as opened:
            if position.still_in(opened.handle):
                self._files[position.key] = OpenFile(
                    opened.keep(), position, self._clock.now_ms(), named=False, draining=True)

    def _read_missed(self, named: dict[tuple[int, int], str]) -> None:
        """Where a folder changed: rotated files of a followed name that came and went between two looks.

        They are younger than what we last read under that name: what was there before our first start stays unread.
        """
        newest: dict[str, int] = {}
        for position in self._positions():
            newest[position.path] = max(newest.get(position.path, 0), position.modified_ns)
        self._folders = {path: changed_ns for path, changed_ns in self._folders.items() if path in newest}
        folders = {path: os.path.dirname(path) for path in newest}  # noqa: PTH120 - ten times as fast
        changes = {folder: changed_at_ns(folder) for folder in set(folders.values())}
        for path, modified_ns in newest.items():
            changed_ns = changes[folders[path]]
            if changed_ns is None or self._folders.get(path) == changed_ns:
                continue
            if self._clock.now_ms() - changed_ns // 1_000_000 > _SETTLED_MS:  # its time has a coarse grain
                self._folders[path] = changed_ns
            for beside, status in siblings(path):
                found = status.st_dev, status.st_ino
                known = found in self._files or found in self._saved or found in named
                if not known and status.st_mtime_ns >= modified_ns > 0:
                    self._open_missed(beside, found)

    def _open_missed(self, path: str, key: tuple[int, int]) -> None:
        with self.alone(path), Opened(path) as opened:
            if is_known(opened.handle, path, self._saved, self.all()):
                self._folders.clear()  # look again: it may grow, or its original may be truncated
                return
            position = Position.begin(path, key, read_head(opened.handle))
            self._files[key] = OpenFile(opened.keep(), position, self._clock.now_ms(), named=False)
            self.save()

    def _check_truncated(self, file: OpenFile) -> None:
        """A file that is shorter than our position, or another one there: begin anew, and read its copy to the end."""
        if file.position.still_in(file.handle):
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
        with self.alone(path), Opened(path) as opened:
            # Under the copy's key, but of the original's origin: its lines have the original's uids.
            left = replace(position, device=key[0], inode=key[1])
            self._files[key] = OpenFile(opened.keep(), left, self._clock.now_ms(), named=False, draining=True)

    # ------------------------------------------------------------ what is over

    def over(self) -> Iterator[OpenFile]:
        """What is gone and has been silent for long enough: to be `let_go` once the rest of it is stored."""
        now_ms = self._clock.now_ms()
        for file in self.all():
            if file.named and not file.draining:
                continue
            patience = 0 if file.draining and file.at_end() else self._settings.linger_ms
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
