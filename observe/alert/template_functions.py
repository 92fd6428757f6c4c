"""What alert texts may call: Go's and Prometheus' template functions over numbers, words and label sets."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from observe.alert.humanize import humanize, humanize_1024, humanize_duration, humanize_percentage, humanize_timestamp
from observe.duration import parse_duration_ms
from observe.patterns import compiled

Value = float | str | bool | Mapping[str, str]

_VERB = re.compile(r"%([-+ 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")
_WIDEST = 1000
"""Of printf: a text that pads to a billion blanks would take the memory of whoever pages."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a template may look at."""

    labels: Mapping[str, str]
    value: float
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    band: Mapping[str, float] = field(default_factory=dict)
    """lower, upper, baseline and score of a band rule."""
    dot: Value = ""
    """What ``{{ . }}`` is, inside a `with`."""


def truth(value: Value) -> bool:
    return bool(value)


def show(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{name}:{value[name]}" for name in sorted(value)) + "]"
    return value


def format_float(value: float) -> str:
    """As Go prints a float64 with %v: shortest, exponent below 1e-4 and from 1e21."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value)) if value or math.copysign(1, value) > 0 else "-0"
    text = repr(value)
    if "e" in text and 1e-4 <= abs(value) < 1e21:
        text = f"{value:f}"
    return text


def _number(value: Value) -> float:
    if isinstance(value, float):
        return value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a number") from None
    raise TypeError(f"{show(value)!r} is not a number")


def _text(value: Value) -> str:
    return show(value)


def _printf(values: Sequence[Value]) -> str:
    rest = list(values[1:])

    def put(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        if int(width or 0) > _WIDEST or int(precision or 0) > _WIDEST:
            raise ValueError(f"printf pads to {_WIDEST} places at most")
        value = rest.pop(0)
        spec = f"%{flags}{width or ''}{'.' + precision if precision is not None else ''}"
        if verb in "feEgG":
            return (spec + verb) % _number(value)
        if verb == "d":
            return (spec + "d") % int(_number(value))
        if verb in "sv":
            return (spec + "s") % _text(value)
        if verb == "q":
            return '"' + _text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        if verb in "xX":
            return (spec + verb) % int(_number(value))
        raise ValueError(f"printf does not know %{verb}")

    return _VERB.sub(put, _text(values[0]))


def _order(values: Sequence[Value]) -> tuple[float | str, float | str]:
    left, right = values[0], values[1]
    if isinstance(left, str) and isinstance(right, str):
        return left, right
    return _number(left), _number(right)


def _equal(values: Sequence[Value]) -> bool:
    left, right = _order(values)
    return left == right


def _less(values: Sequence[Value]) -> bool:
    left, right = _order(values)
    return left < right  # type: ignore[operator]


def _index(values: Sequence[Value]) -> str:
    if not isinstance(values[0], Mapping):
        raise TypeError("index needs $labels")
    return values[0].get(_text(values[1]), "")


def _replace(values: Sequence[Value]) -> str:
    replacement = re.sub(r"\$\{?(\d+)\}?", r"\\\1", _text(values[1]))
    return str(compiled(_text(values[0]), dot_all=False).sub(replacement, _text(values[2])))


def _match(values: Sequence[Value]) -> bool:
    return compiled(_text(values[0]), dot_all=False).search(_text(values[1])) is not None


def _strip_port(values: Sequence[Value]) -> str:
    host, colon, port = _text(values[0]).rpartition(":")
    return host.strip("[]") if colon and port.isdigit() else _text(values[0])


def _strip_domain(values: Sequence[Value]) -> str:
    text = _text(values[0])
    host, colon, port = text.rpartition(":")
    if not (colon and port.isdigit()):
        host, colon, port = text, "", ""
    if re.fullmatch(r"[\d.]+|\[?[0-9a-fA-F:]+\]?", host):
        return text
    return host.split(".", 1)[0] + colon + port


_Function = Callable[[Sequence[Value], Scope], Value]


def _of(function: Callable[[Sequence[Value]], Value]) -> _Function:
    return lambda values, _: function(values)


FUNCTIONS: Mapping[str, tuple[int, int, _Function]] = {
    "humanize": (1, 1, _of(lambda values: humanize(_number(values[0])))),
    "humanize1024": (1, 1, _of(lambda values: humanize_1024(_number(values[0])))),
    "humanizeDuration": (1, 1, _of(lambda values: humanize_duration(_number(values[0])))),
    "humanizePercentage": (1, 1, _of(lambda values: humanize_percentage(_number(values[0])))),
    "humanizeTimestamp": (1, 1, _of(lambda values: humanize_timestamp(_number(values[0])))),
    "printf": (1, 32, _of(_printf)),
    "print": (1, 32, _of(lambda values: "".join(map(_text, values)))),
    "title": (1, 1, _of(lambda values: re.sub(r"(^|\s)(\w)", lambda m: m[1] + m[2].upper(), _text(values[0])))),
    "toUpper": (1, 1, _of(lambda values: _text(values[0]).upper())),
    "toLower": (1, 1, _of(lambda values: _text(values[0]).lower())),
    "reReplaceAll": (3, 3, _of(_replace)),
    "match": (2, 2, _of(_match)),
    "stripPort": (1, 1, _of(_strip_port)),
    "stripDomain": (1, 1, _of(_strip_domain)),
    "parseDuration": (1, 1, _of(lambda values: parse_duration_ms(_text(values[0])) / 1000)),
    "index": (2, 2, _of(_index)),
    "eq": (2, 2, _of(_equal)),
    "ne": (2, 2, _of(lambda values: not _equal(values))),
    "lt": (2, 2, _of(_less)),
    "le": (2, 2, _of(lambda values: _less(values) or _equal(values))),
    "gt": (2, 2, _of(lambda values: not _less(values) and not _equal(values))),
    "ge": (2, 2, _of(lambda values: not _less(values))),
    "not": (1, 1, _of(lambda values: not truth(values[0]))),
    "and": (1, 32, _of(lambda values: next((value for value in values if not truth(value)), values[-1]))),
    "or": (1, 32, _of(lambda values: next((value for value in values if truth(value)), values[-1]))),
    "len": (1, 1, _of(lambda values: float(len(values[0])) if isinstance(values[0], str | Mapping) else math.nan)),
    "externalURL": (0, 0, lambda _, scope: scope.external_url),
}
