"""Is a `budget:` kept? Measured as production goes, on the later half of long series.

`python -m observe.detect.spent DATA` prints the tables of docs/quality.md: labelled series, all of a set that have one
interval as one rule; long ones each as a rule of its own; and quiet ones that are made up.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band, Budget
from observe.detect.budget import Costs
from observe.detect.budgeted import fold_budgeted
from observe.detect.engine import create
from observe.detect.history import History
from observe.detect.quality import load
from observe.detect.quiet import KINDS, STEP_MS, quiet
from observe.detect.scoring import Labelled
from observe.model import Labels

_ASKED = (1, 5, 20)
_DETECTORS = ("auto", "rolling", "seasonal")
_QUIET_WEEKS, _QUIET_SERIES, _QUIET_SEED = 12, 5, 1
_LONGEST_STEP_S = 600.0
_LONG_S = 21 * 86_400
_WEEK_MS = 604_800_000
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


def together(series: list[Labelled]) -> Iterator[Rule]:
    """A rule for each set and interval of labelled series."""
    kinds: dict[tuple[str, int], list[Labelled]] = {}
    for one in series:
        if one.step_s <= _LONGEST_STEP_S:
            kinds.setdefault((one.name.split("/")[0], round(one.step_s * 1000)), []).append(one)
    for (name, step), members in sorted(kinds.items()):
        long = [one for one in members if len(one.points) >= 0.6 * max(len(each.points) for each in members)]
        if len(long) >= 3:
            yield _rule(f"{name} {step // 1000} s", step, long)


def alone(series: list[Labelled]) -> Iterator[Rule]:
    """A rule for each labelled series of three weeks and more."""
    for one in series:
        if one.step_s <= _LONGEST_STEP_S and one.times_s[-1] - one.times_s[0] >= _LONG_S:
            yield _rule(one.name, round(one.step_s * 1000), [one])


def _rule(name: str, step: int, series: list[Labelled]) -> Rule:
    """On one grid, from a midnight."""
    places = [(one.times_s - one.times_s[0]) * 1000 // step for one in series]
    ticks = min(int(place[-1]) + 1 for place in places)
    values, labelled = np.full((ticks, len(series)), np.nan), np.zeros((ticks, len(series)), np.bool_)
    for column, (one, place) in enumerate(zip(series, places, strict=True)):
        known = (place >= 0) & (place < ticks)
        values[place[known], column] = one.points[known]
        near = np.convolve(one.labels.astype(float), np.ones(2 * (_ABOUT_MS // step) + 1), "same") > 0
        labelled[place[known], column] = near[known]
    names = tuple(Labels({"series": str(number)}) for number in range(len(series)))
    times = 1_700_006_400_000 + step * np.arange(ticks, dtype=np.int64)
    return Rule(name, step, History(times, names, values), labelled)


def made_up() -> Iterator[Rule]:
    """A rule for each kind of quiet series."""
    for kind in KINDS:
        past = quiet(kind, _QUIET_SEED, _QUIET_WEEKS, _QUIET_SERIES)
        yield Rule(kind, STEP_MS, past, np.zeros(past.values.shape, np.bool_))


def spend(rule: Rule, detector: str, asked: tuple[int, ...] = _ASKED) -> list[Spent]:
    """What the later half of a rule's past costs at each of the budgets, in pages a week."""
    past, half = rule.past, len(rule.past.times_ms) // 2
    band, _ = Band.parse({"detector": detector})
    costs = Costs(band, rule.interval_ms, past)
    due = (len(past.times_ms) - half) * rule.interval_ms / _WEEK_MS
    spent = []
    for pages in asked:
        engine = create(band, rule.interval_ms)
        firing = fold_budgeted(engine, past, Budget(pages, _WEEK_MS), costs).firing
        begun = firing[half:] & ~firing[half - 1 : -1]
        spent.append(Spent(pages * due, int(begun.sum()), int((begun & ~rule.labelled[half:]).sum())))
    return spent


def _print_table(rules: list[Rule], detectors: tuple[str, ...], *, each: bool = True) -> None:
    print("| detector | asked a week | rules within a factor of 2 | above it | pages asked | got | ratio "
          "| outside labelled events |")
    print("|---|---|---|---|---|---|---|---|")
    details = []
    for detector in detectors:
        spent = []
        for rule in rules:
            spent.append(spend(rule, detector))
            details.append((detector, rule.name, spent[-1]))
            told = ", ".join(f"{one.pages} of {one.due:.1f}" for one in spent[-1])
            print(f"{detector}, {rule.name}: {told}", file=sys.stderr, flush=True)
        for number, asked in enumerate(_ASKED):
            column = [row[number] for row in spent]
            due, got = sum(one.due for one in column), sum(one.pages for one in column)
            print(f"| `{detector}` | {asked} | {sum(one.kept for one in column)} of {len(rules)} | "
                  f"{sum(one.over for one in column)} | {due:.0f} | {got} | {got / due:.2f} | "
                  f"{sum(one.unlabelled for one in column)} |")
            sys.stdout.flush()
    print()
    if not each:
        return
    print("| rule | detector |" + "".join(f" asked, got, outside at {asked} a week |" for asked in _ASKED))
    print("|---|---|" + "---|" * len(_ASKED))
    for detector, name, row in sorted(details, key=lambda one: one[1]):
        print(f"| {name} | `{detector}` |" + "".join(
            f" {one.due:.1f}, {one.pages}, {one.unlabelled} |" for one in row))
    print()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="measure whether budgets are kept")
    parser.add_argument("data", type=Path, help="folder with index.json and CSV files timestamp,value,label")
    parser.add_argument("--detector", choices=_DETECTORS, action="append", help="only this one")
    args = parser.parse_args(words)
    detectors, series = tuple(args.detector or _DETECTORS), load(args.data)
    _print_table(list(together(series)), detectors)
    _print_table(list(alone(series)), detectors, each=False)
    _print_table(list(made_up()), detectors)
    return 0


if __name__ == "__main__":
    sys.exit(main())
