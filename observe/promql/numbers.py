"""Numbers as Prometheus writes them: the shortest digits that read back as the same double, never an exponent."""

import math
from decimal import Decimal


def shortest(value: float) -> str:
    """`value` as Go's ``strconv.FormatFloat(value, 'f', -1, 64)`` writes it.

    >>> [shortest(value) for value in (1.0, 0.1, 1e21, 1.5e-7, float("inf"))]
    ['1', '0.1', '1000000000000000000000', '0.00000015', '+Inf']
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))  # of a numpy number it would name the type
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")
