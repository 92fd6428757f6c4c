"""The names of several blocks as one: every series once, in order, wherever it was."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from observe.model import Labels
from observe.store.block_index import BlockIndex
from observe.store.days import UnionOfNames

SERIES = st.dictionaries(st.sampled_from(["__name__", "a", "b", "job"]), st.sampled_from(["x", "y", "ö"])).map(Labels)
BLOCKS = st.lists(st.lists(SERIES, unique=True, max_size=12).map(sorted), min_size=1, max_size=5)


def index_of(series, number):
    """Series s of block `number` has s + 1 samples, from 10 · number + s on."""
    at = np.arange(len(series), dtype=np.int64)
    return BlockIndex.of(series, at + 1, at + 10 * number, at + 10 * number + 5)


@given(BLOCKS)
def test_every_series_is_there_once_with_what_all_blocks_know_of_it(blocks):
    union = UnionOfNames()
    for number, series in enumerate(blocks):
        union.add(index_of(series, number))

    every = sorted({labels for series in blocks for labels in series})
    assert union.index.labels_between(0, len(union.index)) == every
    assert [[every.index(labels) for labels in series] for series in blocks] == [
        target.tolist() for target in union.targets]
    told = {}
    for number, series in enumerate(blocks):
        for at, labels in enumerate(series):
            count, first, last = told.get(labels, (0, 10**9, 0))
            told[labels] = count + at + 1, min(first, at + 10 * number), max(last, at + 10 * number + 5)
    assert [told[labels] for labels in every] == list(zip(
        union.index.counts.tolist(), union.index.first_ms.tolist(), union.index.last_ms.tolist(), strict=True))
    again = BlockIndex.load(union.index.dump()) if every else union.index
    assert again.labels_between(0, len(again)) == every
