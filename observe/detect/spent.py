"""Is a `budget:` kept? Calibrated on the first half of labelled series, counted on the second.

`python -m observe.detect.spent DATA` prints the table of docs/quality.md.
All series of a set that have one interval stand for one rule. Printed as Markdown for docs/quality.md.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band
from observe.detect.engine import create
from observe.detect.history import History
from observe.detect.quality import load
from observe.detect.scoring import Labelled
from observe.model import Labels

_ASKED = (1, 5, 20, 50)
_LONGEST_STEP_S = 600.0
_WEEK_MS = 604_800_000
_ABOUT_MS = 1_800_000
"""A page so near to a labelled point is about it."""


def together(series: list[Labelled]) -> Iterator[tuple[str, int, History, NDArray[np.bool_]]]:
    """(set, interval, history of its series on one grid, what is labelled [T, S]) of every set."""
    kinds: dict[tuple[str, int], list[Labelled]] = {}
    for one in series:
        if one.step_s <= _LONGEST_STEP_S:
            kinds.setdefault((one.name.split("/")[0], round(one.step_s * 1000)), []).append(one)
    for (name, step), members in sorted(kinds.items()):
        long = [one for one in members if len(one.points) >= 0.6 * max(len(each.points) for each in members)]
        if len(long) < 3:
            continue
        places = [(one.times_s - one.times_s[0]) * 1000 // step for one in long]
        ticks = min(int(place[-1]) + 1 for place in places)
        values, labelled = np.full((ticks, len(long)), np.nan), np.zeros((ticks, len(long)), np.bool_)
        for column, (one, place) in enumerate(zip(long, places, strict=True)):
            known = (place >= 0) & (place < ticks)
            values[place[known], column] = one.points[known]
            near = np.convolve(one.labels.astype(float), np.ones(2 * (_ABOUT_MS // step) + 1), "same") > 0
            labelled[place[known], column] = near[known]
        names = tuple(Labels({"series": str(number)}) for number in range(len(long)))
        times = 1_700_006_400_000 + step * np.arange(ticks, dtype=np.int64)  # from a midnight
        yield name, step, History(times, names, values), labelled


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="measure whether budgets are kept")
    parser.add_argument("data", type=Path, help="folder with index.json and CSV files timestamp,value,label")
    args = parser.parse_args(words)
    rules = list(together(load(args.data)))
    print("| detector | asked a week | rules within a factor of 2 | pages asked | got | outside labelled events |")
    print("|---|---|---|---|---|---|")
    for detector in ("auto", "rolling", "seasonal"):
        for asked in _ASKED:
            wanted, got, false, kept = 0.0, 0, 0, 0
            for _, step, whole, labelled in rules:
                band, _ = Band.parse({"detector": detector, "budget": f"{asked}/week"})
                half = len(whole.times_ms) // 2
                engine = create(band, step)
                engine.learn(whole.part(0, half), fit=lambda past, _: [None] * len(past.labels))
                later = whole.part(half, len(whole.times_ms))
                firing = engine.fold(later.times_ms, later.labels, later.values).firing
                begun = firing[1:] & ~firing[:-1]
                pages, due = int(begun.sum()), asked * later.span_ms / _WEEK_MS
                wanted, got, false = wanted + due, got + pages, false + int((begun & ~labelled[half + 1 :]).sum())
                kept += 0.5 * due <= max(pages, 0.5) <= 2 * due
            print(f"| `{detector}` | {asked} | {kept} of {len(rules)} | {wanted:.0f} | {got} | {false} |")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
