"""The blocks of a store: which there are, what they hold, and what becomes of a damaged one."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from observe.distinct import distinct
from observe.errors import LimitExceeded, StorageError
from observe.model import Labels, Matcher, Samples
from observe.store.block import Block, BlockWriter, DamagedBlock, remove_folder
from observe.store.block_index import BlockIndex
from observe.store.duck import Duck
from observe.store.postings import Ids
from observe.telemetry import Telemetry

_HOUR_MS = 3_600_000


class TooMuch(LimitExceeded):
    """A question would read more samples than are allowed."""

    def __init__(self, samples: int) -> None:
        super().__init__(
            f"the question reads at least {samples:,} samples at once; ask for fewer series or a shorter range",
            limit="storage.samples_at_once",
        )


_SAMPLES_A_READ = 3_000_000
_INDEXED_SERIES = 250_000
"""Series whose names are kept for queries that reach back; the blocks asked last stay."""


class Archive:
    """Blocks under one folder. Changed by the thread that maintains the store, read by any."""

    def __init__(self, folder: Path, duck: Duck, telemetry: Telemetry, *, repair: bool = True) -> None:
        self.folder = folder
        self._duck = duck
        self._writing = Duck(duck.memory_bytes)
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._indexes: OrderedDict[Path, BlockIndex] = OrderedDict()
        self.damaged: list[str] = []
        """What is wrong with blocks that were set aside."""
        self.blocks: tuple[Block, ...] = ()
        """Ascending by start. Replaced, never changed: a reader keeps the tuple it took."""
        self._open(repair=repair)

    def _open(self, *, repair: bool) -> None:
        found = []
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.name.startswith("."):
                if repair:
                    remove_folder(path)
                continue
            if path.is_dir() and path.suffix != ".damaged":
                try:
                    found.append(Block.open(path))
                except DamagedBlock as error:
                    self._set_aside(path, str(error), move=repair)
        replaced = {name for block in found for name in block.info.sources}
        for block in found:
            if block.path.name in replaced and repair:
                remove_folder(block.path)
        self._put(block for block in found if block.path.name not in replaced)

    def _put(self, blocks: Iterable[Block]) -> None:
        self.blocks = tuple(sorted(blocks, key=lambda block: (block.info.start_ms, block.path.name)))

    def size_bytes(self) -> int:
        return sum(block.size_bytes for block in self.blocks)

    def persisted(self) -> dict[int, int]:
        """Start of an hour -> the last segment of the log whose samples of that hour are in blocks."""
        known: dict[int, int] = {}
        for block in self.blocks:
            for start_ms in range(block.info.start_ms, block.info.end_ms, _HOUR_MS):
                known[start_ms] = max(known.get(start_ms, 0), block.info.segment)
        return known

    def rest(self) -> None:
        """Give back what writing took: there is time until the next hour."""
        self._writing.close()

    def writer(self, name: str) -> BlockWriter:
        try:
            return BlockWriter(self._writing, self.folder, name)
        except OSError as error:
            raise StorageError(f"cannot write blocks in {self.folder}: {error.strerror}") from error

    def replace(self, new: Sequence[Block], old: Sequence[Block]) -> None:
        """Let blocks appear and others vanish, for readers, at once; `discard` the old ones afterwards."""
        with self._lock:
            self._put([*(block for block in self.blocks if block not in old), *new])

    def discard(self, blocks: Sequence[Block]) -> None:
        """Delete the files of blocks that readers no longer find."""
        for block in blocks:
            with self._lock:
                self._indexes.pop(block.path, None)
            remove_folder(block.path)

    def index(self, block: Block) -> BlockIndex:
        """The names of a block's series, kept for the next query."""
        with self._lock:
            known = self._indexes.get(block.path)
            if known is not None:
                self._indexes.move_to_end(block.path)
                return known
        if not block.path.exists():
            raise FileNotFoundError(block.path)
        loaded = block.load_index(self._duck)
        with self._lock:
            self._indexes[block.path] = loaded
            while len(self._indexes) > 1 and sum(map(len, self._indexes.values())) > _INDEXED_SERIES:
                self._indexes.popitem(last=False)
        return loaded

    def index_of(self, block: Block) -> BlockIndex | None:
        """The names of a block's series, or None where it is damaged (and now set aside)."""
        try:
            return self.index(block)
        except DamagedBlock as error:
            self.set_aside(block, str(error))
            return None

    def names_of(self, block: Block) -> BlockIndex | None:
        """Like `index_of`, for one use by the thread that maintains: not kept."""
        try:
            return block.load_index(self._writing)
        except DamagedBlock as error:
            self.set_aside(block, str(error))
            return None

    def series(self, block: Block, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Series of a block that match and have samples about the range. A damaged block has none."""
        index = self.index_of(block)
        return [] if index is None else index.labels(index.select(matchers, start_ms, end_ms))

    def read(
        self, block: Block, matchers: Sequence[Matcher], start_ms: int, end_ms: int, most: int,
    ) -> list[Samples]:
        """Samples of a block, some millions at a time.

        Raises `FileNotFoundError` where it has been replaced meanwhile: ask anew. Raises `LimitExceeded` before it
        reads more than about `most` samples.
        """
        try:
            index = self.index(block)
            ids = index.select(matchers, start_ms, end_ms)
            span_ms = block.info.end_ms - block.info.start_ms
            asked_ms = min(end_ms, block.info.end_ms) - max(start_ms, block.info.start_ms) + 1
            samples = int(index.counts[ids].sum(dtype=np.int64)) * asked_ms // span_ms
            if samples > most:
                raise TooMuch(samples)
            total = np.cumsum(index.counts[ids], dtype=np.int64)
            edges = np.searchsorted(total, np.arange(0, total[-1] if len(ids) else 0, _SAMPLES_A_READ), side="right")
            slices = [some for some in np.split(ids, distinct(edges)) if len(some)]
            return [block.read(self._duck, some, index.labels(some), start_ms, end_ms) for some in slices]
        except DamagedBlock as error:
            self.set_aside(block, str(error))
            return []

    def read_ids(self, block: Block, ids: Ids) -> Samples | None:
        """All samples of some series of a block, without their names; for the thread that maintains."""
        try:
            return block.read(self._writing, ids, (Labels(),) * len(ids), block.info.start_ms, block.info.end_ms)
        except DamagedBlock as error:
            self.set_aside(block, str(error))
            return None

    def set_aside(self, block: Block, why: str) -> None:
        """Rename a block that cannot be read; the others go on serving."""
        with self._lock:
            if block not in self.blocks:
                return
            self._put([other for other in self.blocks if other != block])
            self._indexes.pop(block.path, None)
        self._set_aside(block.path, why, move=True)

    def _set_aside(self, path: Path, why: str, *, move: bool) -> None:
        self.damaged.append(f"{why}; set aside as {path.name}.damaged")
        self._telemetry.dropped("store", "damaged block")
        if move:
            with contextlib.suppress(OSError):  # where nobody may write; it is not asked any more all the same
                path.rename(path.with_name(path.name + ".damaged"))
