"""The hours of a day that is over become one block, an hour's names at a time.

No Python object is made for a series: its name is a row of numbers of label pairs, and the order of all names comes of
sorting those numbers column by column. Fifty thousand series for a day take some 20 MB more while it is made.
"""

from collections.abc import Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from observe.model import Labels
from observe.store.archive import Archive
from observe.store.block import Block
from observe.store.block_index import BlockIndex
from observe.store.combine import combine_as

PIECE_SAMPLES = 1_000_000


class UnionOfNames:
    """The series of several blocks, each once, in the order of their labels."""

    def __init__(self) -> None:
        numbers, times = np.empty(0, np.uint32), np.empty(0, np.int64)
        self.index = BlockIndex([], np.zeros(1, np.int64), numbers, numbers, times, times)
        self.targets: list[NDArray[np.int64]] = []
        """For each block that was added: where its series are here, ascending."""

    def add(self, other: BlockIndex) -> None:
        """Take another block's names in."""
        own = self.index
        pairs = own.pairs
        if not set(other.pairs).issubset(pairs):
            pairs = sorted({*pairs, *other.pairs})
        number = {pair: at for at, pair in enumerate(pairs)}
        rows = [(index.starts, np.array([number[pair] for pair in index.pairs], np.uint32)[index.numbers])
                for index in (own, other)]
        numbers = np.concatenate([row[1] for row in rows])
        sizes = np.concatenate([np.diff(row[0]) for row in rows])
        place = ranks(sizes, numbers)
        mine, theirs = place[: len(own)], place[len(own) :]
        series = int(place.max(initial=-1)) + 1
        chosen = np.empty(series, np.int64)
        chosen[place[::-1]] = np.arange(len(place))[::-1]  # of two rows with one name the first
        starts = np.zeros(series + 1, np.int64)
        np.cumsum(sizes[chosen], out=starts[1:])
        begins = (np.cumsum(sizes) - sizes)[chosen]
        where = np.repeat(begins - starts[:-1], sizes[chosen]) + np.arange(starts[-1])
        counts = np.zeros(series, np.uint32)
        first, last = np.full(series, np.iinfo(np.int64).max), np.full(series, np.iinfo(np.int64).min)
        for index, target in ((own, mine), (other, theirs)):
            counts[target] += index.counts
            first[target] = np.minimum(first[target], index.first_ms)
            last[target] = np.maximum(last[target], index.last_ms)
        self.index = BlockIndex(pairs, starts, numbers[where], counts, first, last)
        self.targets = [*(mine[target] for target in self.targets), theirs]


def ranks(sizes: NDArray[np.int64], numbers: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The place of each row among the distinct rows in order; row r is the next ``sizes[r]`` of `numbers`.

    >>> ranks(np.array([2, 1, 2]), np.array([1, 5, 1, 1, 5], np.uint32))
    array([1, 0, 1])
    """
    begins = np.cumsum(sizes) - sizes
    place = np.zeros(len(sizes), np.int64)
    for column in range(int(sizes.max(initial=0))):
        there = sizes > column
        following = np.zeros(len(sizes), np.int64)  # a row that ends is before those that go on
        following[there] = numbers[begins[there] + column].astype(np.int64) + 1
        place = np.unique(place << 32 | following, return_inverse=True)[1]
    return place


def merge_day(
    archive: Archive, name: str, span_ms: tuple[int, int], blocks: Sequence[Block], most_pairs: int,
) -> Generator[None, None, Block | None]:
    """Make one block of these, in steps. None where they have more than `most_pairs`, or one of them is damaged."""
    names = UnionOfNames()
    for block in blocks:
        index = archive.names_of(block)
        if index is None:
            return None  # it is set aside now; the day is merged without it next time
        names.add(index)
        if len(names.index.pairs) > most_pairs:
            return None
        yield
    union = names.index
    counts = union.counts.astype(np.int64)
    writer = archive.writer(name)
    try:
        nameless = Labels()
        for low, high in slices(counts, PIECE_SAMPLES):
            columns, places = [], []
            for block, target in zip(blocks, names.targets, strict=True):
                begin, end = np.searchsorted(target, [low, high]).tolist()
                if begin < end:
                    samples = archive.read_ids(block, np.arange(begin, end, dtype=np.uint32))
                    if samples is None:
                        return None
                    columns.append(samples)
                    places.append(target[begin:end] - low)
            merged = combine_as((nameless,) * (high - low), columns, places)
            counts[low:high] = np.diff(merged.offsets)
            writer.add(low, merged)
            yield
        union.counts = counts.astype(np.uint32)
        yield from writer.name(union)
        return writer.finish(union, *span_ms, max(block.info.segment for block in blocks),
                             [block.path.name for block in blocks])
    finally:
        writer.abandon()


def slices(counts: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Runs of series with at most that many samples together, one series at least."""
    total = np.cumsum(counts)
    low = 0
    while low < len(counts):
        base = int(total[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(total, base + most, side="right")))
        yield low, high
        low = high
