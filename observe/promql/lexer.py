"""Tokens with their places: what carets point at, and what the grammar's own reader does not tell or reads wrongly.

The grammar is `promql-parser`'s. It gives no positions, so `places` finds where each leaf of its tree began; it also
misreads times after ``@`` that are negative or very large, so `at_times` reads those here, and knows neither ``1_000``
nor octal numbers, so `plain_numbers` rewrites them.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from observe.promql.ast import Span

Kind = Literal["space", "string", "duration", "number", "name", "mark", "bad"]

_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_DIGITS = r"\d(?:_?\d)*"
_NUMBER = rf"0[xX](?:_?[0-9a-fA-F])+|(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?"
_OCTAL = re.compile(r"0_?[0-7](?:_?[0-7])*")
_PIECES = r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
  | (?P<duration>%s)(?![A-Za-z0-9_.])
  | (?P<number>%s)
  | (?P<name>%s)
  | (?P<mark>=~|!~|==|!=|<=|>=|[-+*/%%^<>=(){}\[\],@:])
  | (?P<bad>.)
"""
_OUTSIDE = re.compile(_PIECES % (_DURATION, _NUMBER, r"[A-Za-z_:][A-Za-z0-9_:]*"), re.VERBOSE | re.DOTALL)
_INSIDE = re.compile(_PIECES % (_DURATION, _NUMBER, r"[A-Za-z_][A-Za-z0-9_]*"), re.VERBOSE | re.DOTALL)
"""Between square brackets a colon parts a subquery's range from its step; elsewhere it belongs to a name."""

AGGREGATIONS = frozenset({
    "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile",
    "limitk", "limit_ratio",
})
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "atan2", "bool", "offset"}) | _LABEL_LISTS
_UNITS_S = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    begin: int

    @property
    def span(self) -> Span:
        return (self.begin, self.begin + len(self.text))


def tokens(text: str) -> list[Token]:
    """All tokens of `text` but white space and comments."""
    found: list[Token] = []
    begin, brackets = 0, 0
    while begin < len(text):
        match = (_INSIDE if brackets else _OUTSIDE).match(text, begin)
        assert match is not None
        kind: Kind = match.lastgroup  # type: ignore[assignment]
        piece = match.group()
        if kind != "space":
            found.append(Token(kind, piece, begin))
            brackets = max(0, brackets + (piece == "[") - (piece == "]"))
        begin = match.end()
    return found


def seconds(token: Token) -> float:
    """The value of a number or a duration, in seconds."""
    if token.kind == "duration":
        return math.fsum(int(count) * _UNITS_S[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdwy])", token.text))
    text = token.text.lower()
    if _OCTAL.fullmatch(text):
        return float(int(text, 8))
    return float(int(text, 16)) if text.startswith("0x") else float(text)  # float knows inf and nan


def plain_numbers(text: str, found: list[Token]) -> str:
    """`text` with the numbers that the grammar's reader does not know written plainly, as long as before."""
    for token in found:
        if token.kind == "number" and ("_" in token.text or _OCTAL.fullmatch(token.text)):
            plain = token.text.replace("_", "")
            plain = str(int(plain, 8)) if _OCTAL.fullmatch(plain) else plain
            text = text[: token.begin] + plain.ljust(len(token.text)) + text[token.span[1] :]
    return text


_ESCAPE = re.compile(r"\\(?:([abfnrtv\\'\"])|x([0-9A-Fa-f]{2})|([0-7]{3})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))")
_SINGLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unquoted(literal: str) -> str:
    """The text that a string literal means, by Go's rules; bytes that are no UTF-8 become lone surrogates."""
    if literal.startswith("`"):
        return literal[1:-1]

    def meant(match: re.Match[str]) -> bytes:
        single, hexadecimal, octal, *unicode = match.groups()
        if single:
            return _SINGLE.get(single, single).encode()
        if hexadecimal or octal:
            return bytes([int(hexadecimal, 16) if hexadecimal else int(octal, 8) & 0xFF])
        return chr(int(unicode[0] or unicode[1], 16)).encode("utf-8", "surrogatepass")

    parts: list[bytes] = []
    begin, body = 0, literal[1:-1]
    for match in _ESCAPE.finditer(body):
        parts.extend((body[begin : match.start()].encode(), meant(match)))
        begin = match.end()
    return b"".join((*parts, body[begin:].encode())).decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class AtTime:
    """A time written after ``@``: where it stands and what it says."""

    span: Span
    seconds: float


def at_times(found: list[Token]) -> list[AtTime]:
    """Every number after an ``@``, in the order of the text."""
    times = []
    for index, token in enumerate(found):
        if token.text != "@" or token.kind != "mark":
            continue
        rest = found[index + 1 : index + 3]
        sign = -1.0 if rest and rest[0].text == "-" else 1.0
        signed = len(rest) > 1 and rest[0].text in {"+", "-"}
        value = rest[1] if signed else next(iter(rest), None)
        if value is not None and (value.kind in {"number", "duration"} or value.text.lower() in {"inf", "nan"}):
            times.append(AtTime((rest[0].begin, value.span[1]), sign * seconds(value)))
    return times


def durations(found: list[Token]) -> Iterator[Token]:
    """Every token that is read as a duration: between square brackets or after ``offset``."""
    brackets = 0
    for index, token in enumerate(found):
        brackets = max(0, brackets + (token.text == "[") - (token.text == "]"))
        before = [each.text.lower() for each in found[max(0, index - 2) : index] if each.text not in {"+", "-"}]
        is_number = token.kind in {"number", "duration"} or token.text.lower() in {"inf", "nan"}
        if is_number and (brackets or before[-1:] == ["offset"]):
            yield token


def places(found: list[Token]) -> Iterator[Span]:
    """Where the leaves, calls and aggregations of the tree begin, in the order of the text."""
    index, count = 0, len(found)
    while index < count:
        token = found[index]
        after = found[index + 1].text if index + 1 < count else ""
        if token.kind == "name" and token.text.lower() in _WORDS and _is_word(token, after, index):
            index = _after_word(found, index)
            continue
        if token.text == "@":
            index = _after_time(found, index + 1)
            continue
        if token.text == "[":
            index = _closing(found, index, "]")
        elif token.text == "{":
            yield token.span
            index = _closing(found, index, "}")
        elif token.kind == "name":
            yield token.span
            if after == "{":
                index = _closing(found, index + 1, "}")
        elif token.kind in {"number", "duration", "string"}:
            yield token.span
        index += 1


def _is_word(token: Token, after: str, index: int) -> bool:
    """Whether a word acts as a keyword here: `offset`, `by` and their like may name metrics as well."""
    word = token.text.lower()
    if word in {"offset", "by", "without", "bool"}:
        if word == "offset":
            return index > 0 and after not in {"", ")", ",", "{", "["}
        return index > 0 and after not in {"", "{", "["}
    return True


def _after_word(found: list[Token], index: int) -> int:
    """Past a keyword and what belongs to it: a label list or a duration."""
    word = found[index].text.lower()
    following = index + 1
    if word in _LABEL_LISTS and following < len(found) and found[following].text == "(":
        return _closing(found, following, ")") + 1
    if word == "offset":
        return _after_time(found, following)
    return following


def _after_time(found: list[Token], index: int) -> int:
    while index < len(found) and found[index].text in {"+", "-"}:
        index += 1
    if index < len(found) and found[index].text.lower() in {"start", "end"}:
        return index + 3  # start ( )
    return index + 1


def _closing(found: list[Token], index: int, closer: str) -> int:
    while index < len(found) and found[index].text != closer:
        index += 1
    return index
