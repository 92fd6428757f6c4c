"""A chunk gives back exactly the bits that were put in, whatever they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe.model import NORMAL_NAN_BITS, STALE_NAN, STALE_NAN_BITS
from observe.store.chunk_kernels import WORDS_OVER, decode_one, encode_one

SHAPES = {
    "one value": [1.5],
    "constant": [3.0] * 100,
    "counter": list(range(0, 700, 7)),
    "counter with a reset": [*range(10_000, 10_700, 7), *range(0, 70, 7)],
    "decimals": [round(0.1 * i, 1) for i in range(100)],
    "noise": list(np.random.default_rng(1).random(100)),
    "large integers": [2.0**53, -(2.0**53), 2.0**60, 1.0, 2.0],
    "alternating far apart": [4e15, -4e15] * 30,
    "zeros of both signs": [0.0, -0.0, 0.0, 1.0, -0.0] * 10,
    "infinities among integers": [1.0, 2.0, np.inf, 4.0, 5.0, 6.0, 7.0, 8.0, -np.inf, 10.0] * 3,
    "ends stale": [*range(20), STALE_NAN],
    "begins with NaN": [np.nan, 1.0, 2.0, 3.0],
    "smallest numbers": [5e-324, 1e-300, 0.0, 1e-310],
}


def packed(values):
    words = np.full(len(values) + WORDS_OVER + 9, 0xDEAD, np.uint64)
    end = encode_one(values, words, 3)
    assert end - 3 <= len(values) + WORDS_OVER
    assert (words[end:] == 0xDEAD).all()
    return words, end - 3


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_survives_bit_by_bit(name):
    values = np.array(SHAPES[name], np.float64)

    words, _ = packed(values)

    assert decode_one(words, 3, len(values)).view(np.uint64).tolist() == values.view(np.uint64).tolist()


@settings(deadline=None)
@given(st.lists(st.one_of(
    st.floats(), st.integers(-1000, 1000).map(float), st.integers(-1000, 1000).map(lambda n: n / 100),
    st.sampled_from([STALE_NAN_BITS, NORMAL_NAN_BITS]).map(lambda bits: np.uint64(bits).view(np.float64).item()),
), min_size=1, max_size=130))
def test_any_values_survive_bit_by_bit(values):
    column = np.array(values, np.float64)

    words, _ = packed(column)

    assert decode_one(words, 3, len(column)).view(np.uint64).tolist() == column.view(np.uint64).tolist()


@pytest.mark.parametrize(("name", "bytes_a_value"), [("constant", 0.2), ("counter", 0.2), ("decimals", 0.2),
                                                     ("counter with a reset", 0.5)])
def test_what_is_regular_packs_small(name, bytes_a_value):
    values = np.array(SHAPES[name], np.float64)

    _, words = packed(values)

    assert words * 8 / len(values) <= bytes_a_value
