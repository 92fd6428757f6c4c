"""Durations as Prometheus writes them: ``30s``, ``5m``, ``1h30m``, ``2d``."""

import re

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")


def parse_duration_ms(text: str) -> int:
    """Milliseconds of a Prometheus duration such as ``1h30m``. Raises ValueError.

    >>> parse_duration_ms("1h30m")
    5400000
    """
    match = _DURATION.fullmatch(text.strip())
    if text.strip() == "0":
        return 0
    if not match or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration: write it as 30s, 5m, 1h30m or 2d")
    units = ("y", "w", "d", "h", "m", "s", "ms")
    return sum(int(number) * _UNIT_MS[unit] for number, unit in zip(match.groups(), units, strict=True) if number)


def format_duration(duration_ms: int) -> str:
    """The shortest Prometheus duration that says `duration_ms`.

    >>> format_duration(5400000)
    '1h30m'
    """
    rest, parts = abs(duration_ms), []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if duration_ms < 0 else "") + ("".join(parts) or "0s")
