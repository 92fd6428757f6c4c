"""How text becomes searchable: one definition, so that every store gives the same answer to the same words.

A word is a run of letters and digits, lower-cased; a CJK character is a word by itself, as such text has no spaces.
The embedded index and Elasticsearch both get words that are already cut, and only split them at blanks.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD: Final = re.compile(rf"[^\W_{_CJK}]+|[{_CJK}]")
WORD_CHARS: Final = 100
"""Longer words are cut: nobody types them, and an index of base64 is only heavy."""
VALUE_CHARS: Final = 1024
"""A longer field value is kept but cannot be searched for."""
LEAVES: Final = 128
"""Searchable values of one line's own fields."""


def words(text: str) -> list[str]:
    """The words of a text, in order.

    >>> words("SocketTimeout: 10.0.0.7 said 错误")
    ['sockettimeout', '10', '0', '0', '7', 'said', '错', '误']
    """
    found: list[str] = _WORD.findall(text.lower())
    return found if len(text) <= WORD_CHARS else [word[:WORD_CHARS] for word in found]


def leaves(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values inside nested fields under dotted names; each element of a list by itself. At most `LEAVES`.

    >>> list(leaves({"http": {"code": 200}, "tags": ["a", "b"], "none": None}))
    [('http.code', 200), ('tags', 'a'), ('tags', 'b')]
    """
    left = LEAVES
    for name, value in fields.items():
        if isinstance(value, str | int | float):  # nearly always: the rest is the long way
            yield str(name), value
            left -= 1
        elif isinstance(value, Mapping | list | tuple):
            for leaf in _inside(str(name), value):
                yield leaf
                left -= 1
                if left <= 0:
                    return
        elif value is not None:
            yield str(name), value
            left -= 1
        if left <= 0:
            return


def _inside(name: str, outer: Any) -> Iterator[tuple[str, Any]]:
    stack: list[tuple[str, Any, int]] = [(name, outer, 0)]
    while stack:
        path, value, depth = stack.pop()
        if isinstance(value, Mapping):
            if depth < 16:
                stack.extend((f"{path}.{inner}", leaf, depth + 1) for inner, leaf in reversed(list(value.items())))
        elif isinstance(value, list | tuple):
            if depth < 16:
                stack.extend((path, leaf, depth + 1) for leaf in reversed(value))
        elif value is not None:
            yield path, value


def leaf_text(value: Any) -> str:
    """A value as one types it after ``field:``.

    >>> leaf_text(True), leaf_text(2.5), leaf_text("x")
    ('true', '2.5', 'x')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value) if isinstance(value, int | float) else str(value)


def number_of(value: Any) -> float | None:
    """A value as a number, or None: numbers, and text that is nothing but a number ("200")."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        text = str(value)
        if not text or text[0] not in "-0123456789" or not _NUMBER.fullmatch(text):
            return None
        number = float(text)
    return number if math.isfinite(number) else None


_NUMBER: Final = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)


def sortable(number: float) -> str:
    """16 hex digits that sort as the numbers do.

    >>> sortable(-1.5) < sortable(0.0) < sortable(2.0) < sortable(10.0)
    True
    """
    bits = struct.unpack(">Q", struct.pack(">d", number + 0.0))[0]
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"
