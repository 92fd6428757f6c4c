"""What a query answers, with what there is to say about it."""

from dataclasses import dataclass
from typing import TypeAlias

from observe.model import Matrix, Samples, Vector


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number without labels."""

    time_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal: all that an expression of strings can be."""

    time_ms: int
    value: str


Value: TypeAlias = Vector | Matrix | Samples | Scalar | Text
"""`Samples` is the answer to an instant query of a range vector, such as ``x[5m]``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The value of a query, and remarks: `warnings` say that it may be wrong, `infos` that it may not be meant."""

    value: Value
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
