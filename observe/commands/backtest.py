"""`observe backtest`: what a band would have said of recorded series."""

import argparse
import sys
from pathlib import Path

SUMMARY = "judge recorded series as production would have: bands, scores and alerts for every row"
EXAMPLE = "observe backtest --input cpu.csv --output judged.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=Path, required=True, metavar="FILE_OR_DIR",
                        help="CSV with the columns timestamp,value (ISO times), or a directory of such files")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE_OR_DIR",
                        help="where the rows go with baseline,lower,upper,score,ready,alert added")
    parser.add_argument("--band", default="{detector: auto}", metavar="YAML",
                        help="the `band:` of a rule, such as '{detector: rolling, k: 3}' (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    import yaml

    from observe.detect.backtest import backtest
    from observe.detect.band import Band
    from observe.errors import InvalidInput, Problem

    try:
        raw = yaml.safe_load(args.band)
    except yaml.YAMLError as error:
        raise InvalidInput(Problem(f"`{args.band}` is not YAML", where="--band", why=str(error))) from error
    band, problems = Band.parse(raw)
    if problems:
        raise InvalidInput(problems)
    total = len(list(args.input.glob("*.csv"))) if args.input.is_dir() else 1
    failed = 0
    shown = sys.stderr.isatty()
    for done, (path, wrong) in enumerate(backtest(args.input, args.output, band), start=1):
        if shown:
            filled = 30 * done // max(1, total)
            print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {path.name:<30.30}", end="", file=sys.stderr)
        if wrong is not None:
            failed += 1
            print(f"{chr(10) if shown else ''}{wrong}", file=sys.stderr)
    if shown:
        print(file=sys.stderr)
    return 1 if failed else 0
