"""A tiny decoder-only transformer in NumPy: random weights, real arithmetic.

It generates nonsense, but does the work that serving does: a prefill over the whole prompt, then one token at a time
over a growing key-value cache. Pre-norm blocks of multi-head attention (Vaswani et al. 2017) and a GELU layer.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

VOCABULARY = 256
"""Tokens are bytes."""
_WIDTH = 48
_HEADS = 4
_LAYERS = 2
_HEAD_SLICES = [slice(start, start + _WIDTH // _HEADS) for start in range(0, _WIDTH, _WIDTH // _HEADS)]
CONTEXT = 160
"""Longest prompt plus answer, tokens."""


@dataclass
class Sequence:
    """One request inside the model: what it said so far and its key-value cache."""

    tokens: list[int]
    keys: Array = field(default_factory=lambda: np.zeros((_LAYERS, CONTEXT, _WIDTH), np.float32))
    values: Array = field(default_factory=lambda: np.zeros((_LAYERS, CONTEXT, _WIDTH), np.float32))
    cached: int = 0
    """Tokens whose keys and values are known."""


class Transformer:
    """The weights, and one forward pass. Safe from several threads: a pass writes to its own sequence only."""

    def __init__(self, seed: int = 7) -> None:
        random = np.random.default_rng(seed)

        def matrix(rows: int, columns: int) -> Array:
            return np.asarray(random.standard_normal((rows, columns)) / np.sqrt(rows), dtype=np.float32)

        self._embedding = matrix(VOCABULARY, _WIDTH) * 4
        self._position = matrix(CONTEXT, _WIDTH) * 2
        self._layers = [
            (matrix(_WIDTH, 3 * _WIDTH), matrix(_WIDTH, _WIDTH), matrix(_WIDTH, 4 * _WIDTH), matrix(4 * _WIDTH, _WIDTH))
            for _ in range(_LAYERS)
        ]

    def prefill(self, prompt: bytes) -> Sequence:
        """Read the prompt (cut to leave room for an answer)."""
        sequence = Sequence(list(prompt[: CONTEXT // 2]) or [0])
        self._forward(sequence)
        return sequence

    def decode(self, sequence: Sequence) -> int:
        """Add one token, the most likely one, and return it."""
        logits = self._forward(sequence) if sequence.cached < len(sequence.tokens) else self._last(sequence)
        token = int(np.argmax(logits))
        if len(sequence.tokens) < CONTEXT:
            sequence.tokens.append(token)
        return token

    def embed(self, text: bytes) -> list[float]:
        """The mean of the last layer over the text: a vector of `_WIDTH` numbers."""
        sequence = Sequence(list(text[: CONTEXT // 2]) or [0])
        hidden = self._hidden(sequence)
        return [round(float(value), 6) for value in hidden.mean(axis=0)]

    def _last(self, sequence: Sequence) -> Array:
        sequence.cached -= 1  # the newest token's state is not kept: compute it once more
        return self._forward(sequence)

    def _forward(self, sequence: Sequence) -> Array:
        return np.asarray(self._hidden(sequence)[-1] @ self._embedding.T, dtype=np.float32)

    def _hidden(self, sequence: Sequence) -> Array:
        start, end = sequence.cached, len(sequence.tokens)
        hidden = self._embedding[sequence.tokens[start:end]] + self._position[start:end]
        visible = np.arange(end)[None, :] <= np.arange(start, end)[:, None]
        for layer, (attention, output, widen, narrow) in enumerate(self._layers):
            query, key, value = np.split(_norm(hidden) @ attention, 3, axis=1)
            sequence.keys[layer, start:end], sequence.values[layer, start:end] = key, value
            heads = [
                _attend(
                    query[:, part], sequence.keys[layer, :end, part], sequence.values[layer, :end, part], visible,
                )
                for part in _HEAD_SLICES
            ]
            hidden = hidden + np.concatenate(heads, axis=1) @ output
            hidden = hidden + _gelu(_norm(hidden) @ widen) @ narrow
        sequence.cached = end
        return np.asarray(_norm(hidden), dtype=np.float32)


def _norm(rows: Array) -> Array:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5), dtype=np.float32)


def _gelu(rows: Array) -> Array:
    return np.asarray(0.5 * rows * (1 + np.tanh(0.7978846 * (rows + 0.044715 * rows**3))), dtype=np.float32)


def _attend(query: Array, key: Array, value: Array, visible: NDArray[np.bool_]) -> Array:
    scores = np.where(visible, query @ key.T / np.sqrt(query.shape[1]), -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True) @ value, dtype=np.float32)
