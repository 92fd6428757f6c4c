"""Sizes as people write them: `500MB`, `10GB`, `1.5TB`."""

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(text: str) -> int:
    """Bytes; `GiB` and `G` count as `GB`. Raises ValueError."""
    text = text.strip()
    whole = text.upper().removesuffix("IB").removesuffix("B") + "B"
    try:
        return int(float(whole[:-2]) * _UNITS[whole[-2:]])
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a size: write 500MB or 10GB") from None
