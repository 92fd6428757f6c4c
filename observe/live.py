"""One live line at the bottom of a terminal, and lines that stay above it.

Into a file or pipe goes what stays, and a status when it has changed: at most every ten seconds while the server warms
up, then once a minute.
"""

from typing import TextIO

_PIPE_EVERY_S = 10.0
_PIPE_LATER_S = 60.0
_WARM_LINES = 12
"""So many lines come early: two minutes, in which bands get their first baselines."""


class LiveLine:
    """`say` prints a line that stays; `show` replaces the live one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._shown = ""
        self._shown_at = -_PIPE_EVERY_S
        self._written = 0

    def say(self, text: str) -> None:
        if self._terminal and self._shown:
            self._stream.write("\r\x1b[K")
        self._stream.write(text + "\n")
        if self._terminal and self._shown:
            self._stream.write(self._shown)
        self._stream.flush()

    def show(self, text: str, now_s: float) -> None:
        """`now_s` is monotonic time; it only spaces the lines of a pipe."""
        if text == self._shown:
            return
        if self._terminal:
            self._stream.write("\r\x1b[K" + text)
        elif now_s - self._shown_at >= (_PIPE_EVERY_S if self._written < _WARM_LINES else _PIPE_LATER_S):
            self._stream.write(text + "\n")
            self._shown_at = now_s
            self._written += 1
        else:
            return
        self._shown = text
        self._stream.flush()

    def close(self) -> None:
        if self._terminal and self._shown:
            self._stream.write("\n")
            self._stream.flush()
        self._shown = ""
