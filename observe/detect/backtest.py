"""Run a band over recorded series, as production would have judged them: files in, files out, every file its own world.

Input: CSV with a header and the columns ``timestamp`` (ISO 8601, UTC where it says nothing, or an epoch) and ``value``.
Output: the same rows as ``timestamp,value,baseline,lower,upper,score,ready,alert``; what is not ready is empty.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from observe.detect.band import Band
from observe.detect.budget import Costs
from observe.detect.budgeted import fold_budgeted
from observe.detect.engine import create
from observe.detect.history import History
from observe.detect.recorded import Recorded, read_series
from observe.durable import write_named
from observe.errors import InvalidInput, Problem
from observe.model import Labels
from observe.protocols import Judgement

_SERIES = (Labels({"__name__": "backtest"}),)
_CALENDAR_MS = 146_097 * 86_400_000
"""400 years: whole weeks, with the same leap days."""
_COLUMNS = ("timestamp", "value", "baseline", "lower", "upper", "score", "ready", "alert")


def judge_series(series: Recorded, band: Band) -> Judgement:
    """What the engine says of every row; arrays are [T, 1]. A budget is read off the rows before each midnight."""
    engine = create(band, series.interval_ms)
    times, values = _since_1970(series.times_ms), series.points[:, None]
    if band.budget is None or not len(values):
        return engine.fold(times, _SERIES, values)
    past = History(np.maximum.accumulate(times), _SERIES, values)  # a late row is judged, never learned
    return fold_budgeted(engine, past, band.budget, Costs(band, series.interval_ms, past))


def _since_1970(times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times that an engine knows: old ones are moved by whole 400 years, after which the calendar repeats itself."""
    least = int(times_ms.min(initial=0))
    return times_ms + -(least // _CALENDAR_MS) * _CALENDAR_MS


def write_judged(path: Path, series: Recorded, judged: Judgement) -> None:
    """The rows of `series` with what was said of them."""
    columns = [getattr(judged, name)[:, 0] for name in ("baseline", "lower", "upper", "score")]
    ready, firing = judged.ready[:, 0], judged.firing[:, 0]
    lines = [",".join(_COLUMNS)]
    for row, cell in enumerate(series.cells):
        numbers = ["" if not ready[row] or math.isnan(column[row]) else repr(float(column[row])) for column in columns]
        lines.append(",".join((*cell, *numbers, str(int(ready[row])), str(int(firing[row])))))
    write_named(path, ("\n".join(lines) + "\n").encode())


def plan_files(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pairs of input and output files. A directory gives one of the same name for every CSV in it."""
    if target.exists() and source.exists() and target.samefile(source):
        raise InvalidInput(Problem("the output would take the place of the input", where=str(target),
                                   fix="name another file or directory for --output"))
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise InvalidInput(Problem("the input is a directory, the output a file", where=str(target)))
        target.mkdir(parents=True, exist_ok=True)
        files = sorted(path for path in source.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
        if not files:
            raise InvalidInput(Problem("no *.csv file in this directory", where=str(source)))
        return [(path, target / path.name) for path in files]
    if not source.exists():
        raise InvalidInput(Problem("there is no such file or directory", where=str(source)))
    return [(source, target / source.name if target.is_dir() else target)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    path: Path
    points: int = 0
    alerts: int = 0
    """How often its alert began."""
    wrong: InvalidInput | None = None


def backtest(files: Iterable[tuple[Path, Path]], band: Band) -> Iterator[Outcome]:
    """Judge file after file, as planned. One that cannot be read is told, the others go on."""
    for path, out in files:
        try:
            series = read_series(path)
        except InvalidInput as error:
            yield Outcome(path, wrong=error)
            continue
        judged = judge_series(series, band)
        write_judged(out, series, judged)
        begun = np.diff(judged.firing[:, 0].astype(np.int8), prepend=0) == 1
        yield Outcome(path, len(series.cells), int(begun.sum()))
