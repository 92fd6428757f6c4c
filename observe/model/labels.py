"""The name of a series, and what selects it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal, TypeVar, overload

Default = TypeVar("Default")

METRIC_NAME: Final = "__name__"


class Labels(Mapping[str, str]):
    """The name of a series: sorted label pairs, without empty values, hashable.

    >>> Labels({"__name__": "up", "job": "demo"})
    Labels('up{job="demo"}')
    """

    __slots__ = ("_hash", "pairs")  # no dict inside: a series' name is kept for as long as the series

    pairs: tuple[tuple[str, str], ...]
    _hash: int

    def __init__(self, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        object.__setattr__(self, "pairs", tuple(sorted((name, value) for name, value in items if value)))
        object.__setattr__(self, "_hash", hash(self.pairs))

    @classmethod
    def from_sorted(cls, pairs: tuple[tuple[str, str], ...]) -> "Labels":
        """Labels of pairs that are known to be sorted, each name once, without empty values. The tuple is kept."""
        labels = cls.__new__(cls)
        object.__setattr__(labels, "pairs", pairs)
        object.__setattr__(labels, "_hash", hash(pairs))
        return labels

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Labels are frozen: cannot set {name}")

    def __reduce__(self) -> tuple[type["Labels"], tuple[tuple[tuple[str, str], ...]]]:
        return (Labels, (self.pairs,))

    def __getitem__(self, name: str) -> str:
        for own, value in self.pairs:
            if own == name:
                return value
        raise KeyError(name)

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str | Default, /) -> str | Default: ...
    def get(self, name: str, default: Any = None, /) -> Any:
        for own, value in self.pairs:
            if own == name:
                return value
        return default

    def __contains__(self, name: object) -> bool:
        return any(own == name for own, _ in self.pairs)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Labels):
            return self.pairs == other.pairs
        return NotImplemented

    def __lt__(self, other: "Labels") -> bool:
        return self.pairs < other.pairs

    @property
    def name(self) -> str:
        """The metric name, or an empty string."""
        return self.get(METRIC_NAME, "")

    @property
    def fingerprint(self) -> int:
        """A 64-bit hash that is the same in every process, unlike `hash`."""
        digest = hashlib.blake2b(digest_size=8)
        for name, value in self.pairs:
            digest.update(name.encode() + b"\xff" + value.encode() + b"\xff")
        return int.from_bytes(digest.digest(), "big")

    def without(self, *names: str) -> "Labels":
        return Labels((name, value) for name, value in self.pairs if name not in names)

    def only(self, names: Iterable[str]) -> "Labels":
        wanted = set(names)
        return Labels((name, value) for name, value in self.pairs if name in wanted)

    def updated(self, other: Mapping[str, str]) -> "Labels":
        """These labels with `other`'s laid over them; an empty value removes the label."""
        return Labels({**dict(self.pairs), **other})

    def __str__(self) -> str:
        inner = ", ".join(f"{_label(name)}={_quote(value)}" for name, value in self.pairs if name != METRIC_NAME)
        if self.name and not _plain(self.name.replace(":", "_")):
            return f"{{{_quote(self.name)}{', ' if inner else ''}{inner}}}"
        return f"{self.name}{{{inner}}}" if inner or not self.name else self.name

    def __repr__(self) -> str:
        return f"Labels({str(self)!r})"


kept_hash: Final[Callable[[Labels], int]] = attrgetter("_hash")
"""What `hash` says of labels, for columns of them: without a call of Python code for each."""


def _label(name: str) -> str:
    """As it is written in front of ``=``: names of other characters than Prometheus 2 knew are quoted."""
    return name if _plain(name) else _quote(name)


def _plain(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


MatchOp = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: ``name op value``. Regular expressions are RE2 and anchored at both ends."""

    name: str
    op: MatchOp
    value: str

    def __str__(self) -> str:
        return f"{_label(self.name)}{self.op}{_quote(self.value)}"
