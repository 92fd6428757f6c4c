"""Output streams that cannot show everything: a terminal or pipe without UTF-8 gets stand-ins, and no traceback."""

import codecs
from typing import Final, TextIO

_STAND_INS: Final = str.maketrans("▁▂▃▄▅▆▇█│└─…→—–·", "_.-~=+*#|+-~>--.")
_UPPER_DOTS: Final = 0x1B
"""The bits of a braille cell for the dots of its upper half."""


def stand_ins(error: UnicodeError) -> tuple[str, int]:
    """For what an encoding has not: curves in ASCII, the rest by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_stand_in, error.object[error.start : error.end])), error.end


def _stand_in(char: str) -> str:
    if 0x2800 <= ord(char) <= 0x28FF:
        dots = ord(char) - 0x2800
        upper, lower = bool(dots & _UPPER_DOTS), bool(dots & ~_UPPER_DOTS)
        return ":" if upper and lower else "'" if upper else "." if lower else " "
    told = char.translate(_STAND_INS)
    return told if told.isascii() else char.encode("ascii", "backslashreplace").decode()


def showing_all(stream: TextIO) -> None:
    """From now on `stream` takes every character."""
    codecs.register_error("observe.stand_ins", stand_ins)
    reconfigure = getattr(stream, "reconfigure", None)  # a stream that a test put there may have none
    if reconfigure is not None:
        reconfigure(errors="observe.stand_ins")
