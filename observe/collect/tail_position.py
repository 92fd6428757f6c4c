"""How far each tailed file has been read: by device, inode and the bytes around the position, kept over restarts.

A name says little: files are renamed, copied, truncated and their inodes used again. So a `Position` remembers the
first line of its file and the last bytes before the offset; a file that does not have them is another one.
"""

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from observe.durable import write_file

HEAD_BYTES: Final = 1024
TAIL_BYTES: Final = 64
_VERSION: Final = 1
_KEEP_FINISHED: Final = 1000


@dataclass(frozen=True, slots=True)
class Position:
    """Everything before `offset` is stored."""

    path: str
    device: int
    inode: int
    head: bytes
    """The first line, at most `HEAD_BYTES` of it; empty while a truncated file has none."""
    origin: str
    """Where its first line came from; a copy that is read in its place keeps it."""
    generation: int = 0
    """How often the file began anew at the same inode."""
    offset: int = 0
    tail: bytes = b""
    """The bytes just before `offset`."""
    skipping: bool = False
    """Inside a line that was too long: the rest of it, up to its end, is left out."""
    modified_ns: int = 0
    finished: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return self.device, self.inode

    @property
    def identity(self) -> str:
        """What the uids of this file's lines begin with."""
        return f"file:{self.origin}:{self.generation}"

    @classmethod
    def begin(cls, path: str, key: tuple[int, int], head: bytes) -> "Position":
        """The beginning of a file never seen before."""
        digest = hashlib.blake2b(f"{key[0]}:{key[1]}:".encode() + head, digest_size=8)
        return cls(path, *key, head, digest.hexdigest())

    def matches(self, handle: int) -> bool:
        """Whether the open file has the bytes that this position remembers."""
        return (
            os.pread(handle, len(self.head), 0) == self.head
            and os.pread(handle, len(self.tail), self.offset - len(self.tail)) == self.tail
        )

    def still_in(self, handle: int) -> bool:
        """Whether the open file is the one that this position was taken in, and still reaches as far."""
        return os.fstat(handle).st_size >= self.offset and self.matches(handle)

    def advanced(self, data: bytes, *, skipping: bool) -> "Position":
        """After `data`, the next bytes of the file, has been stored."""
        return replace(self, offset=self.offset + len(data), tail=(self.tail + data[-TAIL_BYTES:])[-TAIL_BYTES:],
                       skipping=skipping)

    def began_anew(self, head: bytes) -> "Position":
        """The same inode with other content: other uids from here on."""
        return replace(self, head=head, generation=self.generation + 1, offset=0, tail=b"", skipping=False)

    def at_last_line_end(self, handle: int, size: int) -> "Position":
        """Where the last complete line of the open file ends, `size` bytes of which are looked at."""
        end = _last_line_end(handle, size)
        tail = os.pread(handle, TAIL_BYTES, max(0, end - TAIL_BYTES))[: min(TAIL_BYTES, end)]
        return replace(self, offset=end, tail=tail)


def _last_line_end(handle: int, size: int) -> int:
    at = size
    while at > 0:
        start = max(0, at - 65536)
        found = os.pread(handle, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def read_head(handle: int) -> bytes:
    """The first line of a file, or as much as identifies it; empty while it has no complete line."""
    start = os.pread(handle, HEAD_BYTES, 0)
    end = start.find(b"\n")
    if end >= 0:
        return start[: end + 1]
    return start if len(start) == HEAD_BYTES else b""


class PositionFile:
    """The positions of one tail, in one file. Those of other tails are read too: a file may change hands on reload."""

    def __init__(self, folder: Path, paths: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.blake2b("\0".join(sorted(paths)).encode(), digest_size=8).hexdigest()
        self._path = folder / f"positions-{name}.json"

    def load(self) -> tuple[dict[tuple[int, int], Position], list[str]]:
        """Saved positions, and complaints about files that cannot be read."""
        found: dict[tuple[int, int], Position] = {}
        complaints = []
        others = [path for path in sorted(self._path.parent.glob("positions-*.json")) if path != self._path]
        for path in [*others, self._path]:
            try:
                positions = _positions(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                complaints.append(f"{path} cannot be read ({error}); its files are read from their beginning, and what "
                                  "is stored already is known by its uid")
                continue
            found.update({position.key: position for position in positions})
        return found, complaints

    def save(self, positions: list[Position]) -> None:
        live = [position for position in positions if not position.finished]
        finished = [position for position in positions if position.finished]
        entries = [_entry(position) for position in [*finished[-_KEEP_FINISHED:], *live]]
        write_file(self._path, json.dumps({"version": _VERSION, "files": entries}).encode())


def _positions(data: bytes) -> list[Position]:
    entries = json.loads(data)
    if entries["version"] != _VERSION:
        raise ValueError(f"it is of version {entries['version']}, not {_VERSION}")
    return [_position(entry) for entry in entries["files"]]


def _entry(position: Position) -> dict[str, Any]:
    entry = asdict(position)
    for name in ("head", "tail"):
        entry[name] = base64.b64encode(entry[name]).decode()
    return entry


def _position(entry: dict[str, Any]) -> Position:
    return Position(**{
        **entry, "head": base64.b64decode(entry["head"]), "tail": base64.b64decode(entry["tail"]),
    })
