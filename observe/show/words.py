"""Numbers and times as people say them: three digits and a unit, "4 min", "gateway /generate"."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from observe.model import Labels

NBSP: Final = "\u00a0"

_SI: Final = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""(from this size, factor, prefix): four digits are read faster than a prefix."""
_BINARY: Final = ((2.0**50, "PiB"), (2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_SECONDS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))

_FIRST_LABELS: Final = ("service", "endpoint", "job", "instance", "gpu", "queue", "pool", "model_name", "collector")
_PLAIN_LABELS: Final = frozenset({"alertname", "severity", "__name__", "team", "replica", "rule"})


def digits(value: float) -> str:
    """Three significant digits, without an exponent for sizes that people meet.

    >>> digits(2.4137), digits(0.38), digits(1234), digits(0)
    ('2.41', '0.38', '1,234', '0')
    """
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size < 0.001:
        return f"{value:.2g}"
    places = max(0, 2 - math.floor(math.log10(size)))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity(value: float | None, unit: str = "") -> str:
    r"""`value` with its unit, scaled so that it reads well.

    >>> [quantity(0.0421, "s"), quantity(0.38, "%"), quantity(1.3e9, "B"), quantity(14, "req/s")]
    ['42.1\xa0ms', '38\xa0%', '1.21\xa0GiB', '14\xa0req/s']
    """
    if value is None or math.isnan(value):
        return "no value"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    number, shown = scaled(value, unit)
    said = f"{number}{NBSP}{shown}".rstrip(NBSP)
    return f"−{said[1:]}" if said.startswith("-") else said


def scaled(value: float, unit: str) -> tuple[str, str]:
    """The digits and the unit that `quantity` joins.

    >>> scaled(0.99996, "s")
    ('1', 's')
    """
    factor, shown = scale_of(float(f"{abs(value):.3g}"), unit)  # as it will be written: 1 s, not 1000 ms
    return digits(value / factor), shown


def scale_of(size: float, unit: str) -> tuple[float, str]:
    """What to divide by, and the unit to show, for numbers of about `size`."""
    if unit == "s":
        return next(
            ((factor, name) for factor, name in _SECONDS if size >= factor), (1.0, "s") if not size else (1e-6, "µs")
        )
    if unit == "ms":
        factor, name = scale_of(size / 1000, "s")
        return factor * 1000, name
    if unit in {"B", "B/s"}:
        factor, name = next(((f, n) for f, n in _BINARY if size >= f), (1.0, "B"))
        return factor, name + unit[1:]
    if unit == "%":
        return 0.01, "%"
    if unit == "percent":
        return 1.0, "%"
    factor, prefix = next(((f, p) for least, f, p in _SI if size >= least), (1.0, ""))
    return factor, f"{prefix}{NBSP}{unit}".strip(NBSP) if prefix else unit


def span_of(low: float | None, high: float | None, unit: str = "") -> str:
    r"""A range with one unit.

    >>> span_of(0.38, 0.61, "s"), span_of(None, 0.61, "s")
    ('380–610\xa0ms', 'up to 610\xa0ms')
    """
    low_known, high_known = low is not None and math.isfinite(low), high is not None and math.isfinite(high)
    if low is not None and low_known and high is not None and high_known:
        factor, shown = scale_of(max(abs(low), abs(high)), unit)
        joined = (
            f"{digits(low / factor)}–{digits(high / factor)}"
            if low >= 0
            else (f"{digits(low / factor)} to {digits(high / factor)}".replace("-", "−"))
        )
        return f"{joined}{NBSP}{shown}".rstrip(NBSP)
    if high is not None and high_known:
        return f"up to {quantity(high, unit)}"
    if low is not None and low_known:
        return f"at least {quantity(low, unit)}"
    return "not known yet"



def duration(milliseconds: float) -> str:
    r"""An elapsed time in its one or two largest units.

    >>> [duration(3200), duration(240_000), duration(4_800_000), duration(200_000_000)]
    ['3\xa0s', '4\xa0min', '1\xa0h\xa020\xa0min', '2\xa0d\xa07\xa0h']
    """
    seconds = int(milliseconds // 1000)
    if seconds < 1:
        return f"{max(0, int(milliseconds))}{NBSP}ms"
    parts = []
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{NBSP}{name}")
        elif parts:
            break
        if len(parts) == 2 or (parts and name == "min"):
            break
    return NBSP.join(parts)


def took(milliseconds: float) -> str:
    """How long an operation took, precisely: ``2.63 s``, ``412 ms``."""
    return quantity(milliseconds / 1000, "s")


def plural(count: int, one: str, many: str = "") -> str:
    r"""A count with its noun.

    >>> plural(1, "alert"), plural(2, "series", "series")
    ('1\xa0alert', '2\xa0series')
    """
    return f"{count:,}{NBSP}{one if count == 1 else many or one + 's'}"


def count(number: int) -> str:
    """A count as it is read: ``2,572``."""
    return f"{number:,}"


def utc(time_ms: int) -> str:
    """A time for the hover: ``2025-11-21 04:00:00 UTC``."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(time_ms: int, form: str) -> str:
    """A time in UTC in one of the console's forms; the browser rewrites it in its own zone.

    Forms: ``hm``, ``hms``, ``full`` (to the ms), ``day`` (with the date).
    """
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    match form:
        case "hm":
            return moment.strftime("%H:%M")
        case "hms":
            return moment.strftime("%H:%M:%S")
        case "full":
            return f"{moment.strftime('%H:%M:%S')}.{time_ms % 1000:03d}"
        case _:
            return moment.strftime("%-d %b %H:%M")


def subject(labels: Mapping[str, str]) -> str:
    """What an alert or a series is about, in two or three words: ``gateway /generate``."""
    place = labels.get("service") or labels.get("job") or labels.get("instance") or ""
    rest = [labels[name] for name in ("endpoint", "queue", "gpu", "model_name", "pool") if labels.get(name)]
    if not rest and place != labels.get("instance") and labels.get("instance"):
        rest = [labels["instance"]]
    return " ".join([word for word in [place, *rest] if word])


def telling(labels: Labels, siblings: Iterable[Labels] = ()) -> list[tuple[str, str]]:
    """Labels in the order they help: those that tell this series from its siblings first, then the known ones."""
    others = list(siblings)
    differs = {name for other in others for name in {*labels, *other} if labels.get(name) != other.get(name)}

    def rank(pair: tuple[str, str]) -> tuple[bool, int, str]:
        name = pair[0]
        known = _FIRST_LABELS.index(name) if name in _FIRST_LABELS else len(_FIRST_LABELS)
        return (name not in differs, known, name)

    return sorted(((n, v) for n, v in labels.pairs if n not in _PLAIN_LABELS), key=rank)


def series_title(labels: Labels, siblings: Iterable[Labels] = ()) -> str:
    """A short name of one series among others, for a legend."""
    others = [other for other in siblings if other.pairs != labels.pairs]
    differs = {name for other in others for name in {*labels, *other} if labels.get(name) != other.get(name)}
    named = [(name, value) for name, value in telling(labels, others) if name in differs or not differs]
    if differs == {"__name__"} or (not named and labels.name):
        return labels.name
    text = ", ".join(value if name in _FIRST_LABELS else f"{name}={value}" for name, value in named[:4])
    more = len(named) - 4
    head = f"{labels.name} " if "__name__" in differs and labels.name else ""
    return (head + text + (f" +{more}" if more > 0 else "")) or "value"
