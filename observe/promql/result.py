"""What a query answers, with what there is to say about it."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from observe.model import Matrix, Samples, Vector


class Scalar(NamedTuple):
    """One number without labels."""

    time_ms: int
    value: float


class Text(NamedTuple):
    """A string literal: all that an expression of strings can be."""

    time_ms: int
    value: str


Value: TypeAlias = Vector | Matrix | Samples | Scalar | Text
"""`Samples` is the answer to an instant query of a range vector, such as ``x[5m]``."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an evaluation took."""

    samples: int = 0
    """Samples read and points made, together: what `query.max_samples` bounds."""
    preparation_s: float = 0.0
    evaluation_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The value of a query, and remarks: `warnings` say that it may be wrong, `infos` that it may not be meant."""

    value: Value
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    cost: Cost = Cost()
