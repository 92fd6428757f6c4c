"""Read one line of a metrics page: the slow, explaining half of the parser.

Grammar of Prometheus' text format 0.0.4 and OpenMetrics 1.0, with Prometheus 3's quoted names (``{"a name", l="v"}``).
What is wrong with a line is raised as `LineProblem`; the page knows which line it was.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from observe.model import METRIC_NAME, NORMAL_NAN_BITS

Pairs = list[tuple[str, str]]

_BLANK = rb"[ \t]*+"
_HEAD = re.compile(
    _BLANK + rb"([a-zA-Z_:][a-zA-Z0-9_:]*+)?" + _BLANK + rb'(\{(?:[^"{}\n]++|"(?:[^"\\\n]|\\[^\n])*+")*+\})?' + _BLANK,
)
_TOKEN = re.compile(rb"[^ \t\n{]*+")
_PAIR = re.compile(
    _BLANK + rb'(?:([a-zA-Z_][a-zA-Z0-9_]*+)|"((?:[^"\\]|\\.)*+)")' + _BLANK
    + rb"(=" + _BLANK + rb'"((?:[^"\\]|\\.)*+)"' + _BLANK + rb")?",
)
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:inf|infinity)|(?i:nan)")
_STAMP_MS = re.compile(rb"-?\d{1,18}")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_FAMILY = re.compile(rb"[ \t]*#[ \t]+(HELP|TYPE|UNIT)[ \t]+([a-zA-Z_:][a-zA-Z0-9_:]*)(?:[ \t]+(.*))?")
_EXEMPLAR = re.compile(rb"#[ \t]+(\{[^\n]*\})[ \t]+([^ \t]+)(?:[ \t]+([^ \t]+))?[ \t]*")
_SHARED: Final[dict[bytes, str]] = {}
_MOST_SHARED: Final = 10_000
_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", NORMAL_NAN_BITS))[0]


class LineProblem(ValueError):
    """Why a line cannot be read."""


@dataclass(frozen=True, slots=True)
class LineExemplar:
    """What follows `#` on a sample line of OpenMetrics."""

    labels: tuple[tuple[str, str], ...]
    value: float
    timestamp_ms: int | None


def value_start(body: bytes, pos: int) -> int:
    """Where the value of the sample line at `pos` begins; the end of the line if there is none."""
    match = _HEAD.match(body, pos)
    return match.end() if match else pos


def token_end(body: bytes, pos: int) -> int:
    match = _TOKEN.match(body, pos)
    return match.end() if match else pos


def read_head(head: bytes) -> Pairs:
    """Name and labels of a sample, the name first as ``__name__``.

    >>> read_head(b'up{job="a"} ')
    [('__name__', 'up'), ('job', 'a')]
    """
    match = _HEAD.match(head)
    name, braces = match.groups() if match else (None, None)
    if match is None or match.end() != len(head):
        raise LineProblem(_explain_head(head))
    pairs: Pairs = [(METRIC_NAME, _text(name))] if name else []
    if braces:
        pairs.extend(_read_pairs(braces[1:-1], named=bool(name)))
    if not pairs or pairs[0][0] != METRIC_NAME:
        raise LineProblem("a metric name is missing: it starts with a letter, `_` or `:`")
    if len({label for label, _ in pairs}) != len(pairs):
        raise LineProblem("a label is given twice")
    return pairs


def _read_pairs(inner: bytes, *, named: bool) -> Pairs:
    pairs: Pairs = []
    pos = 0
    while pos < len(inner):
        match = _PAIR.match(inner, pos)
        if match is None:
            if inner[pos:].strip(b" \t") == b"" and pos == 0:
                break
            raise LineProblem(f'`{_shown(inner[pos:])}` is not a label such as code="200"')
        plain, quoted, has_value, value = match.groups()
        label = _text(plain if plain is not None else quoted)
        if not has_value:
            if plain is not None or named or pairs:
                raise LineProblem(f"label `{label}` has no quoted value")
            pairs.append((METRIC_NAME, label))
            named = True
        elif label == METRIC_NAME and named:
            raise LineProblem("the metric name is given twice")
        else:
            if value is None:
                raise LineProblem(f"label `{label}` has no quoted value")
            pairs.append((label, _text(value)))
            named = named or label == METRIC_NAME
        pos = match.end()
        if pos < len(inner):
            if inner[pos : pos + 1] != b",":
                raise LineProblem(f"a comma is missing before `{_shown(inner[pos:])}`")
            pos += 1
            if inner[pos:].strip(b" \t") == b"":
                break  # a comma after the last label is allowed
    pairs.sort(key=lambda pair: pair[0] != METRIC_NAME)
    return pairs


def _text(raw: bytes) -> str:
    """The text of a name or a value. Words that came before are the same object: thousands of series share them."""
    known = _SHARED.get(raw)
    if known is not None:
        return known
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise LineProblem(f"`{_shown(raw)}` is not UTF-8") from error
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[0]), text)
    if len(_SHARED) >= _MOST_SHARED:
        _SHARED.clear()
    _SHARED[raw] = text
    return text


def _explain_head(head: bytes) -> str:
    rest = head.lstrip(b" \t")
    if b"{" in rest and rest.count(b'"') % 2:
        return "a label value is not closed by a quote"
    if b"{" in rest and b"}" not in rest:
        return "the labels are not closed by `}`"
    return "no metric name here: it starts with a letter, `_` or `:`"


def read_number(token: bytes) -> float:
    """A value as Prometheus reads it (no hexadecimal, no underscores); its NaN has one bit pattern."""
    if not token:
        raise LineProblem("the value is missing")
    if _NUMBER.fullmatch(token) is None:
        raise LineProblem(f"`{_shown(token)}` is not a number")
    number = float(token)
    return number if number == number else _NAN  # noqa: PLR0124 - NaN is what differs from itself


def read_rest(rest: bytes, *, openmetrics: bool) -> tuple[int | None, LineExemplar | None]:
    """What follows a value: a timestamp, and in OpenMetrics an exemplar."""
    rest = rest.strip(b" \t")
    exemplar = None
    if openmetrics and (at := rest.find(b"#")) >= 0:
        exemplar = _read_exemplar(rest[at:])
        rest = rest[:at].rstrip(b" \t")
    if not rest:
        return None, exemplar
    if openmetrics:
        return _read_seconds(rest), exemplar
    if _STAMP_MS.fullmatch(rest) is None:
        raise LineProblem(f"`{_shown(rest)}` after the value is not a timestamp in milliseconds")
    return int(rest), None


def _read_seconds(token: bytes) -> int:
    if _NUMBER.fullmatch(token) is None or not abs(seconds := float(token)) < 9.2e15:
        raise LineProblem(f"`{_shown(token)}` is not a timestamp in seconds")
    return round(seconds * 1000)


def _read_exemplar(text: bytes) -> LineExemplar:
    match = _EXEMPLAR.fullmatch(text)
    if match is None:
        raise LineProblem(f'`{_shown(text)}` is not an exemplar such as # {{trace_id="…"}} 0.5')
    pairs = _read_pairs(match[1][1:-1], named=True)
    return LineExemplar(tuple(pairs), read_number(match[2]), _read_seconds(match[3]) if match[3] else None)


def read_family(line: bytes) -> tuple[str, str, str] | None:
    """(HELP, TYPE or UNIT; family; text) of a comment line that says one, else None."""
    match = _FAMILY.fullmatch(line.rstrip(b"\r"))
    if match is None:
        return None
    text = (match[3] or b"").decode(errors="replace")
    if match[1] == b"HELP" and "\\" in text:
        text = _ESCAPE.sub(lambda found: _UNESCAPED.get(found[1], found[0]), text)
    return match[1].decode(), match[2].decode(), text


def _shown(raw: bytes) -> str:
    text = raw[:60].decode(errors="backslashreplace")
    return text.replace("\r", "\\r") + ("…" if len(raw) > 60 else "")
