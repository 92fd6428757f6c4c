"""Where to begin in a file that is not open yet: known from before, a copy of one that is read, or new."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace

from observe.collect.tail_files import is_copy_of, is_sibling
from observe.collect.tail_handle import OpenFile
from observe.collect.tail_position import Position, read_head


def where_to_begin(
    handle: int, path: str, status: os.stat_result, saved: Mapping[tuple[int, int], Position],
    files: Iterable[OpenFile], *, at_end: bool,
) -> Position | None:
    """The position for an open file; None where there is nothing in it for us. `saved`: positions by device and inode.

    `files` are those that are read now; `at_end`: what a new file holds already is not wanted.
    """
    key = status.st_dev, status.st_ino
    head = read_head(handle)
    known = saved.get(key)
    if known is not None:
        if not known.still_in(handle):  # truncated while we were down, or the inode is used again
            return replace(known, path=path, finished=False).began_anew(head)
        read = known.finished and status.st_size == known.offset
        return None if read else replace(known, path=path, finished=False)
    if not head or _is_copy(handle, path, files):
        return None
    if (ended := _finished_twin(handle, path, status.st_size, saved)) is not None:
        grown = status.st_size > ended.offset
        return replace(ended, path=path, device=key[0], inode=key[1], finished=False) if grown else None
    # What is rotated away later is younger than this, also if we crash before a line of it is stored.
    position = replace(Position.begin(path, key, head), modified_ns=status.st_mtime_ns)
    return position.at_last_line_end(handle, status.st_size) if at_end else position


def is_known(
    handle: int, path: str, saved: Mapping[tuple[int, int], Position], files: Iterable[OpenFile],
) -> bool:
    """Whether an open file has nothing that we have not read, or are reading, elsewhere; or has no line yet."""
    return (
        not read_head(handle) or _is_copy(handle, path, files)
        or _finished_twin(handle, path, os.fstat(handle).st_size, saved) is not None
    )


def _is_copy(handle: int, path: str, files: Iterable[OpenFile]) -> bool:
    return any(
        is_sibling(file.position.path, path) and is_copy_of(handle, file.position, file.handle) for file in files
    )


def _finished_twin(
    handle: int, path: str, size: int, saved: Mapping[tuple[int, int], Position],
) -> Position | None:
    """The position of a file that is gone and that this one is a copy of (moved between file systems)."""
    for position in saved.values():
        if 0 < position.offset <= size and position.head and is_sibling(position.path, path) and (
            position.matches(handle)
        ):
            return position
    return None
