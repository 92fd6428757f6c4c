"""Measure the detectors on labelled series: `python -m observe.detect.quality DATA` writes docs/quality.md's table.

DATA holds ``index.json`` (a list of ``file``, ``score_from``) and CSV files ``timestamp,value,label``, a folder a set.
Sets are judged by events (`scoring`); the set `nab` by the Numenta benchmark's score too.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band
from observe.detect.baselines import BASELINES, STL
from observe.detect.engine import create
from observe.detect.scoring import EventScore, Labelled, best_numenta_score, held_share, numenta_score, score_events
from observe.durable import write_file
from observe.model import Labels

_SERIES = (Labels({"__name__": "quality"}),)
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass
class Outcome:
    """One detector over all series."""

    name: str
    sets: dict[str, EventScore] = field(default_factory=dict)
    numenta_best: float = float("nan")
    numenta_own: float = float("nan")
    held: list[float] = field(default_factory=list)

    @property
    def scored(self) -> list[EventScore]:
        return [score for name, score in self.sets.items() if name != "nab"]

    @property
    def f1(self) -> float:
        return float(np.mean([score.f1 for score in self.scored]))

    @property
    def false_alarms(self) -> float:
        return float(np.mean([score.false_alarms_per_day for score in self.scored]))


def load(data: Path) -> list[Labelled]:
    import pandas as pd

    found = []
    for entry in json.loads((data / "index.json").read_text()):
        frame = pd.read_csv(data / entry["file"])
        times = pd.to_datetime(frame["timestamp"]).dt.tz_localize(None).to_numpy().astype("datetime64[s]")
        found.append(Labelled(
            entry["file"], times.astype(np.int64), frame["value"].to_numpy(float), frame["label"].to_numpy(bool),
            entry["score_from"], entry["file"].startswith("nab/"),
        ))
    return found


Judged = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]
Judge = Callable[[Labelled], Judged]


def by_engine(band: Band) -> Judge:
    def judge(series: Labelled) -> Judged:
        said = create(band, round(series.step_s * 1000)).fold(series.times_s * 1000, _SERIES, series.points[:, None])
        return np.nan_to_num(said.score[:, 0]), said.firing[:, 0].copy(), said.lower[:, 0], said.upper[:, 0]

    return judge


def by_baseline(name: str) -> Judge:
    said: dict[str, Judged] = {}  # STL takes minutes, and its score is asked for twice

    def judge(series: Labelled) -> Judged:
        if series.name not in said:
            score, alert = BASELINES[name](series.times_s, series.points, series.step_s)
            nothing = np.full(len(score), np.nan)
            said[series.name] = score, alert, nothing, nothing
        return said[series.name]

    return judge


def at_learnt_threshold(judge: Judge, series: list[Labelled]) -> Judge:
    """The same score at the one threshold that is best on these very labels: what a method could do at most."""

    def at(threshold: float) -> Judge:
        def judge_again(one: Labelled) -> Judged:
            score, _, lower, upper = judge(one)
            return score, score > threshold, lower, upper

        return judge_again

    scored = [one for one in series if not one.windows]
    return max((at(threshold) for threshold in np.geomspace(0.7, 20, 24)), key=lambda one: measure("", one, scored).f1)


def measure(name: str, judge: Judge, series: Iterable[Labelled]) -> Outcome:
    outcome = Outcome(name)
    scores, alerts = [], []
    for one in series:
        score, alert, lower, upper = judge(one)
        group = one.name.split("/")[0]
        outcome.sets[group] = outcome.sets.get(group, EventScore()) + score_events(one, alert)
        outcome.held += held_share(one, alert, lower, upper) if np.isfinite(lower).any() else []
        if group == "nab":
            scores.append((one, score))
            alerts.append((one, alert))
    if scores:
        outcome.numenta_best, outcome.numenta_own = best_numenta_score(scores), numenta_score(alerts)
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """The results as Markdown; NaN is shown as undefined, not as zero."""
    groups = list(outcomes[0].sets)
    rows = ["| detector, own default flag | mean event F1 | false alarms a series-day | "
            + " | ".join(f"{group} F1 / delay" for group in groups) + " | NAB best / own flag |",
            "|---|---|---|" + "---|" * len(groups) + "---|"]
    for one in outcomes:
        cells = [f"{_number(one.sets[group].f1, 3)} / {_delay(one.sets[group].median_delay_s)}" for group in groups]
        rows.append(f"| {one.name} | {_number(one.f1, 3)} | {_number(one.false_alarms, 2)} | " + " | ".join(cells)
                    + f" | {_number(one.numenta_best, 1)} / {_number(one.numenta_own, 1)} |")
    return "\n".join(rows)


def _number(value: float, digits: int) -> str:
    return "undefined" if np.isnan(value) else f"{value:.{digits}f}"


def _delay(seconds: float) -> str:
    return "undefined" if np.isnan(seconds) else f"{seconds:.0f} s"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="measure the detectors on labelled series")
    parser.add_argument("data", type=Path, help="folder with index.json and CSV files timestamp,value,label")
    parser.add_argument("--output", type=Path, default=Path("docs/quality.md"))
    parser.add_argument("--only", help="one detector, printed and not written")
    args = parser.parse_args(words)
    series = load(args.data)
    judges = {f"**{name}**" if name == "auto" else name: by_engine(Band(detector=name))
              for name in ("auto", "rolling", "robust", "seasonal")}
    judges |= {name: by_baseline(name) for name in BASELINES}
    outcomes = []

    def tell(name: str, judge: Judge) -> None:
        outcomes.append(measure(name, judge, series))
        print(table(outcomes[-1:]).splitlines()[-1], file=sys.stderr, flush=True)

    for name, judge in judges.items():
        if not args.only or args.only in name:
            tell(name, judge)
    if not args.only or args.only in STL:
        tell(f"{STL.split(',')[0]}, threshold learnt on these labels", at_learnt_threshold(judges[STL], series))
    if args.only:
        return 0
    held = outcomes[0].held
    text = args.output.read_text()
    before, rest = text.split(_BEGIN, 1)
    after = rest.split(_END, 1)[1]
    share = f"{np.mean(held):.2f}" if held else "undefined"
    points = sum(len(one.points) for one in series)
    told = (f"{len(series)} series, {points} points. While an event of over ten points that was found lasted, `auto` "
            f"stayed on for {share} of the points outside the band it began with (mean over {len(held)} events).")
    write_file(args.output, f"{before}{_BEGIN}\n{table(outcomes)}\n\n{told}\n{_END}{after}".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
