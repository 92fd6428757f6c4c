"""Follow log files line by line into a sink: nothing lost, nothing twice by uid.

A line is handed to the sink first and its position kept after: a crash between the two repeats lines, under the same
uids (file identity, generation and offset), which the stores know. Files may be renamed, copied and truncated, deleted,
and their inodes used again while we read or while we are down.
"""

import contextlib
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from observe.clock import Clock
from observe.collect.log_line import read_line
from observe.collect.tail_files import find_copy, find_inode, is_copy_of, is_sibling, named_files, siblings
from observe.collect.tail_position import Position, PositionFile, read_head
from observe.errors import LimitExceeded, StorageError, Unavailable
from observe.model import LogRecord
from observe.protocols import SignalSink
from observe.telemetry import Telemetry

_CUT: Final = "… (cut)"
_SETTLED_MS: Final = 2000


@dataclass(frozen=True, slots=True)
class TailSettings:
    """What to follow, and its bounds."""

    paths: tuple[str, ...]
    """Globs; ``**`` crosses folders. Compressed files are left out."""
    service: str = ""
    """Of lines that name none; empty: the file's name up to its first dot."""
    from_end: bool = False
    """Files that exist at the very first start: only what is written to them afterwards."""
    poll_ms: int = 250
    max_line_bytes: int = 1024 * 1024
    """A longer line is cut, and counted."""
    read_bytes: int = 1024 * 1024
    max_files: int = 1000
    linger_ms: int = 300_000
    """A file that is gone is read on for so long after its last growth: its writer may still have it open."""
    save_ms: int = 1000
    longest_wait_ms: int = 10_000


@dataclass(slots=True)
class _Open:
    """A file being read."""

    handle: int
    position: Position
    quiet_since_ms: int
    named: bool = True
    """The globs still name it."""
    draining: bool = False
    """It will not grow: what a rotation left behind."""


class FileTail:
    """Follows the files of one `TailSettings` on a thread of its own; `poll` is one round of it."""

    def __init__(
        self, settings: TailSettings, sink: SignalSink, folder: Path, clock: Clock, telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._clock = clock
        self._telemetry = telemetry
        self._positions = PositionFile(folder, settings.paths)
        self._saved, self.complaints = self._positions.load()
        if self.complaints:
            telemetry.dropped("tail", "position file unreadable", len(self.complaints))
        self._files: dict[tuple[int, int], _Open] = {}
        self._folders: dict[str, int] = {}
        """Followed name -> its folder's time of change when we last looked for its siblings."""
        self._dirty = False
        self._saved_at_ms = 0
        self._first = True
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.last_error = ""
        self._lines = telemetry.counter("observe_tail_lines_total", "Log lines read from files and stored.")
        self._retries = telemetry.counter("observe_tail_retries_total", "Batches that the sink refused for now.")

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="observe-tail", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop reading and keep the positions."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        else:
            self.close()

    def close(self) -> None:
        self._save()
        for file in self._files.values():
            os.close(file.handle)
        self._files.clear()

    def _run(self) -> None:
        wait_ms = self._settings.poll_ms
        while not self._stop.is_set():
            try:
                busy = self.poll()
                wait_ms = 0 if busy else self._settings.poll_ms
                self.last_error = ""
            except (LimitExceeded, StorageError, Unavailable, OSError) as error:
                self._retries.inc()
                self.last_error = str(error)
                wait_ms = min(max(wait_ms, self._settings.poll_ms) * 2, self._settings.longest_wait_ms)
            if wait_ms:
                self._clock.wait(self._stop, wait_ms / 1000)
        with contextlib.suppress(OSError):  # a full disk: the lines come again, under the same uids
            self.close()

    def poll(self) -> bool:
        """Look at the files once and store what is new, a bounded part of each. True: there may be more at once.

        Raises what the sink raises; nothing is lost by it, the same lines come again.
        """
        self._look()
        busy = False
        for key in list(self._files):
            file = self._files[key]
            busy = self._read(file) or busy
        self._let_go()
        if self._dirty and self._clock.now_ms() - self._saved_at_ms >= self._settings.save_ms:
            self._save()
        return busy

    # ------------------------------------------------------------ which files

    def _look(self) -> None:
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
        for file in list(self._files.values()):
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

    def _find_moved(self, named: set[tuple[int, int]]) -> None:
        """At the start: files that were renamed away while we were down still have lines for us."""
        for position in list(self._saved.values()):
            if position.finished or position.key in named or position.key in self._files:
                continue
            path = find_inode(position)
            if path is not None:
                self._resume(path, position, draining=True)
            elif (copy := find_copy(position)) is not None:
                self._drain_copy(position, copy)
            else:
                self._saved.pop(position.key)

    def _resume(self, path: str, position: Position, *, draining: bool) -> None:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            return
        if position.matches(handle) and os.fstat(handle).st_size >= position.offset:
            self._files[position.key] = _Open(handle, position, self._clock.now_ms(), not draining, draining)
        else:
            os.close(handle)

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
            position = _began_anew(replace(saved, path=path, finished=False), head)
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
                end = _last_line_end(handle, status.st_size)
                tail = os.pread(handle, 64, max(0, end - 64))[: min(64, end)]
                position = replace(position, offset=end, tail=tail)
        if not keep:
            os.close(handle)
            return
        self._files[key] = _Open(handle, position, self._clock.now_ms())
        self._save()  # its identity must outlive us before its first line does

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

    def _read_missed(self, named: dict[tuple[int, int], str]) -> None:
        """Where a folder changed: rotated files of a followed name that came and went between two looks.

        They are younger than what we last read under that name: what was there before our first start stays unread.
        """
        newest: dict[str, int] = {}
        for position in self._all_positions():
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
            self._files[key] = _Open(handle, Position.begin(path, key, head), self._clock.now_ms(), named=False)
            self._save()

    def _check_truncated(self, file: _Open) -> None:
        """A file that is shorter than our position, or another one there: begin anew, and read its copy to the end."""
        position = file.position
        if os.fstat(file.handle).st_size >= position.offset and position.matches(file.handle):
            if not position.head and (head := read_head(file.handle)):
                file.position = replace(position, head=head)
                self._save()  # by it a copy is known, also after a crash
            return
        self._left_behind(position)
        file.draining = False
        file.position = _began_anew(position, read_head(file.handle))
        self._save()

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
            self._files[key] = _Open(handle, left, self._clock.now_ms(), named=False, draining=True)

    def _let_go(self) -> None:
        """Close what is gone and has been silent for long enough."""
        now_ms = self._clock.now_ms()
        for key, file in list(self._files.items()):
            if file.named and not file.draining:
                continue
            at_end = os.fstat(file.handle).st_size <= file.position.offset
            patience = 0 if file.draining and at_end else self._settings.linger_ms
            if now_ms - file.quiet_since_ms < patience:
                continue
            if not at_end:
                self._store_rest(file)
            os.close(file.handle)
            del self._files[key]
            self._saved.pop(key, None)
            self._saved[key] = replace(file.position, finished=True)
            while len(self._saved) > 2 * self._settings.max_files:
                del self._saved[next(iter(self._saved))]
            self._dirty = True

    # ------------------------------------------------------------ lines

    def _read(self, file: _Open) -> bool:
        """Store the next part of a file. True: it was a whole part, there may be more."""
        position = file.position
        most = max(self._settings.read_bytes, self._settings.max_line_bytes)
        data = os.pread(file.handle, most, position.offset)
        if not data:
            return False
        if not position.head:
            position = file.position = replace(position, head=read_head(file.handle))
            if not position.head:
                return False
            self._save()
        whole = data[: data.rfind(b"\n") + 1]
        cut = b""
        if not whole and len(data) >= self._settings.max_line_bytes:
            cut = data  # the beginning of a line beyond all bounds
        if not (whole or cut) or not position.matches(file.handle):
            return False  # half a line; or truncated while we read: the next look finds out
        self._store(file, whole or cut, skipping=bool(cut))
        return len(data) == most

    def _store(self, file: _Open, data: bytes, *, skipping: bool) -> None:
        position = file.position
        now_ns = self._clock.now_ms() * 1_000_000
        service = self._settings.service or Path(position.path).name.partition(".")[0]
        records: list[LogRecord] = []
        at = position.offset
        first = True
        plain = 0
        for line in data.split(b"\n")[:-1] if not skipping else [data]:
            start, at = at, at + len(line) + 1
            if first and position.skipping:
                first = False
                continue
            first = False
            stripped = line.lstrip(b"\0").rstrip()  # a writer without O_APPEND leaves a hole after truncation
            if not stripped:
                continue
            record, is_json = self._record(stripped, service, f"{position.identity}:{start}", now_ns)
            plain += not is_json
            records.append(record)
        if records:
            self._sink.append(records, ())
            self._lines.inc(len(records))
        if plain:
            self._telemetry.dropped("tail", "not JSON, kept as text", plain)
        file.position = replace(position.advanced(data, skipping=skipping),
                                modified_ns=os.fstat(file.handle).st_mtime_ns)
        file.quiet_since_ms = self._clock.now_ms()
        self._dirty = True

    def _record(self, line: bytes, service: str, uid: str, now_ns: int) -> tuple[LogRecord, bool]:
        limit = self._settings.max_line_bytes
        if len(line) < limit:
            return read_line(line, service=service, uid=uid, now_ns=now_ns)
        self._telemetry.dropped("tail", "line cut")
        record, is_json = read_line(line[:limit], service=service, uid=uid, now_ns=now_ns)
        return replace(record, message=record.message + _CUT), is_json

    def _store_rest(self, file: _Open) -> None:
        """The last line of a file that is gone may lack its end."""
        rest = os.pread(file.handle, self._settings.max_line_bytes, file.position.offset)
        if rest and b"\n" not in rest and file.position.head and file.position.matches(file.handle):
            self._store(file, rest, skipping=True)

    def _all_positions(self) -> list[Position]:
        live = [file.position for file in self._files.values()]
        return [*(position for key, position in self._saved.items() if key not in self._files), *live]

    def _save(self) -> None:
        self._positions.save(self._all_positions())
        self._dirty = False
        self._saved_at_ms = self._clock.now_ms()


def _began_anew(position: Position, head: bytes) -> Position:
    """The same inode with other content: other uids from here on."""
    return replace(position, head=head, generation=position.generation + 1, offset=0, tail=b"", skipping=False)


def _last_line_end(handle: int, size: int) -> int:
    """Where the last complete line of a file ends."""
    at = size
    while at > 0:
        start = max(0, at - 65536)
        found = os.pread(handle, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0
