"""What a spool keeps, read back: whole stretches for an index or a sink, single entries for an answer.

Readers need no lock of the spool's: blocks on the disk never change, and a segment may go while it is read.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from observe.errors import StorageError
from observe.store import blocks
from observe.store.segment import Segment
from observe.telemetry import Telemetry

logger = logging.getLogger(__name__)

_BLOCKS_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive entries as they are read back."""

    first_seq: int
    entries: list[bytes]
    segment: Segment

    @property
    def end_seq(self) -> int:
        return self.first_seq + len(self.entries)


class SpoolReader:
    """Reads segments; what is damaged is left out, counted and told. From any thread."""

    def __init__(self, name: str, telemetry: Telemetry) -> None:
        self._name = name
        self._telemetry = telemetry
        self._blocks: OrderedDict[tuple[Path, int], tuple[blocks.BlockHead, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, segments: Iterable[Segment], from_seq: int) -> Iterator[Chunk]:
        """Entries from a sequence number on, in order, as far as they are on the disk now."""
        for segment in segments:
            toc = segment.toc
            begin = int(np.searchsorted(toc["first_seq"] + toc["count"], from_seq, side="right"))
            for row in range(begin, len(toc)):
                first = int(toc["first_seq"][row])
                try:
                    head, body = segment.block(row)
                    entries = blocks.entries_of(head, body)
                except (StorageError, OSError) as error:
                    self._unreadable(segment, error)
                    continue
                skip = max(0, from_seq - first)
                yield Chunk(first + skip, entries[skip:], segment)

    def fetch(self, segment: Segment, seqs: Sequence[int]) -> dict[int, bytes]:
        """Single entries of one segment by sequence number."""
        rows = segment.rows_of(seqs)
        found: dict[int, bytes] = {}
        for row in sorted(set(rows.tolist()) - {-1}):
            wanted = [seq for seq, place in zip(seqs, rows.tolist(), strict=True) if place == row]
            try:
                head, body = self._block(segment, row)
                entries = blocks.entries_of(head, body, [seq - head.first_seq for seq in wanted])
            except (StorageError, OSError) as error:
                self._unreadable(segment, error)
                continue
            found.update(zip(wanted, entries, strict=True))
        return found

    def _block(self, segment: Segment, row: int) -> tuple[blocks.BlockHead, bytes]:
        """A block, from the few that were read last."""
        name = (segment.folder, row)
        with self._lock:
            if name in self._blocks:
                self._blocks.move_to_end(name)
                return self._blocks[name]
        block = segment.block(row)
        with self._lock:
            self._blocks[name] = block
            while len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return block

    def _unreadable(self, segment: Segment, error: Exception) -> None:
        if not segment.folder.exists():
            return  # its time was over while it was read
        self._telemetry.dropped(f"spool {self._name}", "damaged block")
        logger.error("%s: %s", self._name, error)
