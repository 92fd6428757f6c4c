"""Numbers for people, as Prometheus' template functions write them."""

import math
from datetime import UTC, datetime

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")
_BINARY = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")


def _short(value: float, suffix: str = "") -> str:
    return f"{value:.4g}{suffix}"


def _special(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None


def humanize(value: float) -> str:
    """With a metric prefix.

    >>> humanize(1234567.0), humanize(0.00012)
    ('1.235M', '120u')
    """
    if (special := _special(value)) is not None:
        return special
    if value == 0:
        return "0"
    prefix = ""
    if abs(value) >= 1:
        for large in _LARGE:
            if abs(value) < 1000:
                break
            prefix, value = large, value / 1000
    else:
        for small in _SMALL:
            if abs(value) >= 1:
                break
            prefix, value = small, value * 1000
    return _short(value, prefix)


def humanize_1024(value: float) -> str:
    """With a binary prefix.

    >>> humanize_1024(1536.0)
    '1.5ki'
    """
    if (special := _special(value)) is not None:
        return special
    prefix = ""
    for binary in _BINARY:
        if abs(value) < 1024:
            break
        prefix, value = binary, value / 1024
    return _short(value, prefix)


def humanize_duration(seconds: float) -> str:
    """As days, hours, minutes and seconds, or a small part of a second.

    >>> humanize_duration(5025.0), humanize_duration(0.0213)
    ('1h 23m 45s', '21.3ms')
    """
    if (special := _special(seconds)) is not None:
        return special
    if seconds == 0:
        return "0s"
    if abs(seconds) >= 1:
        sign = "-" if seconds < 0 else ""
        whole = int(abs(seconds))
        days, rest = divmod(whole, 86_400)
        hours, rest = divmod(rest, 3_600)
        minutes, second = divmod(rest, 60)
        if days:
            return f"{sign}{days}d {hours}h {minutes}m {second}s"
        if hours:
            return f"{sign}{hours}h {minutes}m {second}s"
        if minutes:
            return f"{sign}{minutes}m {second}s"
        return _short(seconds, "s")
    prefix = ""
    for small in _SMALL:
        if abs(seconds) >= 1:
            break
        prefix, seconds = small, seconds * 1000
    return _short(seconds, prefix + "s")


def humanize_percentage(value: float) -> str:
    """A fraction as percents.

    >>> humanize_percentage(0.1234567)
    '12.35%'
    """
    return f"{value * 100:.4g}%"


def humanize_timestamp(seconds: float) -> str:
    """Seconds since the epoch as a moment in UTC.

    >>> humanize_timestamp(1435065584.128)
    '2015-06-23 13:19:44.128 +0000 UTC'
    """
    if (special := _special(seconds)) is not None:
        return special
    moment = datetime.fromtimestamp(seconds, UTC)
    digits = f"{moment.microsecond:06d}".rstrip("0")
    return f"{moment:%Y-%m-%d %H:%M:%S}{'.' + digits if digits else ''} +0000 UTC"
