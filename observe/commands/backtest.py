"""`observe backtest`: what a band would have said of recorded series."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from observe.client import web_address
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
    parser.add_argument("--rules", metavar="FILE",
                        help="replay these rules instead (a file, a folder, or `builtin`): what would have fired")
    parser.add_argument("--prometheus", metavar="URL", help="where the history is: any Prometheus-compatible server")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE",
                        help="send this to the server, such as 'X-Scope-OrgID: team'; may be repeated")
    parser.add_argument("--from", dest="start", metavar="TIME", help="begin of the replay, as 2026-01-31T12:00:00Z")
    parser.add_argument("--to", dest="end", metavar="TIME", help="end of the replay (default: now)")
    parser.add_argument("--labels", type=Path, metavar="FILE",
                        help="CSV of known incidents, start,end and label columns: adds precision, recall and delay")
    parser.add_argument("--cold", action="store_true",
                        help="let bands begin with nothing, instead of with what was known before --from")
    parser.add_argument("--json", action="store_true", help="print JSON alone")


def run(args: argparse.Namespace) -> int:
    if args.rules is not None:
        if args.prometheus is None or args.start is None:
            raise UsageError("a replay needs --prometheus URL and --from TIME")
        return _replay(args)
    if args.input is None or args.output is None:
        raise UsageError("give --input and --output, or --rules with --prometheus and --from")
    return _files(args)


def _replay(args: argparse.Namespace) -> int:
    from observe.alert import rehearsal
    from observe.alert.learning import LearnSettings
    from observe.alert.rehearse import judge_firings, read_incidents, rehearse
    from observe.alert.rule_files import find_files, load_files
    from observe.clock import SystemClock
    from observe.detect.staged import create
    from observe.store.prometheus import PrometheusEngine, PrometheusSettings
    from observe.telemetry import Telemetry

    clock = SystemClock()
    start, end = _time(args.start), _time(args.end) if args.end else clock.now_ms()
    if start >= end:
        raise UsageError(f"--from {args.start} is not before --to {args.end or 'now'}")
    incidents = read_incidents(args.labels) if args.labels else None
    groups = load_files(find_files([args.rules]))
    web_address(args.prometheus, "--prometheus")
    rules = sum(rule.kind == "alerting" for group in groups for rule in group.rules)
    server = PrometheusSettings(args.prometheus, dict(map(_header, args.header)), timeout_s=60.0)
    engine = PrometheusEngine(server, clock, Telemetry())
    done, shown = [], sys.stderr.isatty()
    try:
        for one in rehearse(groups, engine, create, start, end, None if args.cold else LearnSettings()):
            done.append(one)
            if shown:
                print(f"\r{len(done)}/{rules} {one.rule:<60.60}", end="", file=sys.stderr)
    finally:
        engine.close()
        if shown:
            print(file=sys.stderr)
    firings = sorted((firing for one in done for firing in one.firings), key=lambda one: (one.fired_at_ms, one.rule))
    verdict = judge_firings(firings, incidents) if incidents is not None else None
    if not args.json:
        print("\n".join(rehearsal.lines(done, verdict, start, end)))
        return 0
    told: dict[str, Any] = {
        "firings": [asdict(one) | {"labels": dict(one.labels)} for one in firings],
        "rules": [{"rule": one.rule, "firings": len(one.firings), "series": one.series, "ready": one.ready,
                   "history_ms": one.history_ms, "budget": one.spending or None} for one in done],
    }
    if verdict is not None:
        missed = [asdict(one) | {"labels": dict(one.labels)} for one in verdict.missed]
        told["verdict"] = asdict(verdict) | {"precision": verdict.precision, "recall": verdict.recall, "missed": missed}
    print(json.dumps(told, indent=2))
    return 0


def _header(text: str) -> tuple[str, str]:
    name, sign, value = text.partition(":")
    if not sign or not name.strip():
        raise UsageError(f"`{name}` is no header: write --header 'NAME: VALUE'")
    return name.strip(), value.strip()


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"`{text}` is not a time: write it as 2026-01-31T12:00:00Z") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _files(args: argparse.Namespace) -> int:
    import yaml

    from observe.detect.backtest import backtest, plan_files
    from observe.detect.band import Band
    from observe.durable import is_stream
    from observe.errors import InvalidInput, Problem

    try:
        raw = yaml.safe_load(args.band)
    except yaml.YAMLError as error:
        raise InvalidInput(Problem(f"`{args.band}` is not YAML", where="--band", why=str(error))) from error
    band, problems = Band.parse(raw)
    if problems:
        raise InvalidInput(problems)
    files = plan_files(args.input, args.output)
    told, failed = [], 0
    shown = sys.stderr.isatty()
    for done, one in enumerate(backtest(files, band), start=1):
        if shown:
            filled = 30 * done // len(files)
            print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{len(files)} {one.path.name:<30.30}",
                  end="", file=sys.stderr)
        if one.wrong is None:
            told.append(one)
        else:
            failed += 1
            print(f"{chr(10) if shown else ''}{one.wrong}", file=sys.stderr)
    if shown:
        print(file=sys.stderr)
    if told:
        points, alerts = sum(one.points for one in told), sum(one.alerts for one in told)
        count = "1 file" if len(told) == 1 else f"{len(told)} files"
        print(json.dumps({"files": len(told), "points": points, "alerts": alerts}) if args.json else
              f"{count} judged into {args.output}: {points:,} points, {alerts:,} alert{'s' * (alerts != 1)}",
              file=sys.stderr if is_stream(args.output) else sys.stdout)
    return 1 if failed else 0
