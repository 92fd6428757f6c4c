"""Is a `budget:` kept? Measured as production goes: the width is read off again each midnight from four weeks.

`python -m observe.detect.spent DATA` prints the tables of docs/quality.md: labelled series (all of a set that have one
interval stand for one rule), and long quiet ones that are made up. Pages are counted on the later half.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band, Budget
from observe.detect.budget import costs_of
from observe.detect.engine import create
from observe.detect.history import History
from observe.detect.quality import load
from observe.detect.quiet import KINDS, STEP_MS, quiet
from observe.detect.scoring import Labelled
from observe.model import Labels

_ASKED = (1, 5, 20)
_DETECTORS = ("auto", "rolling", "seasonal")
_QUIET_WEEKS, _QUIET_SERIES, _QUIET_SEED = 10, 5, 1
_LONGEST_STEP_S = 600.0
_DAY_MS, _WEEK_MS = 86_400_000, 604_800_000
_REACH_MS = 28 * _DAY_MS
"""As production reads for a budget, `observe.alert.learning`."""
_ABOUT_MS = 1_800_000
"""A page so near to a labelled point is about it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Series that one rule would judge."""

    name: str
    interval_ms: int
    past: History
    labelled: NDArray[np.bool_]
    """[T, S]: what is near something labelled."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one rule came to at one budget."""

    due: float
    pages: int
    unlabelled: int

    @property
    def kept(self) -> bool:
        """Within a factor of two; where less than one page is due, none is."""
        return 0.5 * self.due <= max(self.pages, 0.5) <= 2 * self.due

    @property
    def over(self) -> bool:
        return self.pages > max(1.0, 2 * self.due)


def recorded(series: list[Labelled]) -> Iterator[Rule]:
    """A rule for each set and interval of labelled series."""
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
        yield Rule(f"{name} {step // 1000} s", step, History(times, names, values), labelled)


def made_up() -> Iterator[Rule]:
    """A rule for each kind of quiet series."""
    for kind in KINDS:
        past = quiet(kind, _QUIET_SEED, _QUIET_WEEKS, _QUIET_SERIES)
        yield Rule(kind, STEP_MS, past, np.zeros(past.values.shape, np.bool_))


def spend(rule: Rule, detector: str, asked: tuple[int, ...] = _ASKED) -> list[Spent]:
    """What the later half of a rule's past costs at each of the budgets, in pages a week."""
    past, step = rule.past, rule.interval_ms
    half, ticks = len(past.times_ms) // 2, len(past.times_ms)
    engines = [create(Band.parse({"detector": detector, "budget": f"{pages}/week"})[0], step) for pages in asked]
    for engine in engines:
        engine.fold(past.times_ms[:half], past.labels, past.values[:half])
    due = (ticks - half) * step / _WEEK_MS
    pages, unlabelled = [0] * len(asked), [0] * len(asked)
    before = [np.zeros((1, len(past.labels)), np.bool_) for _ in asked]
    for first, last in _days(past, half):
        reached = past.part(int(np.searchsorted(past.times_ms, past.times_ms[first] - _REACH_MS)), first)
        costs = costs_of(Band(detector=engines[0].band.detector), step, reached)
        for number, engine in enumerate(engines):
            if costs is not None:
                engine.spend(costs.spending(Budget(asked[number], _WEEK_MS)))
            now = past.part(first, last)
            firing = np.concatenate([before[number], engine.fold(now.times_ms, now.labels, now.values).firing])
            begun, before[number] = firing[1:] & ~firing[:-1], firing[-1:]
            pages[number] += int(begun.sum())
            unlabelled[number] += int((begun & ~rule.labelled[first:last]).sum())
    return [Spent(one * due, *counts) for one, *counts in zip(asked, pages, unlabelled, strict=True)]


def _days(past: History, half: int) -> Iterator[tuple[int, int]]:
    """The later half, cut at midnights."""
    days = past.times_ms[half:] // _DAY_MS
    cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    yield from ((half + first, half + last) for first, last in itertools.pairwise(cuts))


def _print_table(rules: list[Rule], detectors: tuple[str, ...]) -> None:
    print("| detector | asked a week | rules within a factor of 2 | over it | pages asked | got | ratio "
          "| outside labelled events |")
    print("|---|---|---|---|---|---|---|---|")
    details = []
    for detector in detectors:
        spent = []
        for rule in rules:
            spent.append(spend(rule, detector))
            told = ", ".join(f"{one.pages} of {one.due:.1f}" for one in spent[-1])
            print(f"{detector}, {rule.name}: {told}", file=sys.stderr, flush=True)
            details.append((detector, rule.name, spent[-1]))
        for number, asked in enumerate(_ASKED):
            column = [row[number] for row in spent]
            due, got = sum(one.due for one in column), sum(one.pages for one in column)
            print(f"| `{detector}` | {asked} | {sum(one.kept for one in column)} of {len(rules)} | "
                  f"{sum(one.over for one in column)} | {due:.0f} | {got} | {got / due:.2f} | "
                  f"{sum(one.unlabelled for one in column)} |")
            sys.stdout.flush()
    print("\n| rule | detector |" + "".join(f" asked, got, outside at {asked} a week |" for asked in _ASKED))
    print("|---|---|" + "---|" * len(_ASKED))
    for detector, name, row in sorted(details, key=lambda one: one[1]):
        print(f"| {name} | `{detector}` |" + "".join(
            f" {one.due:.1f}, {one.pages}, {one.unlabelled} |" for one in row))


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="measure whether budgets are kept")
    parser.add_argument("data", type=Path, help="folder with index.json and CSV files timestamp,value,label")
    parser.add_argument("--detector", choices=_DETECTORS, action="append", help="only this one")
    args = parser.parse_args(words)
    detectors = tuple(args.detector or _DETECTORS)
    _print_table(list(recorded(load(args.data))), detectors)
    print()
    _print_table(list(made_up()), detectors)
    return 0


if __name__ == "__main__":
    sys.exit(main())
