"""Run a band over recorded series, as production would have judged them: files in, files out, every file its own world.

Input: CSV with a header and the columns ``timestamp`` (ISO 8601, UTC where it says nothing, or an epoch) and ``value``.
Output: the same rows as ``timestamp,value,baseline,lower,upper,score,ready,alert``; what is not ready is empty.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

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
_COLUMNS = ("timestamp", "value", "baseline", "lower", "upper", "score", "ready", "alert")


def judge_series(series: Recorded, band: Band) -> Judgement:
    """What the engine says of every row; arrays are [T, 1]. A budget is read off the rows before each midnight."""
    engine = create(band, series.interval_ms)
    values = series.points[:, None]
    if band.budget is None or not len(values):
        return engine.fold(series.times_ms, _SERIES, values)
    past = History(np.maximum.accumulate(series.times_ms), _SERIES, values)  # a late row is judged, never learned
    return fold_budgeted(engine, past, band.budget, Costs(band, series.interval_ms, past))


def write_judged(path: Path, series: Recorded, judged: Judgement) -> None:
    """The rows of `series` with what was said of them."""
    columns = [getattr(judged, name)[:, 0] for name in ("baseline", "lower", "upper", "score")]
    ready, firing = judged.ready[:, 0], judged.firing[:, 0]
    lines = [",".join(_COLUMNS)]
    for row, cell in enumerate(series.cells):
        numbers = ["" if not ready[row] or math.isnan(column[row]) else f"{column[row]:.10g}" for column in columns]
        lines.append(",".join((*cell, *numbers, str(int(ready[row])), str(int(firing[row])))))
    write_named(path, ("\n".join(lines) + "\n").encode())


def plan_files(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pairs of input and output files. A directory gives one of the same name for every CSV in it."""
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise InvalidInput(Problem("the input is a directory, the output a file", where=str(target)))
        target.mkdir(parents=True, exist_ok=True)
        files = sorted(path for path in source.iterdir() if path.suffix == ".csv")
        if not files:
            raise InvalidInput(Problem("no *.csv file in this directory", where=str(source)))
        return [(path, target / path.name) for path in files]
    if not source.exists():
        raise InvalidInput(Problem("there is no such file or directory", where=str(source)))
    return [(source, target / source.name if target.is_dir() else target)]


def backtest(source: Path, target: Path, band: Band) -> Iterator[tuple[Path, InvalidInput | None]]:
    """Judge file after file; yields each input with what was wrong with it, if anything. The others go on."""
    for path, out in plan_files(source, target):
        try:
            series = read_series(path)
            write_judged(out, series, judge_series(series, band))
        except InvalidInput as error:
            yield path, error
        else:
            yield path, None
