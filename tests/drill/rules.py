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
import yaml

from observe.alert.rule_files import find_files, load_files
from observe.detect.band import Band
from observe.duration import parse_duration_ms
from observe.promql.engine import Engine
from observe.testing import MemorySource
from tests.drill.expressions import EXPRESSIONS
from tests.drill.faults import ONE_SHAPE_AT, SHAPES, SIZES, STEP, TIMES
from tests.drill.lives import DAY, MINUTE
from tests.drill.paging import Bands, pages_of

_LEAD = 15 * MINUTE


def _changed(**keys):
    """A rule with some keys of its band, `for` or `keep_firing_for` changed; a band's other keys stay as they are."""
    def change(rule):
        timing = {
            f"{key.rstrip('_')}_ms": parse_duration_ms(str(keys[key]))
            for key in ("for_", "keep_firing_for") if key in keys
        }
        wanted = {key: value for key, value in keys.items() if key not in ("for_", "keep_firing_for")}
        band, problems = Band.parse({"detector": rule.band.detector, **wanted})
        if problems:
            raise SystemExit(f"rules: {problems[0]}")
        given = {_FIELDS.get(key, key): getattr(band, _FIELDS.get(key, key)) for key in wanted}
        return replace(rule, band=replace(rule.band, **given), **timing)
    return change


_FIELDS = {"relearn_after": "relearn_after_ms"}

VARIANTS = {
    "shipped": lambda rule: rule,
    "seasonal": _changed(detector="seasonal", k=4, trigger="3 of 5", recover="5 of 5", relearn_after="2h", for_="0s",
                         keep_firing_for="30s"),
    "robust": _changed(detector="robust", k=4, trigger="3 of 5", recover="5 of 5"),
    "auto": _changed(detector="auto", k="normal", trigger="1 of 1", recover="7 of 7", relearn_after="8h"),
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
    weeks: float
    on: float


def shipped_rules():
    groups = load_files(find_files(["builtin"]), Engine(MemorySource()).check)
    return {rule.name: rule for group in groups for rule in group.rules if rule.kind == "alerting" and rule.band}


def measure(rule, variants, seeds, times=TIMES, shapes=SHAPES, sizes=(0, 1, 2)):
    """Trials and quiet series of one rule, until the last of `times`."""
    made = EXPRESSIONS[rule.name]
    quiet = made.values(0, max(times.values()), seeds=seeds)
    told, trials = [], []
    windows = _windows(rule, made, seeds, times, shapes, sizes)
    for name, change in variants.items():
        tried = change(rule)
        bands = Bands(tried.band, quiet.shape[1])
        firing, at = [], 0
        for when, start in sorted(times.items(), key=lambda item: item[1]):
            firing.append(bands.fold(at, quiet[at:start]))
            at = start
            lead = np.concatenate(firing)[-_LEAD:]
            for shape, size, values in windows[when]:
                twin = bands.fork()
                on = np.concatenate([lead, twin.fold(start, values)])
                seen = np.concatenate([quiet[start - len(lead) : start], values])
                trials += _trials(tried, name, when, shape, size, on, seen, len(lead))
        whole = np.concatenate(firing)
        for column in range(whole.shape[1]):
            pages = pages_of(whole[:, column], quiet[: len(whole), column], tried)
            on = sum(page.resolved - page.fired for page in pages) / len(whole)
            told.append(Quiet(rule.name, name, tuple(page.fired for page in pages), len(whole) / (7 * DAY), on))
    return told, trials


def _windows(rule, made, seeds, times, shapes, sizes):
    """When -> faults there with their values: the same for every variant."""
    def values(start, shape, size):
        effect = SIZES[rule.name][size].effect(shape.strength)
        return made.values(start, start + len(shape.strength), effect, seeds, draw=size)

    return {
        when: [
            (shape, size, values(start, shape, size))
            for shape in shapes if shape is STEP or when not in ONE_SHAPE_AT for size in sizes
        ]
        for when, start in times.items()
    }


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


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


HEAD = (
    "pages a week", "clear found", "gross found", "after, min", "on for", "over after, min", "pages a fault", "small",
)
"""Of a series without a fault; faults found, by size; median delay; part of a fault, from the page on, that it was on;
median time to its end; pages for one fault; small faults that paged."""


def _cells(quiet, trials):
    """The columns of `HEAD`."""
    weeks = [len(one.pages) / one.weeks for one in quiet]
    share = [_share([trial for trial in trials if trial.size == size]) for size in (1, 2, 0)]
    found = [trial for trial in trials if trial.found and trial.size > 0]
    return (
        _mean(weeks), share[0], share[1], _median([trial.delay for trial in found]),
        _mean([trial.on for trial in found]), _median([trial.ended for trial in found]),
        _mean([float(trial.pages) for trial in found]), share[2],
    )


def _share(trials):
    return f"{100 * sum(trial.found for trial in trials) / len(trials):.0f} %" if trials else "–"


def report(told, trials, variants, say=print):
    """By rule, a table for each variant; then all rules together, by variant; then by shape and time of the fault."""
    rules = list(dict.fromkeys(quiet.rule for quiet in told))

    def of(variant, **wanted):
        return [[one for one in measured if one.variant == variant
                 and all(getattr(one, key) == value for key, value in wanted.items())] for measured in (told, trials)]

    for variant in variants:
        say(table([variant, *HEAD], [[rule, *_cells(*of(variant, rule=rule))] for rule in rules]) + "\n")
    say(table(["all rules", *HEAD], [[variant, *_cells(*of(variant))] for variant in variants]) + "\n")
    rows = []
    for key, values in (("shape", [shape.words for shape in SHAPES]), ("when", TIMES)):
        for value in values:
            found = [[trial for trial in trials if trial.variant == variant and getattr(trial, key) == value]
                     for variant in variants]
            cells = [_share([trial for trial in mine if trial.size == size]) for mine in found for size in (1, 2)]
            rows.append([value, *cells])
    say(table(["fault", *(f"{variant}: {size}" for variant in variants for size in ("clear", "gross"))], rows))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as", dest="variants", nargs="+", default=["shipped", "seasonal", "auto"], metavar="VARIANT",
                        help=f"{', '.join(VARIANTS)}, or keys to change: '{{trigger: 5 of 5, for_: 2m}}'")
    parser.add_argument("--rules", nargs="+", help="only these")
    parser.add_argument("--seeds", type=int, default=2, help="lives of each kind of series (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="no faults")
    args = parser.parse_args(argv)
    variants = {name: VARIANTS.get(name) or _changed(**yaml.safe_load(name)) for name in args.variants}
    told, trials, began = [], [], time.monotonic()
    for name, rule in shipped_rules().items():
        if args.rules and name not in args.rules:
            continue
        more = measure(rule, variants, args.seeds, shapes=() if args.quiet else SHAPES)
        told += more[0]
        trials += more[1]
        print(f"{time.monotonic() - began:5.0f} s  {name}", file=sys.stderr, flush=True)
    report(told, trials, variants)
    return 0


if __name__ == "__main__":
    sys.exit(main())
