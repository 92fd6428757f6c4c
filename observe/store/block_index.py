"""The series of one block by their labels, as columns: loaded where a query reaches back, a few bytes a series on disk.

Series of a block are numbered in the order of their labels. `pairs` are the distinct label pairs, ascending; ``of[s]``
are the pairs of series s. Postings are made of it when it is loaded.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from observe.errors import StorageError
from observe.model import Labels, Matcher
from observe.store.postings import NONE, Ids, select_ids
from observe.store.zstd import compress, decompress

_MAGIC = b"OBSIDX01"


@dataclass(slots=True)
class BlockIndex:
    """Names and extents of the series of one block."""

    pairs: list[tuple[str, str]]
    starts: NDArray[np.int64]
    """[S + 1] where in `numbers` a series begins."""
    numbers: NDArray[np.uint32]
    """Pairs of series, ascending in each."""
    counts: NDArray[np.uint32]
    """[S] samples."""
    first_ms: NDArray[np.int64]
    last_ms: NDArray[np.int64]
    _values: dict[str, dict[str, int]] = field(default_factory=dict)
    _by_pair: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _carriers: Ids = field(default_factory=lambda: NONE)
    _labels: dict[int, Labels] = field(default_factory=dict)

    def _by_name(self) -> dict[str, dict[str, int]]:
        """Pairs by name and value; made, with the postings, when they are first asked for."""
        if not self._values:
            owners = np.repeat(np.arange(len(self), dtype=np.uint32), np.diff(self.starts))
            order = np.argsort(self.numbers, kind="stable")
            by_pair = np.searchsorted(self.numbers[order], np.arange(len(self.pairs) + 1))
            values: dict[str, dict[str, int]] = {}
            for number, (name, value) in enumerate(self.pairs):
                values.setdefault(name, {})[value] = number
            self._by_pair, self._carriers = by_pair, owners[order]
            self._values = values  # last: another thread may be looking
        return self._values

    @classmethod
    def of(
        cls, labels: Sequence[Labels], counts: NDArray[np.int64], first_ms: NDArray[np.int64],
        last_ms: NDArray[np.int64],
    ) -> "BlockIndex":
        """The index of series in the order of their labels."""
        pairs = sorted({pair for series in labels for pair in series.pairs})
        number = {pair: at for at, pair in enumerate(pairs)}
        starts = np.zeros(len(labels) + 1, np.int64)
        np.cumsum([len(series) for series in labels], out=starts[1:])
        numbers = np.fromiter((number[pair] for series in labels for pair in series.pairs), np.uint32, int(starts[-1]))
        return cls(pairs, starts, numbers, counts.astype(np.uint32), first_ms, last_ms)

    def __len__(self) -> int:
        return len(self.counts)

    # ------------------------------------------------------------ bytes

    def dump(self) -> bytes:
        head = json.dumps([word for pair in self.pairs for word in pair], ensure_ascii=False, separators=(",", ":"))
        base = int(self.first_ms.min()) if len(self) else 0
        columns = b"".join([
            np.diff(self.starts).astype("<u2").tobytes(), self.counts.astype("<u4").tobytes(),
            (self.first_ms - base).astype("<u4").tobytes(), (self.last_ms - base).astype("<u4").tobytes(),
            self.numbers.astype("<u4").tobytes(),
        ])
        packed_head, packed_columns = compress(head.encode()), compress(columns)
        return (_MAGIC + struct.pack("<qIII", base, len(self), len(packed_head), len(packed_columns)) + packed_head
                + packed_columns)

    @classmethod
    def load(cls, data: bytes) -> "BlockIndex":
        """Raises `StorageError` where the bytes are no index."""
        try:
            base, series, head_size, columns_size = struct.unpack_from("<qIII", data, len(_MAGIC))
            at = len(_MAGIC) + 20
            words = json.loads(decompress(data[at : at + head_size]))
            columns = decompress(data[at + head_size : at + head_size + columns_size])
            sizes = np.frombuffer(columns, "<u2", series)
            counts, first, last = (np.frombuffer(columns, "<u4", series, 2 * series + 4 * series * n) for n in range(3))
            starts = np.zeros(series + 1, np.int64)
            np.cumsum(sizes, out=starts[1:])
            numbers = np.frombuffer(columns, "<u4", int(starts[-1]), 14 * series)
            pairs = list(zip(words[::2], words[1::2], strict=True))
        except (ValueError, struct.error, OSError, IndexError) as error:
            raise StorageError(f"the index of a block cannot be read: {error}") from error
        if not data.startswith(_MAGIC) or int(numbers.max(initial=0)) >= max(1, len(pairs)):
            raise StorageError("the index of a block is not one")
        return cls(pairs, starts, numbers.astype(np.uint32), counts.astype(np.uint32),
                   first.astype(np.int64) + base, last.astype(np.int64) + base)

    # ------------------------------------------------------------ postings

    def all_ids(self) -> Ids:
        return np.arange(len(self), dtype=np.uint32)

    def names(self) -> Iterable[str]:
        return self._by_name()

    def values_of(self, name: str) -> Iterable[str]:
        return self._by_name().get(name, ())

    def carriers(self, name: str, value: str) -> Ids:
        number = self._by_name().get(name, {}).get(value)
        if number is None:
            return NONE
        return self._carriers[self._by_pair[number] : self._by_pair[number + 1]].copy()

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Ids:
        """Series that match and have samples about the range."""
        ids = select_ids(self, matchers)
        return ids[(self.first_ms[ids] <= end_ms) & (self.last_ms[ids] >= start_ms)]

    def labels(self, ids: Ids) -> list[Labels]:
        known = self._labels
        found = []
        for at in ids.tolist():
            labels = known.get(at)
            if labels is None:
                labels = known[at] = self._made(at)
            found.append(labels)
        return found

    def labels_between(self, low: int, high: int) -> list[Labels]:
        """Of all series in a range, for one use: not kept."""
        return [self._made(at) for at in range(low, high)]

    def _made(self, at: int) -> Labels:
        own = self.numbers[self.starts[at] : self.starts[at + 1]].tolist()
        return Labels.from_sorted(tuple(self.pairs[number] for number in own))
