"""One segment of a spool: a folder whose `data` file only grows, and which is dropped whole.

``data`` holds blocks; ``toc`` and ``keys`` are written when the segment is sealed and can be made again from `data`, as
can anything that others keep in the folder (the full-text index does).
"""

import mmap
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe import durable
from observe.errors import StorageError
from observe.store import blocks
from observe.store.blocks import HEADER_BYTES, BlockHead, Damage

_TOC_ROW: Final = np.dtype([(name, "<i8") for name in ("offset", "first_seq", "count", "oldest", "newest")])


@dataclass(slots=True, eq=False)
class Segment:
    """What is known of one segment. Rows of the table of contents are in the order of their sequence numbers."""

    folder: Path
    first_seq: int
    size: int = 0
    oldest_ns: int = 2**63 - 1
    newest_ns: int = -(2**63)
    entries: int = 0
    sealed: bool = False
    heads: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    """The table of contents of the active segment; a sealed one reads its file."""
    _toc: "NDArray[np.void] | None" = None

    @property
    def path(self) -> Path:
        return self.folder / "data"

    def note(self, head: BlockHead) -> None:
        """Take a block that now stands in `data` into the table of contents."""
        self.heads.append((head.offset, head.first_seq, head.count, head.oldest_ns, head.newest_ns))
        self.size = head.end
        self._span(head.oldest_ns, head.newest_ns, head.count)

    def _span(self, oldest_ns: int, newest_ns: int, count: int) -> None:
        self.oldest_ns = min(self.oldest_ns, oldest_ns)
        self.newest_ns = max(self.newest_ns, newest_ns)
        self.entries += count

    @property
    def toc(self) -> NDArray[np.void]:
        """Rows of offset, first_seq, count, oldest, newest. The active segment's may grow after the call."""
        toc = self._toc
        if toc is None or (not self.sealed and len(toc) != len(self.heads)):
            toc = self._toc = np.array(self.heads, _TOC_ROW)
        return toc

    @property
    def end_seq(self) -> int:
        """One more than the highest sequence number kept here."""
        if not self.sealed:
            return self.heads[-1][1] + self.heads[-1][2] if self.heads else self.first_seq
        return int(self.toc["first_seq"][-1] + self.toc["count"][-1]) if len(self.toc) else self.first_seq

    def seal(self, keys: NDArray[np.uint64]) -> None:
        """Write down what is in the segment; no more is appended to it."""
        self._toc = self.toc
        toc = self._toc.tobytes()
        durable.write_file(self.folder / "keys", keys.tobytes())
        durable.write_file(self.folder / "toc", zlib.crc32(toc).to_bytes(4, "little") + toc)
        self.sealed = True
        self.heads = []

    def load_toc(self) -> bool:
        """Take over the sealed table of contents; False where it is missing or does not fit (then scan)."""
        try:
            raw = (self.folder / "toc").read_bytes()
            size = self.path.stat().st_size
        except OSError:
            return False
        if len(raw) < 4 + _TOC_ROW.itemsize or int.from_bytes(raw[:4], "little") != zlib.crc32(raw[4:]):
            return False
        toc = np.frombuffer(raw[4:], _TOC_ROW)
        self._toc, self.size, self.sealed = toc, size, True
        self._span(int(toc["oldest"].min()), int(toc["newest"].max()), int(toc["count"].sum()))
        return bool((toc["offset"] < size).all())

    def keys(self) -> NDArray[np.uint64]:
        """The ascending keys of a sealed segment, mapped rather than read."""
        path = self.folder / "keys"
        if not path.exists() or not path.stat().st_size:
            return np.empty(0, np.uint64)
        return np.memmap(path, np.uint64, mode="r")

    def scan(self) -> tuple[list[BlockHead], list[Damage], NDArray[np.uint64]]:
        """Read the whole of `data`: blocks, damage, and the keys in it."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], [], np.empty(0, np.uint64)
        heads: list[BlockHead] = []
        damages: list[Damage] = []
        keys = []
        for found in blocks.scan(data):
            if isinstance(found, Damage):
                damages.append(found)
            else:
                heads.append(found)
                keys.append(blocks.keys_of(found, data[found.offset + HEADER_BYTES : found.end]))
        return heads, damages, np.concatenate(keys) if keys else np.empty(0, np.uint64)

    def block(self, row: int) -> tuple[BlockHead, bytes]:
        """Head and body of a block, checked."""
        offset = int(self.toc["offset"][row])
        with self.path.open("rb") as file:
            file.seek(offset)
            head = blocks.head_at(file.read(HEADER_BYTES), 0, base=offset)
            body = file.read(head.body_bytes) if head is not None else b""
        if head is None or not blocks.body_is_whole(head, body):
            raise StorageError(
                f"a block of {self.path} at byte {offset} is damaged; what it held cannot be read, the rest can")
        return head, body

    def rows_of(self, seqs: Sequence[int]) -> NDArray[np.int64]:
        """The row of the table of contents that holds each sequence number; -1 where none does."""
        toc = self.toc
        wanted = np.asarray(seqs, np.int64)
        rows = np.searchsorted(toc["first_seq"], wanted, side="right") - 1
        inside = (rows >= 0) & (wanted < toc["first_seq"][rows] + toc["count"][rows])
        return np.where(inside, rows, -1)

    def disk_bytes(self) -> int:
        """Everything in the folder, with what others keep there."""
        total = 0
        for place, _, names in os.walk(self.folder):
            for name in names:
                try:
                    total += os.stat(os.path.join(place, name)).st_size  # noqa: PTH116, PTH118 - ten times as fast
                except OSError:
                    continue  # merged away while we looked
        return total

    def drop(self) -> None:
        """Remove the folder: renamed first, so that a crash leaves either all of it or rubbish with a dot."""
        doomed = self.folder.with_name(f".dropped-{self.folder.name}")
        self.folder.replace(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def set_aside(segment: Segment, damage: Damage, folder: Path) -> Path:
    """Copy damaged bytes where a person can look at them; returns the file."""
    folder.mkdir(exist_ok=True)
    target = folder / f"{segment.folder.name}-{damage.offset}.bin"
    with segment.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        durable.write_file(target, bytes(data[damage.offset : damage.end]))
    return target
