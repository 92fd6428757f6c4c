"""Who the series in memory belong to, targets and rules, each as a small number.

The log names them with their series, so that a limit holds over restarts.
Targets come and go by the thousand where every deployment brings new ones: the number of an owner whose series have all
left the memory is given to another, and its name forgotten.
"""

from typing import Final

_LOOK_AT: Final = 1024
"""Owners before it is first looked for such that have no series."""


class Owners:
    """The caller's lock guards it. `series` are counts by number, kept by the head; number 0 is nobody."""

    def __init__(self, series: list[int]) -> None:
        self._series = series
        self._numbers = {"": 0}
        self._names = [""]
        self._free: list[int] = []
        self._look_at = _LOOK_AT

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, name: str) -> int:
        """The number of this owner, for as long as it has series."""
        number = self._numbers.get(name)
        if number is None:
            if len(self._numbers) >= self._look_at:
                self._forget()
            if self._free:
                number = self._free.pop()
            else:
                number = len(self._series)
                self._series.append(0)
                self._names.append("")
            self._numbers[name] = number
            self._names[number] = name
        return number

    def name(self, number: int) -> str:
        """Who has this number."""
        return self._names[number]

    def _forget(self) -> None:
        for name, number in list(self._numbers.items()):
            if number and not self._series[number]:
                del self._numbers[name]
                self._free.append(number)
        self._look_at = max(_LOOK_AT, 2 * len(self._numbers))
