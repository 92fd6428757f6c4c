"""`observe backtest`: what a band would have said of recorded series."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from observe.duration import format_duration
from observe.errors import UsageError

SUMMARY = "judge recorded series, or replay rules over real history, as production would have"
EXAMPLE = "observe backtest --input cpu.csv --output judged.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=Path, metavar="FILE_OR_DIR",
                        help="CSV with the columns timestamp,value (ISO times), or a directory of such files")
    parser.add_argument("--output", type=Path, metavar="FILE_OR_DIR",
                        help="where the rows go with baseline,lower,upper,score,ready,alert added")
    parser.add_argument("--band", default="{detector: auto}", metavar="YAML",
                        help="the `band:` of a rule, such as '{detector: rolling, k: 3}' (default: %(default)s)")
    parser.add_argument("--rules", type=Path, metavar="FILE", help="replay these rules instead: what would have fired")
    parser.add_argument("--prometheus", metavar="URL", help="where the history is: any Prometheus-compatible server")
    parser.add_argument("--from", dest="start", metavar="TIME", help="begin of the replay, as 2026-01-31T12:00:00Z")
    parser.add_argument("--to", dest="end", metavar="TIME", help="end of the replay (default: now)")
    parser.add_argument("--labels", type=Path, metavar="FILE",
                        help="CSV of known incidents, start,end and label columns: adds precision, recall and delay")
    parser.add_argument("--json", action="store_true", help="print the replay as JSON alone")


def run(args: argparse.Namespace) -> int:
    if args.rules is not None:
        if args.prometheus is None or args.start is None:
            raise UsageError("a replay needs --prometheus URL and --from TIME")
        return _replay(args)
    if args.input is None or args.output is None:
        raise UsageError("give --input and --output, or --rules with --prometheus and --from")
    return _files(args)


def _replay(args: argparse.Namespace) -> int:
    from observe.alert.rehearse import judge_firings, read_incidents, rehearse
    from observe.alert.rules import load_files
    from observe.clock import SystemClock
    from observe.detect.engine import create
    from observe.store.prometheus import PrometheusEngine, PrometheusSettings
    from observe.telemetry import Telemetry

    clock = SystemClock()
    start, end = _time(args.start), _time(args.end) if args.end else clock.now_ms()
    if start >= end:
        raise UsageError(f"--from {args.start} is not before --to {args.end or 'now'}")
    incidents = read_incidents(args.labels) if args.labels else None
    groups = load_files([args.rules])
    engine = PrometheusEngine(PrometheusSettings(url=args.prometheus), clock, Telemetry())
    try:
        firings = sorted(rehearse(groups, engine, create, start, end), key=lambda one: (one.fired_at_ms, one.rule))
    finally:
        engine.close()
    verdict = judge_firings(firings, incidents) if incidents is not None else None
    if args.json:
        told: dict[str, Any] = {"firings": [asdict(one) | {"labels": dict(one.labels)} for one in firings]}
        if verdict is not None:
            told["verdict"] = asdict(verdict) | {"precision": verdict.precision, "recall": verdict.recall}
        print(json.dumps(told, indent=2))
        return 0
    for one in firings:
        until = _iso(one.resolved_at_ms) + f" ({one.ended})" if one.resolved_at_ms is not None else "the end"
        band = "" if one.lower is None or one.upper is None else f", band {one.lower:.4g} to {one.upper:.4g}"
        value = "" if one.value is None else f" value {one.value:.4g}"
        print(f"{_iso(one.fired_at_ms)} to {until}  {one.rule} {one.labels}:{value}{band}; {one.why}")
    rules = sum(rule.kind == "alerting" for group in groups for rule in group.rules)
    print(f"{len(firings)} firings of {rules} rules from {_iso(start)} to {_iso(end)}")
    if verdict is not None:
        print(f"incidents found: {verdict.found} of {verdict.incidents}; false alarms: {verdict.false_alarms}; "
              f"precision {_share(verdict.precision)}, recall {_share(verdict.recall)}, median delay "
              f"{'undefined' if verdict.median_delay_ms is None else format_duration(verdict.median_delay_ms)}")
    return 0


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"`{text}` is not a time: write it as 2026-01-31T12:00:00Z") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _files(args: argparse.Namespace) -> int:
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
