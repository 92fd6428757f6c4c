"""Which files a tail reads: what the globs name, and where rotated or copied parts of them went.

Rotation by rename keeps the inode, so an open file is simply read on. Rotation by copy and truncation leaves what was
not read yet in the copy: it is found by its first line and by the bytes before our position.
"""

import contextlib
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from observe.collect.tail_handle import Opened
from observe.collect.tail_position import Position, read_head

_ROTATED: Final = re.compile(r"[-._]\d[\dTZ:._+-]*(?=\.[A-Za-z]|$)|\.(?:old|bak|prev)$")
"""The part of a name that rotation adds: ``.1``, ``-20260131``, ``.2026-01-31T00:00:00``, ``.old``."""
_COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".tmp")


def named_files(patterns: Iterable[str], most: int) -> tuple[dict[tuple[int, int], str], int]:
    """(device, inode) -> path of the regular files that the globs name, and how many were beyond `most`."""
    found: dict[tuple[int, int], str] = {}
    beyond = 0
    for pattern in patterns:
        for path in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - a pattern may be absolute
            status = _status(path)
            if status is None or path.endswith(_COMPRESSED):
                continue
            key = status.st_dev, status.st_ino
            if key in found:
                continue
            if len(found) >= most:
                beyond += 1
            else:
                found[key] = path
    return found, beyond


def changed_at_ns(folder: str) -> int | None:
    """When something last came to or left a folder; None where it is gone."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return None


def siblings(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Files beside `path` that rotation may have made of it: ``app.log`` -> ``app.log.1``, ``app-2026-01-31.log``."""
    here = Path(path)
    try:
        names = sorted(found.name for found in here.parent.iterdir())
    except OSError:
        return
    for name in names:
        beside = str(here.parent / name)
        if _is_rotated_name(here.name, name) and (status := _status(beside)) is not None:
            yield beside, status


def is_sibling(path: str, other: str) -> bool:
    one, two = Path(path), Path(other)
    return one.parent == two.parent and _is_rotated_name(one.name, two.name)


def _is_rotated_name(name: str, other: str) -> bool:
    """Whether `other` is `name`, or what rotation calls it: a number or a time behind it or before its extension."""
    base = _ROTATED.sub("", name)
    return not other.endswith(_COMPRESSED) and _ROTATED.sub("", other) == base


def find_inode(position: Position) -> str | None:
    """Where the file of a position is now, if it was renamed in its folder."""
    for path, status in siblings(position.path):
        if (status.st_dev, status.st_ino) == position.key:
            return path
    return None


def find_copy(position: Position) -> tuple[str, os.stat_result] | None:
    """A copy of the file as it was at this position, made before it was truncated."""
    for path, status in siblings(position.path):
        if (status.st_dev, status.st_ino) == position.key or status.st_size < position.offset:
            continue
        with contextlib.suppress(OSError), Opened(path) as found:  # what cannot be read is no copy we can use
            if position.head and position.matches(found.handle):
                return path, status
    return None


def is_copy_of(handle: int, position: Position, original: int) -> bool:
    """Whether the open file `handle` is a copy (perhaps unfinished) of the tailed file `original`.

    Its first line is the same; and either all it has is in the original too, or the original has just been truncated.
    """
    if not position.head or read_head(handle) != position.head:
        return False
    if not position.matches(original):
        return True
    size = os.fstat(handle).st_size
    span = min(size, 4096)
    return os.fstat(original).st_size >= size and (
        os.pread(handle, span, size - span) == os.pread(original, span, size - span)
    )


def _status(path: str) -> os.stat_result | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None
