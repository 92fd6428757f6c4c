"""How the shipped rules do: quiet weeks and some thousand faults, `python -m tests.drill.rules`.

For each shipped rule with a band, series of its expression are made up (`expressions`), faults are put into them
(`faults`), and the rule's bands and its state machine say when it pages (`paging`). The rules are compared with
themselves under another detector. Prints tables in Markdown; seeded, some minutes.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace

import numpy as np

from observe.alert.rules import find_files, load_files
from observe.detect.band import Band, Quorum
from observe.promql.engine import Engine
from observe.testing import MemorySource
from tests.drill.expressions import DAY, EXPRESSIONS, MINUTE
from tests.drill.faults import ONE_SHAPE_AT, SHAPES, SIZES, STEP, TIMES
from tests.drill.paging import Bands, pages_of

WEEKS = 2
_LEAD = 15 * MINUTE


def _as_seasonal(band):
    return replace(band, detector="seasonal", k=4.0, trigger=max(band.trigger, Quorum(3, 5), key=lambda q: q.m),
                   recover=Quorum(5, 5))


def _as_auto(band):
    usual = Band()
    return replace(band, detector="auto", k=usual.k, trigger=usual.trigger, recover=usual.recover)


def _as_auto_with_a_trigger(band):
    return replace(_as_auto(band), trigger=max(band.trigger, Quorum(3, 5), key=lambda q: q.m))


VARIANTS = {
    "shipped": lambda band: band,
    "seasonal": _as_seasonal,
    "robust": lambda band: replace(_as_seasonal(band), detector="robust"),
    "auto": _as_auto,
    "auto, 3 of 5": _as_auto_with_a_trigger,
}


@dataclass(frozen=True)
class Trial:
    """One fault in one series, and what the rule made of it. Delays are in minutes."""

    rule: str
    variant: str
    when: str
    shape: str
    size: int
    found: bool
    delay: float
    on: float
    """Part of the fault, from the page on, for which the alert was on."""
    ended: float
    """Minutes from the fault's end until the alert's; NaN where it was not on at the end."""
    pages: int
    """For one fault: more than one is a nuisance."""


@dataclass(frozen=True)
class Quiet:
    """Pages of one series without a fault, in points from the start."""

    rule: str
    variant: str
    pages: tuple[int, ...]
    on: float


def shipped_rules():
    groups = load_files(find_files(["builtin"]), Engine(MemorySource()).check)
    return {rule.name: rule for group in groups for rule in group.rules if rule.kind == "alerting" and rule.band}


def measure(rule, variants, seeds, faults=True):
    """All trials and quiet series of one rule."""
    made = EXPRESSIONS[rule.name]
    quiet = made.values(0, WEEKS * 7 * DAY, seeds=seeds)
    told, trials = [], []
    windows = _windows(rule, made, seeds) if faults else {}
    for name in variants:
        bands = Bands(VARIANTS[name](rule.band), quiet.shape[1])
        firing, at = [], 0
        for when, start in sorted(TIMES.items(), key=lambda item: item[1]):
            firing.append(bands.fold(at, quiet[at:start]))
            at = start
            lead = np.concatenate(firing)[-_LEAD:]
            for shape, size, values in windows.get(when, ()):
                twin = bands.fork()
                on = np.concatenate([lead, twin.fold(start, values)])
                seen = np.concatenate([quiet[start - len(lead) : start], values])
                trials += _trials(rule, name, when, shape, size, on, seen, len(lead))
        whole = np.concatenate(firing)
        for column in range(whole.shape[1]):
            pages = pages_of(whole[:, column], quiet[: len(whole), column], rule)
            on = sum(page.resolved - page.fired for page in pages) / len(whole)
            told.append(Quiet(rule.name, name, tuple(page.fired for page in pages), on))
    return told, trials


def _windows(rule, made, seeds):
    """When -> faults there with their values: the same for every variant."""
    windows = {}
    for when, start in TIMES.items():
        windows[when] = [
            (shape, number, made.values(start, start + len(shape.strength), size.effect(shape.strength), seeds, number))
            for shape in ((STEP,) if when in ONE_SHAPE_AT else SHAPES) for number, size in enumerate(SIZES[rule.name])
        ]
    return windows


def _trials(rule, variant, when, shape, size, firing, values, lead):
    began, ends = lead + shape.began, lead + shape.ends
    for column in range(values.shape[1]):
        pages = pages_of(firing[:, column], values[:, column], rule)
        about = [page for page in pages if page.fired < ends + MINUTE and page.resolved > began]
        news = [page for page in about if page.fired >= began] or about
        if not np.isfinite(values[began:ends, column]).any():
            continue  # nothing was there to judge
        first = max(began, min((page.fired for page in about), default=ends))
        on = sum(min(page.resolved, ends) - max(page.fired, began) for page in about if page.fired < ends)
        late = max((page.resolved for page in about), default=ends) - ends
        yield Trial(
            rule.name, variant, when, shape.words, size, bool(about),
            (first - began) / MINUTE if about else np.nan, on / (ends - first) if first < ends else np.nan,
            late / MINUTE if about and late > 0 else np.nan, len(news),
        )


def _median(values):
    values = [value for value in values if np.isfinite(value)]
    return f"{np.median(values):.1f}" if values else "–"


def _mean(values):
    values = [value for value in values if np.isfinite(value)]
    return f"{np.mean(values):.2f}" if values else "–"


def _row(trials):
    """Found, median delay, on, ended, pages: of the faults that should page."""
    found = [trial for trial in trials if trial.found]
    share = f"{100 * len(found) / len(trials):.0f} %" if trials else "–"
    return (share, _median([trial.delay for trial in found]), _mean([trial.on for trial in found]),
            _median([trial.ended for trial in found]), _mean([float(trial.pages) for trial in found]))


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


FAULT_HEAD = ("found", "median delay, min", "on for", "over after, min", "pages each")


def report(told, trials, variants, say=print):
    """The tables: quiet pages a rule, then faults by rule, by shape and by time."""
    rules = list(dict.fromkeys(quiet.rule for quiet in told))

    def quiet_rate(rule, variant, first=0, last=14):
        mine = [quiet for quiet in told if quiet.variant == variant and rule in (quiet.rule, "")]
        count = sum(first * DAY <= page < last * DAY for quiet in mine for page in quiet.pages)
        return 7 * count / (last - first) / len(mine)

    say("Without a fault, pages a series and week: the first day, days 2 to 7, the second week\n")
    spans = ((0, 1), (1, 7), (7, 14))
    rows = [[rule or "**mean**", *(" / ".join(f"{quiet_rate(rule, variant, *span):.2g}" for span in spans)
                                   for variant in variants)] for rule in (*rules, "")]
    say(table(["rule", *variants], rows) + "\n")

    def of(variant, **wanted):
        return [trial for trial in trials if trial.variant == variant
                and all(getattr(trial, key) == value for key, value in wanted.items())]

    for words, size in (("gross", 2), ("clear", 1), ("small, no page wanted", 0)):
        say(f"Faults that are {words}\n")
        for title, key, values in (
            ("rule", "rule", rules), ("shape", "shape", [shape.words for shape in SHAPES]), ("when", "when", TIMES),
        ):
            rows = []
            for value in values:
                cells = [_row(of(variant, size=size, **{key: value})) for variant in variants]
                rows.append([value, *(" / ".join(cell) for cell in cells)])
            if title == "rule":
                cells = [_row(of(variant, size=size)) for variant in variants]
                rows.append(["**all**", *(" / ".join(cell) for cell in cells)])
            say(table([title, *variants], rows) + "\n")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", nargs="+", default=["shipped", "seasonal", "auto"], choices=VARIANTS)
    parser.add_argument("--rules", nargs="+", help="only these")
    parser.add_argument("--seeds", type=int, default=2, help="lives of each kind of series (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="no faults")
    args = parser.parse_args(argv)
    told, trials, began = [], [], time.monotonic()
    for name, rule in shipped_rules().items():
        if args.rules and name not in args.rules:
            continue
        more = measure(rule, args.variants, args.seeds, not args.quiet)
        told += more[0]
        trials += more[1]
        print(f"{time.monotonic() - began:5.0f} s  {name}", file=sys.stderr, flush=True)
    report(told, trials, args.variants)
    return 0


if __name__ == "__main__":
    sys.exit(main())
